"""What is answered where Guardrails do not let something through, or cannot say whether they do."""

from typing import Final

from understudy.gateway.policy.refusal import Refusal

FILTERED: Final = Refusal(400, "content_filter", "a guardrail of this model does not let the answer through")
UNAVAILABLE: Final = Refusal(
    503,
    "guardrail_unavailable",
    "what must be judged by a guardrail of this model cannot be at the moment",
    retry_after=1,
)

REVOKED: Final = Refusal(503, "policy_revoked", "the guardrail under which this answer began was revoked: ask again")
