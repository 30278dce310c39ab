"""A Guardrail's status. Guardrails are stored and checked, but nothing enforces them yet, and the status says so."""

from collections.abc import Mapping
from typing import Any

from understudy.domain.conditions import Condition, transition
from understudy.plan.observed import Now, Object


def plan_guardrail(guardrail: Object, now: Now) -> Mapping[str, Any]:
    """The whole status of `guardrail`."""
    meta, before = guardrail["metadata"], guardrail.get("status") or {}
    generation = int(meta.get("generation", 0))
    message = "this release does not enforce guardrails; a deployment under a Closed one is not served"
    said = [
        Condition("Ready", "False", "NotImplemented", message),
        Condition("Reconciling", "False", "NotImplemented"),
        Condition("Stalled", "True", "NotImplemented", message),
        Condition("Enforcing", "False", "NotImplemented", message),
    ]
    return {
        "observedGeneration": generation,
        "conditions": transition(before.get("conditions") or (), said, generation, now.wall),
    }
