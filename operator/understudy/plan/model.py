"""A Model's status: who uses it, and whether it can be used. It has no children of its own."""

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.plan.observed import Now, Object


def plan_model(model: Object, deployments: Iterable[Object], now: Now) -> Mapping[str, Any]:
    """The whole status of `model`; `deployments` are all ModelDeployments of its namespace."""
    name = model["metadata"]["name"]
    used_by = sorted(
        d["metadata"]["name"] for d in deployments if d.get("spec", {}).get("modelRef", {}).get("name") == name
    )
    return {"observedGeneration": model["metadata"].get("generation", 0), "usedBy": used_by}
