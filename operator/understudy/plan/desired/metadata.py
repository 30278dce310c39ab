"""What every child carries: labels by which its parent finds it, and the reference that lets it go with its parent."""

from collections.abc import Mapping
from typing import Any, Final

from understudy.domain.names import (
    API_VERSION,
    LABEL_DEPLOYMENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_REVISION,
    MANAGED_BY,
)

ENGINE_NAME: Final = "understudy-engine"


def selector(deployment: str, revision: str) -> dict[str, str]:
    """Labels that tell a revision's pods from all others."""
    return {LABEL_DEPLOYMENT: deployment, LABEL_REVISION: revision}


def labels(deployment: str, revision: str) -> dict[str, str]:
    """Labels of a revision's children and pods."""
    return {
        **selector(deployment, revision),
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_NAME: ENGINE_NAME,
        LABEL_INSTANCE: deployment,
    }


def owner_reference(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The reference from a child to its ModelDeployment (whose deletion waits for the child's)."""
    metadata = deployment["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
