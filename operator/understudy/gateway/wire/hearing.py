"""What a request says is judged before a model hears it: at once where it is short, else between other work."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.guarded_choices import REMOVED
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.memory import Outcome
from understudy.gateway.policy.operations import Operation
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.said import Said, in_tokens, said, shows_media
from understudy.gateway.policy.verdicts import Noted, Verdicts
from understudy.gateway.policy.violations import About
from understudy.gateway.wire.refusals import UNAVAILABLE
from understudy.guard.actions import Content
from understudy.guard.engagement.crisis import SELF_HARM, is_sign
from understudy.guard.gate import Release

if TYPE_CHECKING:
    from understudy.gateway.wire.exchange import Exchange
    from understudy.gateway.wire.plane import Plane

# Characters that are judged in one turn of the loop: some milliseconds.
_AT_ONCE: Final = 2048
_NUMBERS: Final = "{0}: a guardrail judges what is asked of this model, and cannot read tokens: send the text"
_MEDIA: Final = (
    "a guardrail judges what is asked of this model, and cannot look at images or listen to sound: send text"
)
_FORBIDDEN: Final = "a guardrail of this model does not let this request through"


class Hearing:
    """That of one request. In one session, which is what it is `about`, a finding counts once.

    `policy_of` is how the panel knows the policy of a detector.
    """

    __slots__ = (
        "_about",
        "_document",
        "_guarding",
        "_operation",
        "_plane",
        "_policy_of",
        "_task",
        "counted",
        "verdicts",
    )

    def __init__(
        self,
        plane: "Plane",
        guarding: Guarding,
        verdicts: Verdicts,
        operation: Operation,
        document: dict[str, Any],
        about: About,
        policy_of: Callable[[str], str],
    ) -> None:
        self._plane = plane
        self._guarding = guarding
        self.verdicts = verdicts
        self._operation = operation
        self._document = document
        self._about = about
        self._policy_of = policy_of
        self._task: asyncio.Task[None] | None = None

    def begin(self, exchange: "Exchange", then: Callable[[], None]) -> None:
        """Judge all of it, now or soon; `then` goes on, unless a rule says otherwise."""
        refusal = self._unreadable()
        if refusal is not None:
            exchange.refuse(refusal)
            return
        texts = list(said(self._operation, self._document))
        memory = self._plane.memory
        new = sum(len(each.text) for each in texts if memory.known(self._digest(each)) is None)
        if new > _AT_ONCE or self.verdicts.asked:
            self._task = asyncio.get_running_loop().create_task(self._judge_all(exchange, texts, then))
            return
        for each in texts:
            outcome = memory.known(self._digest(each)) or self._judge(each)
            if not self._take(exchange, each, outcome):
                return
        then()

    def close(self) -> None:
        """Nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()
        self.verdicts.close()

    def _unreadable(self) -> Refusal | None:
        if not self.verdicts.enforces:
            return None
        field = in_tokens(self._document)
        if field:
            return Refusal(400, "content_filter", _NUMBERS.format(field), field)
        if self._guarding.texts_only and shows_media(self._document):
            return Refusal(400, "content_filter", _MEDIA)
        return None

    async def _judge_all(self, exchange: "Exchange", texts: Sequence[Said], then: Callable[[], None]) -> None:
        for each in texts:
            outcome = self._plane.memory.known(self._digest(each)) or await self._judge_slowly(each)
            if not self._take(exchange, each, outcome):
                return
        self._plane.isolated(then, exchange.client)

    def _judge(self, each: Said) -> Outcome:
        """What a short text comes to, by tier 0 alone."""
        passage = self.verdicts.open_side(each.path, 0, json=each.json)
        return self._learn(each, [passage.gate.feed(each.text), passage.gate.finish()])

    async def _judge_slowly(self, each: Said) -> Outcome:
        passage = self.verdicts.open_side(each.path, 0, json=each.json)
        releases: list[Release] = []
        for at in range(0, len(each.text), _AT_ONCE):
            releases.append(passage.gate.feed(each.text[at : at + _AT_ONCE]))
            await asyncio.sleep(0)
        releases.append(passage.gate.finish())
        windows = [window for release in releases for window in release.windows]
        for window in windows:
            asked = sorted(self.verdicts.asked)
            judge = partial(self._plane.panel.judge, window=window, where="input")
            words = await asyncio.gather(*(judge(self._policy_of(name), name) for name in asked))
            releases += [passage.gate.heard(name, window, *word) for name, word in zip(asked, words, strict=True)]
        return self._learn(each, releases)

    def _learn(self, each: Said, releases: Sequence[Release]) -> Outcome:
        judged = tuple(found for release in releases for found in release.judged)
        end = next((release.end for release in releases if release.end is not None), None)
        changed = end is not None or any(found.decision.content >= Content.REDACT for found in judged)
        failures = tuple(failure for release in releases for failure in release.failures)
        text = "".join(release.text for release in releases) if changed else None
        outcome = Outcome(judged, failures, end, text)
        self._plane.memory.learn(self._digest(each), outcome)
        return outcome

    def _digest(self, each: Said) -> bytes:
        facts = self.verdicts.facts
        holds = repr((sorted(self._guarding.policies.items()), facts.fiction, facts.in_crisis, each.json))
        return self._plane.memory.digest(holds, each.role, each.text)

    def _take(self, exchange: "Exchange", each: Said, outcome: Outcome) -> bool:
        """Do what follows; whether the request goes on."""
        before = len(self.verdicts.found)
        for judged in outcome.judged:
            excerpt = "" if each.json else each.text[judged.finding.start : judged.finding.end]
            self.verdicts.note(each.path, 0, judged, excerpt)
        self.verdicts.failures += outcome.failures
        found = self.verdicts.found[before:]
        counted = [noted for noted in found if self._counts(each, noted)]
        plane = self._plane
        plane.findings.tell(plane.log, self._guarding, self._about, "input", counted, outcome.failures)
        end = outcome.end
        # What was said before, and is sent again with each turn, does not begin it anew.
        flows = end is not None and end.decision.crisis
        if exchange.turn is not None and (flows or any(self._endangers(each, noted) for noted in counted)):
            exchange.turn.sign()
        if end is None:
            if outcome.text is not None:
                each.put(outcome.text)
            return True
        if end.why == "replaced" and not end.decision.crisis:
            each.put((outcome.text or "") + REMOVED)
            return True
        if end.why == "replaced":
            exchange.refer(self.verdicts.referral(found) or REMOVED)
        elif end.why == "failed":
            exchange.refuse(UNAVAILABLE)
        else:
            exchange.refuse(Refusal(400, "content_filter", _FORBIDDEN, each.path))
        return False

    def _endangers(self, each: Said, noted: Noted) -> bool:
        """Whether who says so may be in danger, by a Guardrail that does more than count."""
        finding, plans = noted.judged.finding, self._guarding.input
        acts = plans is not None and finding.detector not in plans.text.counted
        return acts and each.role == "user" and finding.category == SELF_HARM and is_sign(noted.severity)

    def _counts(self, each: Said, noted: Noted) -> bool:
        category = noted.judged.finding.category
        policy = self._guarding.policies.get(noted.guardrail, "")
        memory = self._plane.memory
        return memory.first(memory.digest(self._about.session, each.role, each.text, noted.guardrail, category, policy))
