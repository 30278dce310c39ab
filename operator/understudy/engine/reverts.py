"""Which passes begin to take traffic back, and why: counted by reason, since a revert is what everybody asks about."""

from collections.abc import Mapping
from typing import Any

from understudy.plan.actions import Plan


def revert_reason(before: Mapping[str, Any], decided: Plan) -> str:
    """One word for why this plan begins a revert of the ModelDeployment whose status was `before`; "" if it does not.

    It does when it comes to Reverting or Restoring, or, where the pods of the one have to go before those of the other
    come, when Replacing turns round.
    """
    after = decided.status or {}
    was, now = before.get("phase"), after.get("phase")
    if now == "Replacing":
        turned = was == "Watching" or (_share(before) > 0 and _share(after) == 0)
    else:
        turned = now in ("Reverting", "Restoring") and was != now
    if not turned:
        return ""
    gone = before.get("stable" if was == "Watching" else "candidate")
    branded = {entry["revision"]: entry["reason"] for entry in after.get("failed") or ()}
    return branded.get(gone) or decided.reasons[0].partition(":")[0]


def _share(status: Mapping[str, Any]) -> int:
    return int(((status.get("weights") or {}).get("candidate") or {}).get("desired", 0))
