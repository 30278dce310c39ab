"""What a request says is judged before a model hears it: at once where it is short, else between other work."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.joins import Joined, around, join, runs, ways
from understudy.gateway.policy.memory import Outcome
from understudy.gateway.policy.operations import Operation
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.said import Said, in_tokens, said, shows_media
from understudy.gateway.policy.verdicts import REMOVED, Noted, Passage, Verdicts
from understudy.gateway.policy.violations import About
from understudy.gateway.wire.refusals import UNAVAILABLE
from understudy.guard.actions import Content
from understudy.guard.engagement.crisis import SELF_HARM, is_sign
from understudy.guard.gate import End, Judged, Release
from understudy.guard.windows import Window

if TYPE_CHECKING:
    from understudy.gateway.wire.exchange import Exchange
    from understudy.gateway.wire.panel import Verdict
    from understudy.gateway.wire.plane import Plane

# Characters that are judged in one turn of the loop: some milliseconds.
_AT_ONCE: Final = 2048
# Windows that detectors are asked about at once for one request: others ask as well.
_ASKED_AT_ONCE: Final = 16
_NUMBERS: Final = "{0}: a guardrail judges what is asked of this model, and cannot read tokens: send the text"
_MEDIA: Final = (
    "a guardrail judges what is asked of this model, and cannot look at images or listen to sound: send text"
)
_Text = Said | Joined
_FORBIDDEN: Final = "a guardrail of this model does not let this request through"


class Hearing:
    """That of one request. In one session of whom it is `about` a finding counts once for each time that it is said.

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
        "_times",
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
        # How often something was said by now in which something was found.
        self._times: Counter[tuple[str, str]] = Counter()

    def begin(self, exchange: "Exchange", then: Callable[[], None]) -> None:
        """Judge all of it, now or soon; `then` goes on, unless a rule says otherwise."""
        texts = list(said(self._operation, self._document))
        memory = self._plane.memory
        new = sum(len(each.text) for each in texts if memory.known(self._digest(each)) is None)
        parts = runs(texts)
        if new > _AT_ONCE or self.verdicts.asked or parts:
            self._task = asyncio.get_running_loop().create_task(self._judge_all(exchange, texts, parts, then))
            return
        outcomes = [memory.known(self._digest(each)) or self._judge(each) for each in texts]
        self._conclude(exchange, texts, outcomes, then)

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

    async def _judge_all(
        self, exchange: "Exchange", texts: Sequence[Said], parts: Sequence[tuple[int, ...]], then: Callable[[], None]
    ) -> None:
        outcomes = [await self._judge_new(each) for each in texts]
        all_texts: list[_Text] = [*texts]
        for run in parts:
            heard = [_heard(texts[number], outcomes[number]) for number in run]
            for joined, outcome in await self._judge_across([texts[number] for number in run], heard):
                all_texts.append(joined)
                outcomes.append(outcome)
        self._plane.isolated(partial(self._conclude, exchange, all_texts, outcomes, then), exchange.client)

    async def _judge_across(self, parts: Sequence[Said], heard: Sequence[str]) -> list[tuple[Joined, Outcome]]:
        """What is found across the seams of a message's parts, by what engines make of them; each thing once.

        Where something has to be done about it, all parts are judged as one text, as which the model hears them then.
        """
        found: list[tuple[Joined, Outcome]] = []
        seen: set[tuple[str, str, int, str]] = set()
        for texts, glue in ways(heard):
            looks = []
            for seam in around(parts, texts, glue, self.verdicts.room + _AT_ONCE):
                looks.append((seam, await self._look_across(seam)))
                if _acts(looks[-1][1]):
                    whole = join(parts, texts, glue)
                    looks = [(whole, await self._judge_new(whole))]
                    break
            for joined, outcome in looks:
                new = [each for each in outcome.judged if _is_across(joined, each)]
                new = [each for each in new if _key(joined, each) not in seen]
                seen.update(_key(joined, each) for each in new)
                found.append((joined, replace(outcome, judged=tuple(new))))
        return found

    async def _look_across(self, seam: Joined) -> Outcome:
        """What is said of a seam: what lies on one side of it is judged with its part."""
        digest = self._digest(seam, repr(seam.seams))
        known = self._plane.memory.known(digest)
        if known is None:
            known = _outcome(await self._read(seam, self._open(seam)))
            self._plane.memory.learn(digest, known)
        return known

    async def _judge_new(self, each: _Text) -> Outcome:
        return self._plane.memory.known(self._digest(each)) or await self._judge_slowly(each)

    def _open(self, each: _Text) -> Passage:
        return (
            self.verdicts.open_word(each.path) if each.word else self.verdicts.open_side(each.path, 0, json=each.json)
        )

    def _judge(self, each: Said) -> Outcome:
        """What a short text comes to, by tier 0 alone."""
        passage = self._open(each)
        outcome = _outcome([passage.gate.feed(each.text), passage.gate.finish()])
        care = self._care(each, outcome)
        if care is not None:
            outcome = _caring(outcome, _outcome([care.gate.feed(each.text), care.gate.finish()]))
        return self._learn(each, outcome)

    async def _judge_slowly(self, each: _Text) -> Outcome:
        outcome = _outcome(await self._read(each, self._open(each)))
        care = self._care(each, outcome)
        if care is not None:
            outcome = _caring(outcome, _outcome(await self._read(each, care)))
        return self._learn(each, outcome)

    async def _read(self, each: _Text, passage: Passage) -> list[Release]:
        """All that a gate says to a long text, or to one that detectors are asked about."""
        releases: list[Release] = []
        for at in range(0, len(each.text), _AT_ONCE):
            releases.append(passage.gate.feed(each.text[at : at + _AT_ONCE]))
            await asyncio.sleep(0)
            # What is held back waits for these words: more of it is read when they have come.
            releases += await self._ask(each, passage, releases[-1])
        releases.append(passage.gate.finish())
        releases += await self._ask(each, passage, releases[-1])
        return releases

    async def _ask(self, each: _Text, passage: Passage, release: Release) -> list[Release]:
        """What follows from what detectors say to the windows that a piece of a text completes."""
        asked = sorted(self.verdicts.asked)
        questions = [(name, window) for window in release.windows for name in asked]
        heard: list[Release] = []
        for at in range(0, len(questions), _ASKED_AT_ONCE):
            some = questions[at : at + _ASKED_AT_ONCE]
            words = await asyncio.gather(*(self._word(each, *question) for question in some))
            heard += [passage.gate.heard(*one, *word) for one, word in zip(some, words, strict=True)]
        return heard

    async def _word(self, each: _Text, name: str, window: Window) -> "Verdict":
        if isinstance(each, Joined) and not each.across(window.start, window.end):
            # It was asked about with the part that it is of.
            return (), "ok"
        return await self._plane.panel.judge(self._policy_of(name), name, window, "input")

    def _care(self, each: _Text, outcome: Outcome) -> Passage | None:
        """Who looks for a cry for help in what a rule has ended before its end."""
        ended = outcome.end is not None and not outcome.end.decision.crisis
        return self.verdicts.open_care(each.path) if ended and not (each.word or each.json) else None

    def _learn(self, each: _Text, outcome: Outcome) -> Outcome:
        self._plane.memory.learn(self._digest(each), outcome)
        return outcome

    def _digest(self, each: _Text, *more: str) -> bytes:
        facts = self.verdicts.facts
        holds = repr((sorted(self._guarding.policies.items()), facts.fiction, facts.in_crisis, each.json, each.word))
        return self._plane.memory.digest(holds, each.role, each.text, *more)

    def _conclude(
        self, exchange: "Exchange", texts: Sequence[_Text], outcomes: Sequence[Outcome], then: Callable[[], None]
    ) -> None:
        """Do what follows from all of it: help comes first, wherever it is asked for and whatever else is said."""
        founds = [self._tell(exchange, each, outcome) for each, outcome in zip(texts, outcomes, strict=True)]
        refusal = self._unreadable()
        for each, outcome, found in zip(texts, outcomes, founds, strict=True):
            end = outcome.end
            if end is None:
                continue
            if _flows(each, end):
                exchange.refer(self.verdicts.instead(end, found))
                return
            if end.why == "failed":
                refusal = refusal or UNAVAILABLE
            elif end.why == "blocked" or each.word or each.json:
                refusal = refusal or Refusal(400, "content_filter", _FORBIDDEN, each.path)
        if refusal is not None:
            exchange.refuse(refusal)
            return
        for each, outcome in zip(texts, outcomes, strict=True):
            if outcome.text is not None:
                each.put(_heard(each, outcome))
        then()

    def _tell(self, exchange: "Exchange", each: _Text, outcome: Outcome) -> Sequence[Noted]:
        """Note what was found in a text, and tell of what is new: by it somebody may be in danger."""
        before = len(self.verdicts.found)
        for judged in outcome.judged:
            excerpt = "" if each.json else each.text[judged.finding.start : judged.finding.end]
            self.verdicts.note(each.path, 0, judged, excerpt)
        self.verdicts.failures += outcome.failures
        found = self.verdicts.found[before:]
        if found:
            self._times[(each.role, each.text)] += 1
        counted = [noted for noted in found if self._counts(each, noted)]
        plane, end = self._plane, outcome.end
        plane.findings.tell(plane.log, plane.players, self._guarding, self._about, "input", counted, outcome.failures)
        flows = end is not None and _flows(each, end)
        # What was said before, and is sent again with each turn, does not begin it anew.
        if exchange.turn is not None and (flows or any(self._endangers(each, noted) for noted in counted)):
            exchange.turn.sign()
        return found

    def _endangers(self, each: _Text, noted: Noted) -> bool:
        """Whether who says so may be in danger, by a Guardrail that does more than count."""
        finding, plans = noted.judged.finding, self._guarding.input
        acts = plans is not None and finding.detector not in plans.text.counted
        return acts and each.role == "user" and finding.category == SELF_HARM and is_sign(noted.severity)

    def _counts(self, each: _Text, noted: Noted) -> bool:
        """Whether it is new: of this player, in this session, and said so often already."""
        about, memory = self._about, self._plane.memory
        category = noted.judged.finding.category
        policy = self._guarding.policies.get(noted.guardrail, "")
        whose = (about.tenant, about.key, about.player, about.session, each.role, each.text)
        times = str(self._times[(each.role, each.text)])
        return memory.first(memory.digest(*whose, times, noted.guardrail, category, policy))


def _heard(each: _Text, outcome: Outcome) -> str:
    """What is heard of a text. One for which the request is refused is looked through as it was said."""
    if outcome.text is None or (outcome.end is not None and outcome.end.why != "replaced"):
        return each.text
    return outcome.text + (REMOVED if outcome.end is not None else "")


def _acts(outcome: Outcome) -> bool:
    """Whether something has to be done about a text."""
    return outcome.end is not None or outcome.text is not None


def _is_across(joined: Joined, judged: Judged) -> bool:
    """Whether a finding is one of no part by itself, or ends what its parts did not."""
    return judged.decision.content >= Content.REPLACE or joined.across(judged.finding.start, judged.finding.end)


def _key(joined: Joined, judged: Judged) -> tuple[str, str, int, str]:
    """What is the same finding, whatever stands between the parts."""
    finding = judged.finding
    return finding.detector, finding.category, finding.severity, joined.part_at(finding.start).path


def _flows(each: _Text, end: End) -> bool:
    """Whether somebody says something for themselves, and now, that a rule takes for a crisis."""
    return end.decision.crisis and each.role == "user" and not each.answered


def _outcome(releases: Sequence[Release]) -> Outcome:
    """What a text came to by all that was said of it."""
    judged = tuple(found for release in releases for found in release.judged)
    end = next((release.end for release in releases if release.end is not None), None)
    changed = end is not None or any(found.decision.content >= Content.REDACT for found in judged)
    failures = tuple(failure for release in releases for failure in release.failures)
    return Outcome(judged, failures, end, "".join(release.text for release in releases) if changed else None)


def _caring(outcome: Outcome, care: Outcome) -> Outcome:
    """What it came to, where all of it was looked through for a cry for help."""
    known = [each.finding for each in outcome.judged]
    more = tuple(each for each in care.judged if each.finding not in known)
    end = care.end if care.end is not None and care.end.decision.crisis else outcome.end
    return replace(outcome, judged=outcome.judged + more, failures=outcome.failures + care.failures, end=end)
