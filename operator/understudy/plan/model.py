"""A Model's status: who uses it, and whether it can be used. It has no children of its own."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from understudy.domain.conditions import Condition, transition
from understudy.plan.observed import Now, Object

# As many users as the status has room for.
MAX_USERS: Final = 100


def plan_model(model: Object, deployments: Iterable[Object], now: Now) -> Mapping[str, Any]:
    """The whole status of `model`; `deployments` are all ModelDeployments of its namespace."""
    meta, before = model["metadata"], model.get("status") or {}
    name, generation = meta["name"], int(meta.get("generation", 0))
    users = sorted(d["metadata"]["name"] for d in deployments if (d["spec"].get("modelRef") or {}).get("name") == name)
    used = f"used by {', '.join(users[:10])}" if users else "used by nobody yet"
    more = f" and {len(users) - 10} more" if len(users) > 10 else ""
    said = [
        Condition("Ready", "True", "Declared", f"weights are read by the engines that serve them; {used}{more}"),
        Condition("Reconciling", "False", "Declared"),
        Condition("Stalled", "False", "Declared"),
    ]
    return {
        "observedGeneration": generation,
        "usedBy": users[:MAX_USERS],
        "conditions": transition(before.get("conditions") or (), said, generation, now.wall),
    }
