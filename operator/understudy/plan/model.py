"""A Model's status: who uses it, and whether it can be used. It has no children of its own."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from understudy.domain.conditions import Condition, transition
from understudy.plan.observed import Now, Object

# As many users as the status has room for.
MAX_USERS: Final = 100


def plan_model(model: Object, users: Iterable[str], now: Now) -> Mapping[str, Any]:
    """The whole status of `model`; `users` are the names of the ModelDeployments that refer to it."""
    before, generation = model.get("status") or {}, int(model["metadata"].get("generation", 0))
    users = sorted(users)
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
