"""One request under Guardrails: by what its answers are judged, and what is answered where they may not be seen."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from understudy.domain.state import policy_key
from understudy.gateway.policy.conversation import conversation_id, session_name
from understudy.gateway.policy.facts import expected, facts_of, last_asked
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.guarded_text import GuardedText
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, DETOKENIZE, RESPONSES, Operation
from understudy.gateway.policy.outgoing import Outgoing
from understudy.gateway.policy.players import Who, fiction_of
from understudy.gateway.policy.said import is_heard
from understudy.gateway.policy.story import KEY_DIGITS
from understudy.gateway.policy.verdicts import Facts, Verdicts
from understudy.gateway.policy.violations import About
from understudy.gateway.table import Entry, Variant
from understudy.gateway.wire.hearing import Hearing
from understudy.gateway.wire.ids import uuid7

if TYPE_CHECKING:
    from understudy.gateway.guards import Guards
    from understudy.gateway.wire.exchange import Exchange
    from understudy.gateway.wire.plane import Plane
    from understudy.gateway.wire.playing import Turn

_NOBODY: Final = Who("", "", "")
# Whose answers have texts.
_READ: Final = (CHAT, COMPLETIONS, RESPONSES, DETOKENIZE)


class Watch:
    """That of one request, under Guardrails of `namespace`.

    `asked` is what the user said last, for detectors that judge an answer by it.
    `keeps_raw`: the request log has what an answer would be without Guardrails.
    """

    __slots__ = (
        "_about", "_document", "_expected", "_facts", "_namespace", "_operation", "_places", "_turn", "asked",
        "guarding", "hearing", "keeps_raw",
    )  # fmt: skip

    def __init__(
        self,
        guarding: Guarding,
        entry: Entry,
        operation: Operation,
        document: dict[str, Any],
        facts: Facts,
        about: About,
        turn: "Turn | None",
    ) -> None:
        self._turn = turn
        self._namespace = entry.served.namespace
        self._places = entry.places
        self._operation = operation
        self._document = document
        self._expected = expected(operation, document)
        self._facts = facts
        self._about = about
        self.guarding = guarding
        asks = guarding.output is not None and guarding.output.text.asked
        self.asked = last_asked(operation, document) if asks else ""
        self.keeps_raw = entry.served.table.logging.text == "raw"
        self.hearing: Hearing | None = None

    def hear(self, exchange: "Exchange", then: Callable[[], None]) -> None:
        """Judge what the request says, and go on with `then`, now or later, unless a rule says otherwise."""
        plans = self.guarding.input
        if plans is None or not is_heard(self._operation):
            then()
            return
        verdicts = Verdicts(self.guarding, plans, self._facts, uuid7)
        self.hearing = Hearing(
            exchange.plane, self.guarding, verdicts, self._operation, self._document, self._about, self.policy_of
        )
        self.hearing.begin(exchange, then)

    def leave(self) -> None:
        """The client has gone."""
        if self.hearing is not None:
            self.hearing.close()

    def revoked(self, guards: "Guards", entry: Entry) -> bool:
        """Whether the deployment's table ends answers that began under one of these policies."""
        under = self.guarding.policies
        return any(
            guards.revokes(self._namespace, guard, under[guard.name])
            for guard in entry.served.table.guards
            if guard.name in under
        )

    def judged(self, plane: "Plane", variant: Variant, verdicts: Verdicts) -> None:
        """An answer of one revision has been judged. A shadow's counts nowhere, and one that a failed detector ended is
        no turn.

        Of a category the gravest finding counts alone: whoever adds severities up adds turns up.
        """
        if variant.track == "shadow":
            return
        if verdicts.referred and plane.players is not None:
            plane.players.referred()
        if not verdicts.failed:
            gravest: dict[str, int] = {}
            for each in verdicts.found:
                name = f"{each.guardrail}/{each.judged.finding.category}"
                gravest[name] = max(each.severity, gravest.get(name, 0))
            found = [(self._places[name], grave) for name, grave in gravest.items() if name in self._places and grave]
            variant.counters.guard.turn(found, acted=verdicts.acted)
        if verdicts.enforces:
            verdicts.close()
            plane.holds.text(self._about.deployment, verdicts.held)
        self.tell(plane, variant, verdicts)

    def tell(self, plane: "Plane", variant: Variant, verdicts: Verdicts) -> None:
        """This was found in what one revision said; each finding is told of once."""
        about = replace(self._about, revision=variant.revision, track=variant.track)
        plane.findings.tell(plane.log, plane.players, self.guarding, about, "output", *verdicts.untold())

    def listen(self, plane: "Plane", variant: Variant, verdicts: Verdicts) -> Outgoing | None:
        """Where to say what goes out of an answer, to be looked at again; None if it will not be."""
        if variant.track == "shadow" or not verdicts.enforces:
            return None
        return plane.second.listen(self.guarding, verdicts.facts)

    def gone_out(self, plane: "Plane", outgoing: Outgoing, verdicts: Verdicts) -> None:
        """All of an answer that was listened to has gone out. Where tier 0 has failed nothing was promised."""
        judged = all(failure.detector for failure in verdicts.failures)
        plane.second.over(outgoing, self._namespace, self._about.request_id, judged=judged)

    def streamed(self, plane: "Plane", variant: Variant, first: float, last: float) -> None:
        """Of a stream the first and the last word were held back for so many seconds."""
        if variant.track != "shadow":
            plane.holds.stream(self._about.deployment, first, last)

    def policy_of(self, detector: str) -> str:
        """The policy that a detector is of, as the panel of detectors knows it."""
        guardrail = detector.partition("/")[0]
        return policy_key(self._namespace, guardrail, self.guarding.policies[guardrail])

    def answer(self) -> GuardedChoices | GuardedResponse | GuardedText | None:
        """What stands between an engine's answer and who reads it; None where answers are not judged."""
        verdicts = self._verdicts()
        if verdicts is None:
            return None
        if self._operation is DETOKENIZE:
            return GuardedText(verdicts)
        if self._operation is RESPONSES:
            return GuardedResponse(verdicts, self._document)
        return GuardedChoices(verdicts, expected=self._expected, legacy=self._operation is COMPLETIONS)

    def instead(self) -> GuardedText | None:
        """What stands between who reads it and what an engine says in the place of an answer: in an error it may quote
        what a model has said.
        """
        verdicts = self._verdicts()
        return None if verdicts is None or not verdicts.enforces else GuardedText(verdicts)

    def _verdicts(self) -> Verdicts | None:
        plans = self.guarding.output
        if plans is None or self._operation not in _READ:
            return None
        # What the request says may have been a sign.
        in_crisis = self._turn is not None and self._turn.in_crisis
        return Verdicts(self.guarding, plans, replace(self._facts, in_crisis=in_crisis), uuid7)


def session_of(
    entry: Entry, operation: Operation, document: Mapping[str, Any], fields: Mapping[bytes, bytes], key: str
) -> str:
    """The conversation that a request is of, as records call it; `key` is the hash of its access key."""
    header, from_user = fields.get(b"x-session-id"), entry.served.table.session_from_user
    return session_name(*conversation_id(header, document, key, from_user=from_user, turns=operation.turns))


def watch_of(
    entry: Entry,
    operation: Operation,
    document: dict[str, Any],
    fields: Mapping[bytes, bytes],
    who: tuple[str, AccessKey],
    turn: "Turn | None",
    before: Watch | None,
) -> Watch | None:
    """The watch over one request to a deployment; `who` asks, by its id and its key, in a player's `turn`.

    `before` watched it until now: what it hears it hears to the end. None where no Guardrail holds.
    """
    guarding = entry.guarding
    if guarding is None:
        return None
    room = 0 if guarding.output is None else guarding.output.text.max_hold
    request_id, key = who
    in_crisis = turn is not None and turn.in_crisis
    fiction = fiction_of(key.players, fields)
    facts = facts_of(operation, document, fields, room, fiction=fiction, in_crisis=in_crisis)
    named = _NOBODY if turn is None else turn.who
    about = About(
        request_id,
        entry.key,
        key.hash[:KEY_DIGITS],
        entry.evidence_key,
        named.tenant,
        named.player,
        named.session or session_of(entry, operation, document, fields, key.hash),
        counts=turn is not None,
    )
    watch = Watch(guarding, entry, operation, document, facts, about, turn)
    watch.hearing = None if before is None else before.hearing
    return watch
