"""What is answered where Guardrails let nothing through, or cannot say whether they do, and where no engine can."""

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
NO_CAPACITY: Final = Refusal(503, "no_capacity", "no engine is ready for this model at the moment", retry_after=2)
NO_TURN: Final = Refusal(504, "queue_timeout", "no engine was free for this model for as long as requests may wait")
WITHDRAWN: Final = Refusal(502, "revision_withdrawn", "the answer came from another model than it should: ask again")
