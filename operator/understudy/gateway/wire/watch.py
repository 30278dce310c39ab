"""One request under Guardrails: by what its answers are judged, and what is answered where they may not be seen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.evidence import GuardCounters
from understudy.gateway.policy.facts import expected, facts_of, last_asked
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.guarding import Guarding, panel_key
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, DETOKENIZE, RESPONSES, Operation
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.verdicts import Facts, Verdicts
from understudy.gateway.table import Entry
from understudy.gateway.wire.ids import uuid7

if TYPE_CHECKING:
    from understudy.gateway.guards import Guards
    from understudy.gateway.wire.playing import Turn

FILTERED: Final = Refusal(400, "content_filter", "a guardrail of this model does not let the answer through")
UNAVAILABLE: Final = Refusal(
    503,
    "guardrail_unavailable",
    "what must be judged by a guardrail of this model cannot be at the moment",
    retry_after=1,
)

REVOKED: Final = Refusal(503, "policy_revoked", "the guardrail under which this answer began was revoked: ask again")


class Watch:
    """That of one request, under Guardrails of `namespace`.

    `asked` is what the user said last, for detectors that judge an answer by it.
    `keeps_raw`: the request log has what an answer would be without Guardrails.
    """

    __slots__ = ("_expected", "_facts", "_namespace", "_operation", "_places", "asked", "guarding", "keeps_raw")

    def __init__(
        self,
        guarding: Guarding,
        entry: Entry,
        operation: Operation,
        expected: int,
        facts: Facts,
        asked: str,
        *,
        keeps_raw: bool,
    ) -> None:
        self._namespace = entry.served.namespace
        self._places = entry.places
        self.asked = asked
        self.guarding = guarding
        self._operation = operation
        self._expected = expected
        self._facts = facts
        self.keeps_raw = keeps_raw

    def revoked(self, guards: "Guards", entry: Entry) -> bool:
        """Whether the deployment's table ends answers that began under one of these policies."""
        under = self.guarding.policies
        return any(
            guards.revokes(self._namespace, guard, under[guard.name])
            for guard in entry.served.table.guards
            if guard.name in under
        )

    def count(self, counters: GuardCounters, verdicts: Verdicts) -> None:
        """An answer of one revision has been judged. One that a failed detector ended has not."""
        if not verdicts.failed:
            named = {(f"{each.guardrail}/{each.judged.finding.category}", each.severity) for each in verdicts.found}
            found = [(self._places[name], severity) for name, severity in named if name in self._places and severity]
            counters.turn(found, acted=verdicts.acted)

    def policy_of(self, detector: str) -> str:
        """The policy that a detector is of, as the panel of detectors knows it."""
        guardrail = detector.partition("/")[0]
        return panel_key(self._namespace, guardrail, self.guarding.policies[guardrail])

    def answer(self) -> GuardedChoices | GuardedResponse | None:
        """What stands between an engine's answer and who reads it; None where answers are not judged."""
        plans = self.guarding.output
        if plans is None or self._operation not in (CHAT, COMPLETIONS, RESPONSES):
            return None
        verdicts = Verdicts(self.guarding, plans, self._facts, uuid7)
        if self._operation is RESPONSES:
            return GuardedResponse(verdicts)
        return GuardedChoices(verdicts, expected=self._expected, legacy=self._operation is COMPLETIONS)


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
    return Watch(guarding, entry, operation, expected(operation, document), facts, asked, keeps_raw=keeps_raw)
