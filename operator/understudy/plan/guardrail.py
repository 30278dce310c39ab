"""A Guardrail's status. Guardrails are stored and checked, but nothing enforces them yet, and the status says so."""

from collections.abc import Mapping
from typing import Any

from understudy.plan.observed import Now, Object


def plan_guardrail(guardrail: Object, now: Now) -> Mapping[str, Any]:
    """The whole status of `guardrail`."""
    return {"observedGeneration": guardrail["metadata"].get("generation", 0)}
