"""One request under Guardrails: by what its answers are judged, and what is answered where they may not be seen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.facts import expected, facts_of, last_asked
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, DETOKENIZE, RESPONSES, Operation
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.verdicts import Facts, Verdicts
from understudy.gateway.table import Entry
from understudy.gateway.wire.ids import uuid7

if TYPE_CHECKING:
    from understudy.gateway.wire.playing import Turn

FILTERED: Final = Refusal(400, "content_filter", "a guardrail of this model does not let the answer through")
UNAVAILABLE: Final = Refusal(
    503,
    "guardrail_unavailable",
    "what must be judged by a guardrail of this model cannot be at the moment",
    retry_after=1,
)


class Watch:
    """That of one request, under Guardrails of `namespace`.

    `asked` is what the user said last, for detectors that judge an answer by it.
    `keeps_raw`: the request log has what an answer would be without Guardrails.
    """

    __slots__ = ("_expected", "_facts", "_guarding", "_namespace", "_operation", "asked", "keeps_raw")

    def __init__(
        self,
        guarding: Guarding,
        namespace: str,
        operation: Operation,
        expected: int,
        facts: Facts,
        asked: str,
        *,
        keeps_raw: bool,
    ) -> None:
        self._namespace = namespace
        self.asked = asked
        self._guarding = guarding
        self._operation = operation
        self._expected = expected
        self._facts = facts
        self.keeps_raw = keeps_raw

    def policy_of(self, detector: str) -> str:
        """The policy that a detector is of, as the panel of detectors knows it."""
        guardrail = detector.partition("/")[0]
        return panel_key(self._namespace, guardrail, self._guarding.policies[guardrail])

    def answer(self) -> GuardedChoices | GuardedResponse | None:
        """What stands between an engine's answer and who reads it; None where answers are not judged."""
        plans = self._guarding.output
        if plans is None or self._operation not in (CHAT, COMPLETIONS, RESPONSES):
            return None
        verdicts = Verdicts(self._guarding, plans, self._facts, uuid7)
        if self._operation is RESPONSES:
            return GuardedResponse(verdicts)
        return GuardedChoices(verdicts, expected=self._expected, legacy=self._operation is COMPLETIONS)


def panel_key(namespace: str, guardrail: str, policy: str) -> str:
    """How the panel of detectors knows a policy: two Guardrails that say the same may ask different pods."""
    return f"{namespace}/{guardrail}/{policy}"


def is_judged(guarding: Guarding, operation: Operation) -> bool:
    """Whether answers of this path are judged, where they have to be."""
    return guarding.output is None or operation is not DETOKENIZE


def watch_of(
    guarding: Guarding,
    entry: Entry,
    operation: Operation,
    document: Mapping[str, Any],
    fields: Mapping[bytes, bytes],
    turn: "Turn | None",
) -> Watch:
    """The watch over one request to a deployment, which is a player's `turn` where that is known."""
    room = 0 if guarding.output is None else guarding.output.text.max_hold
    facts = facts_of(operation, document, fields, room, in_crisis=turn is not None and turn.in_crisis)
    asks = guarding.output is not None and guarding.output.text.asked
    asked = last_asked(operation, document) if asks else ""
    keeps_raw = entry.served.table.logging.text == "raw"
    namespace = entry.served.namespace
    return Watch(guarding, namespace, operation, expected(operation, document), facts, asked, keeps_raw=keeps_raw)
