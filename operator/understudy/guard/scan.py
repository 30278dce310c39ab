"""Tier 0: text in, findings and how far it is clear out, the same however the text is cut.

Per view an engine says where matches end, and the automaton of `liveness.py` from where on one may be under way. What
an engine found is then judged on the text as it is written: whether a word goes on before or after it, whether a
disguise has a letter left, whether a number's check digit is right. Every finding carries the position at which it was
certain and how far the text was clear then, so that what follows does not depend on where a piece ended.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from understudy.guard.engines import Engine, EngineError, MakeEngine, Matcher
from understudy.guard.findings import Finding, Step
from understudy.guard.liveness import Automaton, Follower
from understudy.guard.lookalikes import ALIKE, SHAPES
from understudy.guard.needles import AFTER, BEFORE, Needle
from understudy.guard.views import DIGIT, JOINED, LETTER, LETTERS, PLAIN, WORDS, Piece, ViewName, Views, alike

Check = Callable[[str], bool]
"""Whether a match, as PLAIN shows it, is what it looks like."""


class Lane:
    """What all streams share of one view."""

    def __init__(
        self,
        view: ViewName,
        needles: Sequence[Needle],
        held: Sequence[Needle],
        engine: Engine,
        checks: Mapping[str, Check],
    ) -> None:
        self.needles = needles
        self.engine = engine
        self.shapes: Mapping[int, int] = SHAPES if view == WORDS else {}
        self.automaton = Automaton(held, ALIKE if view == WORDS else {})
        self.width = max(needle.width for needle in needles)
        self.checks = [checks[needle.pattern.check] if needle.pattern.check else None for needle in needles]


class Scanner:
    """All patterns of a policy. `holds` says which of them text is held back for."""

    def __init__(
        self,
        needles: Iterable[Needle],
        make: MakeEngine,
        checks: Mapping[str, Check],
        holds: Callable[[Needle], bool] = lambda _: True,
    ) -> None:
        by_view: dict[ViewName, list[Needle]] = {PLAIN: [], WORDS: []}
        for needle in needles:
            by_view[needle.view].append(needle)
        self.lanes = {
            view: Lane(view, looked, [needle for needle in looked if holds(needle)], make(looked), checks)
            for view, looked in by_view.items()
            if looked
        }

    def open(self) -> "Scan":
        """A stream from its beginning."""
        return Scan(self)


class Scan:
    """One stream. After a failure, or once closed, it says so for ever, and nothing more is clear."""

    __slots__ = ("_closed", "_lanes", "_safe", "_views")

    def __init__(self, scanner: Scanner) -> None:
        self._views = Views()
        self._lanes = [(view == WORDS, _LaneScan(lane)) for view, lane in scanner.lanes.items()]
        self._safe = 0
        self._closed = False

    def feed(self, text: str) -> Step:
        """The next piece of the text, in whole code points."""
        if len(text) <= _LONGEST:
            return self._step(text, final=False)
        # What is found does not depend on cuts, and what is kept meanwhile is bounded by what a cut has.
        safe, findings = self._safe, list[Finding]()
        for at in range(0, len(text), _LONGEST):
            step = self._step(text[at : at + _LONGEST], final=False)
            if step.status != "ok":
                self._safe = safe
                return Step(safe, status=step.status)
            findings += step.findings
        return Step(self._safe, tuple(findings))

    def finish(self) -> Step:
        """The text has ended: what waited for the next character is decided."""
        step = self._step("", final=True)
        self.close()
        return step

    def close(self) -> None:
        """The rest of the stream does not matter any more."""
        self._closed = True
        for _, lane in self._lanes:
            lane.matcher.close()

    def _step(self, text: str, *, final: bool) -> Step:
        if self._closed:
            return Step(self._safe, status="error")
        pieces = self._views.feed(text)
        read = self._views.read
        found: list[_Found] = []
        try:
            for is_words, lane in self._lanes:
                found += lane.feed(pieces[is_words], read, final=final)
        except EngineError:
            self.close()
            return Step(self._safe, status="error")
        findings = tuple(self._finding(each) for each in sorted(found, key=_in_order)) if found else ()
        self._safe = read if final else min((lane.safe(read) for _, lane in self._lanes), default=read)
        return Step(self._safe, findings)

    def _finding(self, found: "_Found") -> Finding:
        needle, start, end, decided = found
        pattern = needle.pattern
        read = self._views.read
        # With the text's end nothing is under way any more.
        clear = read if decided == read else min(lane.clear_at(decided) for _, lane in self._lanes)
        return Finding(
            pattern.detector, pattern.name, pattern.category, pattern.severity, None, start, end, decided, clear
        )


_Found = tuple[Needle, int, int, int]
_SLACK: Final = 256
# Characters that are looked at together.
_LONGEST: Final = 4096


def _in_order(found: _Found) -> tuple[int, int, int, str, str]:
    needle, start, end, decided = found
    return decided, start, end, needle.pattern.detector, needle.pattern.name


class _LaneScan:
    """One stream in one view."""

    __slots__ = (
        "_base",
        "_before",
        "_begins",
        "_chars",
        "_clear",
        "_follower",
        "_kinds",
        "_lane",
        "_new",
        "_origins",
        "_waiting",
        "matcher",
    )

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.matcher: Matcher = lane.engine.open()
        self._follower = Follower(lane.automaton)
        # The view's last characters, the first of them being number `_base` of the stream.
        self._base = 0
        self._chars = self._kinds = self._before = ""
        self._origins: list[int] = []
        self._waiting: list[tuple[int, int]] = []
        # Of the last piece: origins of its characters, and what was under way after each; what was before it.
        self._new: Sequence[int] = ()
        self._begins: list[int | None] = []
        self._clear: int | None = None

    def feed(self, piece: Piece, read: int, *, final: bool) -> list[_Found]:
        self._clear = self._follower.begins()
        self._append(piece)
        self._begins = self._follower.feed(piece, self._origins) if piece.chars else []
        shapes = self._lane.shapes
        chars = piece.chars.translate(shapes) if shapes else piece.chars
        hits = self.matcher.scan(chars) if chars else []
        if not (hits or self._waiting):
            return []
        return self._judge(hits, read, final=final)

    def safe(self, read: int) -> int:
        """Before here nothing is under way."""
        begins = self._follower.begins()
        return read if begins is None else begins

    def clear_at(self, position: int) -> int:
        """Before here nothing was under way after the text's character at `position`, one of the last piece."""
        at = bisect_right(self._new, position) - 1
        begins = self._begins[at] if at >= 0 else self._clear
        return position + 1 if begins is None else begins

    def _append(self, piece: Piece) -> None:
        # What waits ends with the last character, so it is kept with it.
        keep = self._lane.width + 1
        if len(self._chars) > keep + _SLACK:
            cut = len(self._chars) - keep
            self._base += cut
            self._chars, self._kinds, self._before = self._chars[cut:], self._kinds[cut:], self._before[cut:]
            del self._origins[:cut]
        self._chars += piece.chars
        self._kinds += piece.kinds
        self._before += piece.before
        self._new = piece.origins
        self._origins += piece.origins

    def _judge(self, hits: list[tuple[int, int]], read: int, *, final: bool) -> list[_Found]:
        found: list[_Found] = []
        waiting: list[tuple[int, int]] = []
        for number, end in self._waiting + hits:
            needle = self._lane.needles[number]
            at = end - self._base
            if not (needle.ends_word or _is_letter(needle, AFTER, self._kinds[at - 1])):
                self._decide(found, number, at, self._origins[at - 1])
            elif at < len(self._chars):
                if self._kinds[at] not in JOINED:
                    self._decide(found, number, at, self._origins[at])
            elif final:
                self._decide(found, number, at, read)
            else:
                waiting.append((number, end))
        self._waiting = waiting
        return found

    def _decide(self, found: list[_Found], number: int, end: int, decided: int) -> None:
        needle, check = self._lane.needles[number], self._lane.checks[number]
        first = max(0, end - needle.width)
        for start in needle.starts(self._chars[first:end], end - first):
            at = first + start
            if self._before[at] in JOINED and (needle.starts_word or _is_letter(needle, BEFORE, self._kinds[at])):
                continue
            if needle.view == WORDS and not (
                alike(self._chars[at:end], needle.chars) and _has_letter(self._kinds[at:end])
            ):
                continue
            if check is not None and not check(self._chars[at:end]):
                continue
            # The earliest beginning covers all later ones.
            found.append((needle, self._origins[at], self._origins[end - 1] + 1, decided))
            return


def _is_letter(needle: Needle, side: int, kind: str) -> bool:
    """Whether a letter stands where the literal may have a sign that is read as one: glass has no @ss in it."""
    return needle.view == WORDS and kind in (DIGIT, LETTER) and not needle.pattern.inside[side]


def _has_letter(kinds: str) -> bool:
    return not LETTERS.isdisjoint(kinds)
