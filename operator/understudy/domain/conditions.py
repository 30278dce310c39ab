"""metav1 conditions: values, and the rule by which `lastTransitionTime` moves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.domain.duration import stamp

ConditionStatus = Literal["True", "False", "Unknown"]
_MESSAGE_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of an object's state: `reason` is one CamelCase word, `message` a sentence."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """The condition of that type, or None."""
    return next((c for c in conditions if c.get("type") == kind), None)


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Whether an object, a pod or a node for example, has the condition Ready and it is True."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return (find(conditions, "Ready") or {}).get("status") == "True"


def transition(
    observed: Iterable[Mapping[str, Any]], wanted: Iterable[Condition], generation: int, wall: float
) -> list[dict[str, Any]]:
    """The conditions to write, in the order wanted.

    `lastTransitionTime` is kept while a condition's status stays and becomes `wall` (Unix seconds)
    when it changes; a new reason or message alone is no transition. `observedGeneration` is always
    the generation that was judged.
    """
    before = {c.get("type"): c for c in observed}
    return [_written(before.get(c.type), c, generation, wall) for c in wanted]


def _written(before: Mapping[str, Any] | None, now: Condition, generation: int, wall: float) -> dict[str, Any]:
    kept = before is not None and before.get("status") == now.status
    return {
        "type": now.type,
        "status": now.status,
        "reason": now.reason,
        "message": now.message[:_MESSAGE_LIMIT],
        "lastTransitionTime": before["lastTransitionTime"] if kept and before is not None else stamp(wall),
        "observedGeneration": generation,
    }
