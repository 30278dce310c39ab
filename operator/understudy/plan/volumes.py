"""OCI image volumes: a cluster that does not serve them drops them without a word, and the weights with them.

Kubernetes serves them from 1.35 on, or with the feature gate ImageVolume. Older API servers take a pod
template that has some, and store it without. So a new pool that needs them is made without pods first, and
gets its pods once it is seen to have kept the volumes.
"""

from collections.abc import Mapping
from typing import Any

from understudy.plan.observed import Object


def dropped(record: Object, pool: Object | None) -> tuple[str, ...]:
    """Names of the image volumes of a revision's record that its pool has not; all of them without a pool."""
    stored = _image_volumes(pool["spec"]["template"]) if pool is not None else set()
    return tuple(sorted(_image_volumes(record["spec"]["podTemplate"]) - stored))


def _image_volumes(template: Mapping[str, Any]) -> set[str]:
    volumes = (template.get("spec") or {}).get("volumes") or ()
    return {str(volume["name"]) for volume in volumes if volume.get("image")}


def unserved(pool: str, volumes: tuple[str, ...]) -> str:
    """What to do about dropped volumes of the Deployment `pool`, as a sentence."""
    return (
        f"the cluster dropped the OCI image volume {', '.join(volumes)} of Deployment {pool}: it serves such volumes"
        " from Kubernetes 1.35 on; name another source of the weights, or upgrade the cluster and delete the Deployment"
    )
