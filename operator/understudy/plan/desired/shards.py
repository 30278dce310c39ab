"""The ConfigMaps in which a Guardrail's policy travels to the gateways."""

import base64
from typing import Any

from understudy.domain.names import (
    ANNOTATION_GUARDRAIL,
    GUARD_SHARD_FIELD,
    LABEL_GUARD_SHARD,
    LABEL_MANAGED_BY,
    MANAGED_BY,
)


def shard_manifest(namespace: str, guardrail: str, shard: str, part: bytes) -> dict[str, Any]:
    """One part of a policy, called `shard`.

    Nobody owns it: a gateway may still have to load it when the Guardrail is gone.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": shard,
            "namespace": namespace,
            "labels": {LABEL_GUARD_SHARD: "true", LABEL_MANAGED_BY: MANAGED_BY},
            "annotations": {ANNOTATION_GUARDRAIL: guardrail},
        },
        "immutable": True,
        "binaryData": {GUARD_SHARD_FIELD: base64.b64encode(part).decode()},
    }
