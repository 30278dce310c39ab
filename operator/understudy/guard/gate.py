"""The way of a text to its reader: nothing leaves before all that must be heard have said that it is clear.

One gate for each choice of an answer, and for each other channel that a reader could see. What it lets out depends on
the text and on the detectors' words alone, not on how the text was cut: findings of tier 0 are taken in the order in
which they were certain, and when one ends the answer, exactly so much is let out as was clear at that character.

Two things do depend on when something comes: a verdict that is still out when tier 0 ends the answer counts as not
given, and more than `Plan.max_hold` characters are too many only when more text comes while they wait.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from understudy.guard.actions import Content, Decision, Fiction, combine
from understudy.guard.continued import Continued
from understudy.guard.detectors import Session
from understudy.guard.findings import Finding, Status
from understudy.guard.masks import Masks
from understudy.guard.plan import FailurePolicy, Plan
from understudy.guard.surrogates import Joiner, joined
from understudy.guard.windows import Window, Windows


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding and what follows from it."""

    finding: Finding
    decision: Decision


@dataclass(frozen=True, slots=True)
class Failure:
    """A detector that did not answer, and what holds therefore. Never a finding, and never evidence of any."""

    detector: str
    """Empty: tier 0 as a whole."""
    status: Status | Literal["overflow"]
    policy: FailurePolicy


@dataclass(frozen=True, slots=True)
class End:
    """The answer ends here, though the engine may go on."""

    why: Literal["blocked", "replaced", "failed"]
    decision: Decision
    """What all findings that ended it say together."""


@dataclass(frozen=True, slots=True)
class Release:
    """What may go to the reader now, and what was found meanwhile."""

    text: str = ""
    judged: tuple[Judged, ...] = ()
    windows: tuple[Window, ...] = ()
    """To be judged by every detector of `Plan.asked`: each answer goes to `Gate.heard`."""
    failures: tuple[Failure, ...] = ()
    end: End | None = None
    """Nothing comes after this, whatever is fed."""


_NOTHING = Release()


class Gate:
    """One text. `fiction` is what is said of the session; `in_crisis`: the person is.

    `before` is text that the reader has already and that this one goes on with, such as the beginning of an answer that
    the request brought along. Nothing follows from what lies in it, but what begins there is found, and so is all that
    would be found without it.

    All positions count characters, so a pair of surrogates is one however it is cut; halves come out as U+FFFD.
    `most_held` is how many were held back at once at most.
    """

    __slots__ = (
        "_awaited", "_begin", "_by_sentence", "_closed", "_ends", "_fiction", "_finished", "_gone", "_held",
        "_in_crisis", "_joiner", "_lost", "_masks", "_plan", "_released", "_safe", "_tier0", "_tier0_failed",
        "_windows", "most_held",
    )  # fmt: skip

    def __init__(self, plan: Plan, *, before: str = "", fiction: Fiction = "", in_crisis: bool = False) -> None:
        self._plan = plan
        self._fiction = fiction
        self._in_crisis = in_crisis
        self._tier0_failed = False
        self._joiner = Joiner()
        before = joined(before)
        self._begin = self._released = self._safe = len(before)
        self._tier0: Session = Continued(plan.detector, before) if before else plan.detector.open()
        self._windows = Windows(self._begin) if plan.asked or plan.by_sentence else None
        self._ends: list[int] = []
        self._by_sentence = plan.by_sentence
        self._awaited = {name: _Verdicts(self._begin) for name in plan.awaited}
        self._lost: set[str] = set()
        # What is held back begins at index `_gone`: what is before it has been let out.
        self._held = ""
        self._gone = 0
        self._masks = Masks()
        self._finished = False
        self._closed = False
        self.most_held = 0

    @property
    def done(self) -> bool:
        """Whether nothing more will be released: all is, the answer was ended, or the reader has gone."""
        return self._closed or (self._finished and self._released == self._read())

    def feed(self, text: str) -> Release:
        """The next piece of the text. Once the answer was ended, or the reader has gone, nothing follows from it.

        Raises ValueError after `finish`.
        """
        if self._closed:
            return _NOTHING
        if self._finished:
            raise ValueError("a gate was fed after finish(): open another one for another text")
        whole = self._joiner.feed(text)
        return self._take(whole) if whole else _NOTHING

    def finish(self) -> Release:
        """The text has ended. What is still awaited comes by `heard`."""
        if self._closed or self._finished:
            return _NOTHING
        half = self._joiner.finish()
        last = self._take(half) if half else _NOTHING
        if last.end is not None:
            return last
        self._finished = True
        step = self._tier0.finish()
        windows = self._windows.finish() if self._windows is not None else []
        self._note(windows)
        return _both(last, self._go_on(step.findings, step.safe_upto, step.status, windows))

    def heard(self, detector: str, window: Window, findings: Sequence[Finding], status: Status = "ok") -> Release:
        """What a detector says to a window; once for each, in any order. What cannot be an answer is a failure."""
        if self._closed or detector in self._lost:
            return _NOTHING
        if status == "ok" and not all(_answers(detector, window, finding) for finding in findings):
            status = "unparseable"
        if status != "ok":
            return self._lose(detector, status)
        waiting = self._awaited.get(detector)
        if waiting is not None:
            waiting.hear(window.end)
        return self._go_on(tuple(findings), self._safe, "ok", [])

    def pending(self) -> Window | None:
        """The window that is not complete, if verdicts on it will be awaited: to be asked about when it takes long."""
        return self._windows.unfinished() if self._windows is not None and self._awaited and not self._closed else None

    def warned(self, detector: str, window: Window, findings: Sequence[Finding]) -> Release:
        """What a detector finds in a window that is not complete: it may end the answer, and releases nothing.

        Whatever does not end it is left to the verdict on the whole window; so is a detector that failed.
        """
        if self._closed or detector in self._lost or not all(_answers(detector, window, each) for each in findings):
            return _NOTHING
        judged = self._judge(findings)
        ending = [each for each in judged if each.decision.content >= Content.REPLACE]
        return self._stop(tuple(ending), ending, ()) if ending else _NOTHING

    def close(self) -> None:
        """The reader has gone."""
        self._closed = True
        self._tier0.close()

    def _take(self, text: str) -> Release:
        if self._read() - self._released > self._plan.max_hold:
            lost = self._overflow()
            return lost if lost.end is not None else _both(lost, self._take(text))
        self._held += text
        step = self._tier0.feed(text)
        return self._go_on(step.findings, step.safe_upto, step.status, self._cut_windows(text))

    def _cut_windows(self, text: str) -> list[Window]:
        windows = self._windows.feed(text) if self._windows is not None else []
        self._note(windows)
        return windows

    def _note(self, windows: list[Window]) -> None:
        for window in windows:
            self._ends.append(window.end)
            for waiting in self._awaited.values():
                waiting.expect(window.end)

    def _go_on(self, findings: Sequence[Finding], safe: int, status: Status, windows: list[Window]) -> Release:
        failures: tuple[Failure, ...] = ()
        if status != "ok" and not self._tier0_failed:
            self._tier0_failed = True
            failures = (Failure("", status, self._plan.tier0_on_failure),)
            if self._plan.tier0_on_failure != "Open":
                return self._ended(End("failed", Decision()), self._clear(), (), failures)
        # Where tier 0 may be done without, what the others say counts.
        self._safe = self._read() if self._tier0_failed else safe
        judged = self._judge(findings) if findings else ()
        ending = [each for each in judged if each.decision.content >= Content.REPLACE]
        if ending:
            return self._stop(judged, ending, failures)
        self._mask(judged)
        text = self._let_out(self._clear())
        held = len(self._held) - self._gone
        if held > self.most_held:
            self.most_held = held
        # Mostly there is nothing to say besides.
        return Release(text, judged, tuple(windows), failures)

    def _judge(self, findings: Sequence[Finding]) -> tuple[Judged, ...]:
        judged = []
        for finding in findings:
            said = self._plan.decide(finding, fiction=self._fiction) if finding.end > self._begin else ()
            if said:
                together = combine(said, in_crisis=self._in_crisis)
                if together.content == Content.REDACT and finding.end <= self._released:
                    # Nothing is left to take out, and nobody shall be told that it was.
                    together = replace(together, content=Content.LOG)
                judged.append(Judged(finding, together))
        return tuple(judged)

    def _stop(self, judged: tuple[Judged, ...], ending: list[Judged], failures: tuple[Failure, ...]) -> Release:
        """The first that was certain ends the answer; what was certain later has never been said."""
        at = min(each.finding.decided for each in ending)
        first = [each for each in ending if each.finding.decided == at]
        heard = tuple(each for each in judged if each.finding.decided <= at)
        self._mask(heard)
        upto = self._clear(min(min(each.finding.start, each.finding.clear) for each in first))
        together = combine((each.decision for each in first), in_crisis=self._in_crisis)
        why: Literal["blocked", "replaced"] = "blocked" if together.content == Content.BLOCK else "replaced"
        return self._ended(End(why, together), upto, heard, failures)

    def _overflow(self) -> Release:
        """Too much waits. What tier 0 holds back stays; verdicts can be done without, where that is allowed."""
        if self._plan.on_overflow == "Block" or not self._awaited:
            failures = (Failure("", "overflow", "Closed"),)
            return self._ended(End("failed", Decision()), self._clear(), (), failures)
        lost = tuple(Failure(name, "overflow", "Degrade") for name in sorted(self._awaited))
        self._lost |= self._awaited.keys()
        self._awaited.clear()
        self._by_sentence = True
        return Release(self._let_out(self._clear()), failures=lost)

    def _lose(self, detector: str, status: Status) -> Release:
        policy = self._plan.on_failure.get(detector, "Closed")
        failures = (Failure(detector, status, policy),)
        if policy == "Closed":
            return self._ended(End("failed", Decision()), self._clear(), (), failures)
        self._lost.add(detector)
        self._awaited.pop(detector, None)
        self._by_sentence = self._by_sentence or policy == "Degrade"
        return Release(self._let_out(self._clear()), failures=failures)

    def _ended(self, end: End, upto: int, judged: tuple[Judged, ...], failures: tuple[Failure, ...]) -> Release:
        text = self._let_out(upto)
        self._held, self._gone = "", 0
        self.close()
        return Release(text, judged, (), failures, end)

    def _mask(self, judged: tuple[Judged, ...]) -> None:
        for each in judged:
            finding = each.finding
            # What the reader has already cannot be taken back.
            start = max(finding.start, self._released)
            if each.decision.content == Content.REDACT and start < finding.end:
                self._masks.add(start, finding.end, f"[{finding.category}]")

    def _read(self) -> int:
        return self._released + len(self._held) - self._gone

    def _clear(self, most: int | None = None) -> int:
        """How far the text is clear in everybody's eyes, and `most` at most."""
        upto = self._safe if most is None else min(most, self._safe)
        for name in self._awaited:
            upto = min(upto, self._awaited[name].upto)
        if self._by_sentence:
            complete = bisect_right(self._ends, upto)
            upto = self._ends[complete - 1] if complete else self._released
        return max(upto, self._released)

    def _let_out(self, upto: int) -> str:
        upto = self._masks.before(upto)
        gone = self._gone + upto - self._released
        text = self._masks.apply(self._held[self._gone : gone], self._released)
        self._released = upto
        # The rest moves up only when there is less of it than of what has gone: long texts leave in many pieces.
        if 2 * gone >= len(self._held):
            self._held, gone = self._held[gone:], 0
        self._gone = gone
        if self._ends and self._ends[0] <= upto:
            del self._ends[: bisect_right(self._ends, upto)]
        return text


class _Verdicts:
    """Of one detector without whose word nothing leaves: up to where it has said its word on every window."""

    __slots__ = ("_ends", "_out", "upto")

    def __init__(self, upto: int) -> None:
        self.upto = upto
        self._ends: deque[int] = deque()
        self._out: set[int] = set()

    def expect(self, end: int) -> None:
        """The window that ends there is asked about; windows come in their order."""
        self._ends.append(end)
        self._out.add(end)

    def hear(self, end: int) -> None:
        """The word on it has come; only what was asked counts, and once."""
        self._out.discard(end)
        while self._ends and self._ends[0] not in self._out:
            self.upto = self._ends.popleft()


def _answers(detector: str, window: Window, finding: Finding) -> bool:
    """Whether a finding can be this detector's about this window."""
    return (
        finding.detector == detector
        and window.start <= finding.start < finding.end <= window.end
        and finding.severity in (2, 4, 6)
        # Of what is not a number no comparison is true.
        and (finding.score is None or 0 <= finding.score <= 1)
    )


def _both(first: Release, then: Release) -> Release:
    return Release(
        first.text + then.text,
        first.judged + then.judged,
        first.windows + then.windows,
        first.failures + then.failures,
        then.end,
    )
