"""The texts of one answer on their way through their gates, whatever the API's shape: what was found, what is asked.

An answer has many texts that a reader could see: each choice's content, what was thought before it, a refusal, each
tool's arguments. Each is a *passage* with a gate of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from understudy.gateway.policy.guarding import Guarding, Plans, referral
from understudy.gateway.policy.wording import REFERRALS, said_in
from understudy.guard.actions import Content, Fiction
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Failure, Gate, Judged, Release
from understudy.guard.json_gate import JsonGate
from understudy.guard.windows import Window

_ACTIONS: Final = {
    Content.LOG: "log",
    Content.ANNOTATE: "annotate",
    Content.REDACT: "redact",
    Content.REPLACE: "replace",
    Content.BLOCK: "block",
}


REMOVED: Final = "[removed]"
"""What stands where a rule says Replace."""
PIECE: Final = 2048
"""Characters that are judged at once: a millisecond's worth."""
# Words of which it is kept whether they may be said.
_WORDS: Final = 64
# Of a text so many characters are kept: more than the longest pattern has.
_KEPT: Final = 4096


class TextGate(Protocol):
    """Gate, and JsonGate."""

    @property
    def most_held(self) -> int:
        """How many characters were held back at once at most."""
        ...

    @property
    def done(self) -> bool:
        """Whether nothing more will be released."""
        ...

    def feed(self, text: str) -> Release:
        """The next piece."""
        ...

    def finish(self) -> Release:
        """The text has ended."""
        ...

    def heard(self, detector: str, window: Window, findings: Sequence[Finding], status: Status = "ok") -> Release:
        """What a detector says to a window."""
        ...

    def pending(self) -> Window | None:
        """The window that is not complete, if verdicts on it will be awaited."""
        ...

    def warned(self, detector: str, window: Window, findings: Sequence[Finding]) -> Release:
        """What a detector finds in a window that is not complete."""
        ...

    def close(self) -> None:
        """The reader has gone."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request: `languages` of the person, the best first, whether the session is said to be
    `fiction`, and whether the person is in a crisis.

    `json` says whether the answer was asked for as JSON, `before` what of it the client has already, by choice.
    """

    languages: tuple[str, ...] = ()
    fiction: Fiction = ""
    in_crisis: bool = False
    json: bool = False
    before: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """A finding in one passage. `id` is that of the record about it, if there is one."""

    id: str
    channel: str
    choice: int
    judged: Judged
    severity: int
    excerpt: str = ""
    """What was found, where it is known as it was written."""

    @property
    def guardrail(self) -> str:
        """Whose detector found it."""
        return self.judged.finding.detector.partition("/")[0]

    @property
    def action(self) -> str:
        """What happened to the text, as one word."""
        return _ACTIONS.get(self.judged.decision.content, "log")

    def told(self) -> dict[str, Any]:
        """As clients see it: nothing of what was there."""
        finding = self.judged.finding
        return {
            "id": self.id,
            "guardrail": self.guardrail,
            "category": finding.category,
            "severity": self.severity,
            "action": self.action,
            "choice": self.choice,
            "channel": self.channel,
        }


class Guarded(Protocol):
    """An answer on its way through gates, in the shape of its API."""

    verdicts: "Verdicts"

    @property
    def done(self) -> bool:
        """Whether nothing more will come out, once the engine's answer has ended."""
        ...

    @property
    def withheld(self) -> bool:
        """Whether nothing of it may be seen."""
        ...

    def pieces(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A whole answer in pieces, as a stream would bring them: none has more than PIECE characters of a text."""
        ...

    def piece(self, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one of them."""
        ...

    def heard(
        self, question: "Question", detector: str, findings: Sequence[Finding], status: Status
    ) -> list[dict[str, Any]]:
        """What goes out once a detector has spoken."""
        ...

    def together(self, answer: dict[str, Any], out: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole answer that has come out for it."""
        ...


class Passage:
    """One text, of which the reader has `before` characters already. The last are kept, for evidence of findings."""

    __slots__ = ("_begin", "_last", "channel", "choice", "gate")

    def __init__(self, gate: TextGate, channel: str, choice: int, before: int = 0) -> None:
        self.gate = gate
        self.channel = channel
        self.choice = choice
        # Where in the text the last characters begin.
        self._begin = before
        self._last = ""

    def feed(self, text: str) -> Release:
        """The next piece."""
        if len(self._last) > _KEPT:
            self._begin += len(self._last) - _KEPT
            self._last = self._last[-_KEPT:]
        self._last += text
        return self.gate.feed(text)

    def excerpt(self, finding: Finding) -> str:
        """What was found, if that is still known; of JSON it is not, which is judged as what it means."""
        at = finding.start - self._begin
        if at < 0 or isinstance(self.gate, JsonGate):
            return ""
        return self._last[at : at + finding.end - finding.start]


def cut(text: Any) -> Iterator[str]:
    """A text in pieces; none of what is no text."""
    if isinstance(text, str):
        for at in range(0, len(text), PIECE):
            yield text[at : at + PIECE]


def together(first: Release, then: Release) -> Release:
    """Two releases of one gate as one."""
    return Release(
        first.text + then.text,
        first.judged + then.judged,
        first.windows + then.windows,
        first.failures + then.failures,
        first.end or then.end,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A window of a passage that each detector of `Verdicts.asked` is to be asked about.

    An `early` one is not complete, and has waited for long: what is found in it may end the answer. It lets out
    nothing.
    """

    passage: Passage
    window: Window
    early: bool = False

    def heard(self, detector: str, findings: Sequence[Finding], status: Status) -> Release:
        """What the gate says once a detector has spoken."""
        gate = self.passage.gate
        if not self.early:
            return gate.heard(detector, self.window, findings, status)
        return gate.warned(detector, self.window, findings) if status == "ok" else Release()


class Verdicts:
    """What is said of all passages of one answer. `mint` gives an id for each finding that somebody is told of.

    `found` are all findings so far, `failures` the detectors that failed; `failed`: the answer cannot go on for that.
    `referred`: somebody was told where there is help. `questions` are taken by whoever asks detectors. `held` is known
    at the end: of each passage the most characters that were held back at once.
    """

    __slots__ = (
        "_guarding", "_mint", "_open", "_plans", "_told", "_words", "facts", "failed", "failures", "found", "held",
        "questions", "referred", "told",
    )  # fmt: skip

    def __init__(self, guarding: Guarding, plans: Plans, facts: Facts, mint: Callable[[], str]) -> None:
        self._guarding = guarding
        self._plans = plans
        self.facts = facts
        self._mint = mint
        self._open: list[Passage] = []
        self._words: dict[str, bool] = {}
        # How many findings, and failures, somebody was told of.
        self._told = 0, 0
        self.failed = self.referred = False
        self.failures: list[Failure] = []
        self.found: list[Noted] = []
        self.held: list[int] = []
        self.questions: list[Question] = []
        # What is to be told beside the answer and has not been yet.
        self.told: dict[str, Any] = {}

    @property
    def enforces(self) -> bool:
        """Whether anything may happen to the text."""
        return self._plans.enforces

    @property
    def asked(self) -> frozenset[str]:
        """Detectors that are asked about windows."""
        return self._plans.text.asked

    @property
    def awaits(self) -> bool:
        """Whether nothing leaves before some of them have spoken."""
        return bool(self._plans.text.awaited)

    @property
    def room(self) -> int:
        """Characters of a text that may be held back."""
        return self._plans.text.max_hold

    def overflow(self) -> None:
        """More waits than may be held back: the answer cannot go on."""
        self.failed = True
        self.failures.append(Failure("", "overflow", "Closed"))

    @property
    def acted(self) -> bool:
        """Whether something happened to the text."""
        return any(each.judged.decision.content >= Content.REDACT for each in self.found)

    def waiting(self) -> list[Question]:
        """Windows that are not complete, of which the word will be waited for."""
        gates = ((passage, passage.gate) for passage in self._open)
        windows = ((passage, gate.pending()) for passage, gate in gates)
        return [Question(passage, window, early=True) for passage, window in windows if window is not None]

    def open(self, channel: str, choice: int) -> Passage:
        """A new passage: of text, or of JSON where that was asked for."""
        return self._opened(channel, choice, json=self.facts.json, before=self.facts.before.get(choice, ""))

    def open_side(self, channel: str, choice: int, *, json: bool = False) -> Passage:
        """A new passage beside the answer proper: its shape does not depend on what was asked for."""
        return self._opened(channel, choice, json=json, before="")

    def open_word(self, channel: str) -> Passage:
        """A new passage for a word of a request, which can only be let through or not."""
        facts = self.facts
        return Passage(Gate(self._plans.name, fiction=facts.fiction, in_crisis=facts.in_crisis), channel, 0)

    def open_care(self, channel: str) -> Passage | None:
        """A new passage for a text of a request that a rule ended: does somebody ask for help in the rest of it? None
        where no rule would hear that.
        """
        plan, facts = self._plans.care, self.facts
        if plan is None:
            return None
        return Passage(Gate(plan, fiction=facts.fiction, in_crisis=facts.in_crisis), channel, 0)

    def word(self, word: str, channel: str, choice: int) -> tuple[str, End | None]:
        """A word such as a tool's name, as it may be said, and what ends the answer there if it may not."""
        facts = self.facts
        gate = Gate(self._plans.name, fiction=facts.fiction, in_crisis=facts.in_crisis)
        passage = Passage(gate, channel, choice)
        release = together(passage.feed(word), gate.finish())
        return self.take(passage, release), release.end

    def say(self, word: str) -> bool:
        """Whether a word of the engine's own, such as an id, may be said as it is.

        It is nobody's text: where it may not, something else stands in its place, and nothing is told of it.
        """
        known = self._words.get(word)
        if known is None:
            gate = Gate(self._plans.name)
            release = together(gate.feed(word), gate.finish())
            known = release.end is None and release.text == word
            if len(self._words) < _WORDS:
                self._words[word] = known
        return known

    def take(self, passage: Passage, release: Release) -> str:
        """Note all that a gate says; the text that may go."""
        if release.windows:
            self.questions += [Question(passage, window) for window in release.windows]
        if release.failures:
            self.failures += release.failures
            if any(each.policy == "Degrade" for each in release.failures):
                self.told["degraded"] = True
        for judged in release.judged:
            self.note(passage.channel, passage.choice, judged, passage.excerpt(judged.finding))
        if release.end is not None and release.end.why == "failed":
            self.failed = True
        return release.text

    def instead(self, end: End, noted: Sequence[Noted]) -> str:
        """What is said where these findings have ended a text; empty where nothing is, and it only ends.

        Somebody in a crisis is not refused: they hear where there is help.
        """
        if end.decision.crisis:
            return self.referral([each.guardrail for each in noted if each.judged.decision.crisis])
        if self.facts.in_crisis and end.why == "blocked":
            return self.referral(tuple(self._guarding.policies))
        return REMOVED if end.why == "replaced" else ""

    def referral(self, guardrails: Sequence[str]) -> str:
        """What the first of these that says anything of it tells a person in crisis."""
        self.referred = True
        found = referral(self._guarding, guardrails, self.facts.languages)
        return said_in(self.facts.languages, {}, REFERRALS) if found is None else found.said()

    def tell(self) -> dict[str, Any]:
        """What clients are to be told beside the answer by now, once."""
        told, self.told = self.told, {}
        return {"guardrails": told} if told else {}

    def untold(self) -> tuple[Sequence[Noted], Sequence[Failure]]:
        """What was found, and which detectors have failed, since this was asked last."""
        found, failures = self._told
        self._told = len(self.found), len(self.failures)
        return self.found[found:], self.failures[failures:]

    def close(self) -> None:
        """Nobody reads the rest."""
        for passage in self._open:
            passage.gate.close()
            self.held.append(passage.gate.most_held)
        self._open.clear()

    def _opened(self, channel: str, choice: int, *, json: bool, before: str) -> Passage:
        facts, plans = self.facts, self._plans
        fiction, in_crisis = facts.fiction, facts.in_crisis
        gate: TextGate = (
            JsonGate(plans.json, before=before, fiction=fiction, in_crisis=in_crisis)
            if json
            else Gate(plans.text, before=before, fiction=fiction, in_crisis=in_crisis)
        )
        passage = Passage(gate, channel, choice, len(before))
        self._open.append(passage)
        return passage

    def note(self, channel: str, choice: int, judged: Judged, excerpt: str) -> Noted:
        """Keep a finding, and what is to be told of it."""
        severity = self._plans.text.severity(judged.finding, fiction=self.facts.fiction)
        noted = Noted(self._mint(), channel, choice, judged, severity, excerpt)
        self.found.append(noted)
        if judged.decision.content >= Content.ANNOTATE or judged.decision.crisis:
            self.told.setdefault("findings", []).append(noted.told())
        if judged.decision.banner:
            shown = referral(self._guarding, [noted.guardrail], self.facts.languages)
            if shown is not None:
                self.told["crisis"] = {"text": shown.text, "phone": shown.phone, "url": shown.url}
        return noted
