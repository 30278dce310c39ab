"""Objects as the reflector delivers them, with only what a test is about spelled out."""

from collections.abc import Mapping
from typing import Any

from understudy.domain.names import API_VERSION, LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.kube.client import Scope
from understudy.kube.resources import Resource

SPACE = "shop"


def made(resource: Resource, name: str, version: int = 1, namespace: str = SPACE, **fields: Any) -> dict[str, Any]:
    """An object with a uid of its own name."""
    meta = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), **fields.pop("metadata", {})}
    if resource.namespaced:
        meta["namespace"] = namespace
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **fields}


def child(
    resource: Resource, name: str, parent: str, revision: str = "", version: int = 1, **fields: Any
) -> dict[str, Any]:
    """An object that belongs to a deployment by its label."""
    labels = {LABEL_DEPLOYMENT: parent, **({LABEL_REVISION: revision} if revision else {})}
    return made(resource, name, version, metadata={"labels": labels, **fields.pop("metadata", {})}, **fields)


def deployment(
    name: str = "talk", spec: Mapping[str, Any] | None = None, version: int = 1, **meta: Any
) -> dict[str, Any]:
    """A ModelDeployment."""
    stamped = {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1, **meta}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {
            "name": name,
            "namespace": SPACE,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            **stamped,
        },
        "spec": {"modelRef": {"name": "storyteller"}, **(spec or {})},
    }


def scope(resource: Resource) -> Scope:
    """All of a resource, everywhere."""
    return Scope(resource)
