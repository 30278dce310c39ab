"""A gate for texts that are JSON, such as the arguments of a tool: judged as whoever parses it will read it.

Each string literal is a text of its own, judged without its escapes and written anew when it is let out, so that no
cut ever goes through an escape. What stands between the literals (names of members are literals too) is one more text:
there a number may be a card's. A mask would break it, so what a rule would redact there ends the text; and no text but
the whole can be replaced, so in either Replace is Block, unless it is a crisis that asks for it.

What is not JSON is read as far as it goes: an escape that there is not means the character behind it, and a literal
without an end ends with the text.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import orjson

from understudy.guard.actions import Content, Decision, Fiction, Rule
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Gate, Release
from understudy.guard.plan import Plan
from understudy.guard.surrogates import LOST, Joiner, joined
from understudy.guard.windows import Window

# Of a literal, what is neither its end nor an escape.
_RUN: Final = re.compile(r'[^"\\]+')
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")

Kind = Literal["outside", "opened", "inside", "closed"]


@dataclass(frozen=True, slots=True)
class JsonPlans:
    """What a JSON text is judged by: its `literals`, and what is `outside` of them."""

    literals: Plan
    outside: Plan


def json_plans(plan: Plan) -> JsonPlans:
    """Those that a plan for texts comes to, where a text is JSON."""
    return JsonPlans(_blocking(plan, Content.REPLACE), _blocking(plan, Content.REDACT))


def _blocking(plan: Plan, least: Content) -> Plan:
    """The plan in which what does at least so much to a text ends it."""
    return replace(
        plan, rules={name: tuple(_strict(rule, least) for rule in said) for name, said in plan.rules.items()}
    )


def _strict(rule: Rule, least: Content) -> Rule:
    return replace(rule, actions={severity: _raised(said, least) for severity, said in rule.actions.items()})


def _raised(said: Decision, least: Content) -> Decision:
    return replace(said, content=Content.BLOCK) if said.content >= least and not said.crisis else said


class Literals:
    """Tells the string literals of a JSON text from what is around them, however the text is cut."""

    __slots__ = ("_code", "_escaped", "_high", "_inside")

    def __init__(self) -> None:
        self._inside = False
        self._escaped = False
        # Digits of a \\u that has begun, and the first half of a character that takes two of them.
        self._code: str | None = None
        self._high = 0

    def read(self, text: str) -> Iterator[tuple[Kind, str]]:
        """Pieces in their order: of `inside` what they mean, of all others what is written."""
        at = 0
        while at < len(text):
            if not self._inside:
                end = text.find('"', at)
                end = len(text) if end < 0 else end
                if end > at:
                    yield "outside", text[at:end]
                if end < len(text):
                    self._inside = True
                    yield "opened", '"'
                at = end + 1
                continue
            meant, at, closed = self._read_inside(text, at)
            if meant:
                yield "inside", meant
            if closed:
                self._inside = False
                yield "closed", '"'

    def finish(self) -> str:
        """What a literal means that has no end, beyond what was said of it."""
        self._escaped = False
        return self._lost() + self._broken()

    def _read_inside(self, text: str, at: int) -> tuple[str, int, bool]:
        """What the next characters mean, how far they go, and whether they end the literal."""
        char = text[at]
        if self._code is not None:
            if char in _HEX:
                return self._digit(self._code + char), at + 1, False
            # No such escape: what was read of it is text.
            return self._lost() + self._broken(), at, False
        if self._escaped:
            self._escaped = False
            if char == "u":
                self._code = ""
                return "", at + 1, False
            return self._lost() + _ESCAPES.get(char, char), at + 1, False
        if char == "\\":
            self._escaped = True
            return "", at + 1, False
        lost = self._lost()
        run = _RUN.match(text, at)
        return (lost, at + 1, True) if run is None else (lost + run[0], run.end(), False)

    def _digit(self, code: str) -> str:
        """What an escape means with one more digit; of a character of two units only the second says it."""
        if len(code) < 4:
            self._code = code
            return ""
        self._code = None
        unit = int(code, 16)
        if 0xDC00 <= unit < 0xE000:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - 0xD800) << 10) + unit - 0xDC00) if high else LOST
        lost = self._lost()
        if 0xD800 <= unit < 0xDC00:
            self._high = unit
            return lost
        return lost + chr(unit)

    def _lost(self) -> str:
        """What stands for half of a character."""
        high, self._high = self._high, 0
        return LOST if high else ""

    def _broken(self) -> str:
        code, self._code = self._code, None
        return "" if code is None else "u" + code


@dataclass(frozen=True, slots=True)
class LiteralWindow(Window):
    """A window of one of a JSON text's own texts, whose gate waits for the word on it."""

    gate: Gate

    def grown(self, before: Window) -> bool:
        """As Window: of the same text alone."""
        return isinstance(before, LiteralWindow) and self.gate is before.gate and Window.grown(self, before)


class _Literal:
    """A string literal that is not let out yet, or not to its end. `open` until it was closed or the text ended."""

    __slots__ = ("gate", "open", "ready")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.open = True
        self.ready = ""


class JsonGate:
    """As Gate, for one JSON text; `most_held` is of its text that had the most: a literal, or what is around them."""

    __slots__ = (
        "_end", "_ended", "_finished", "_free", "_gate", "_inside", "_joiner", "_literals", "_outside", "_parts",
        "_plans", "most_held",
    )  # fmt: skip

    def __init__(self, plans: JsonPlans, *, before: str = "", fiction: Fiction = "", in_crisis: bool = False) -> None:
        self._plans = plans
        self.most_held = 0
        self._gate = partial(Gate, fiction=fiction, in_crisis=in_crisis)
        self._joiner = Joiner()
        self._literals = Literals()
        outside, literal = "", None
        for kind, piece in self._literals.read(joined(before)):
            if kind == "inside":
                literal = (literal or "") + piece
            else:
                outside += piece
                literal = "" if kind == "opened" else None
        self._outside = self._gate(plans.outside, before=outside)
        # How many characters of what stands outside are clear and not let out yet.
        self._free = 0
        # What is not let out yet: what stands outside as it is written, and literals.
        self._parts: deque[str | _Literal] = deque()
        self._inside: _Literal | None = None
        if literal is not None:
            self._open(literal)
        self._finished = False
        self._end: End | None = None
        # The gate that ended it.
        self._ended: Gate | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will be released: all is, or the answer was ended."""
        return self._end is not None or (self._finished and not self._parts)

    def feed(self, text: str) -> Release:
        """The next piece of the text."""
        releases: list[Release] = []
        self._read(self._joiner.feed(text), releases)
        return self._together(releases)

    def finish(self) -> Release:
        """The text has ended. What is still awaited comes by `heard`."""
        releases: list[Release] = []
        self._read(self._joiner.finish(), releases)
        if self._end is None and not self._finished:
            self._finished = True
            if self._inside is not None:
                self._take("inside", self._literals.finish(), releases)
                self._close_literal(self._inside, releases)
            self._add(releases, self._outside, self._outside.finish())
        return self._together(releases)

    def heard(self, detector: str, window: Window, findings: Sequence[Finding], status: Status = "ok") -> Release:
        """What a detector says to a window that this gate gave; once for each, in any order."""
        releases: list[Release] = []
        if self._end is None and isinstance(window, LiteralWindow):
            self._add(releases, window.gate, window.gate.heard(detector, window, findings, status))
        return self._together(releases)

    def pending(self) -> LiteralWindow | None:
        """As Gate: of the text that grows, a string literal or what is around them."""
        gate = self._outside if self._inside is None else self._inside.gate
        window = gate.pending() if self._goes_on() else None
        return None if window is None else LiteralWindow(window.start, window.end, window.text, gate)

    def warned(self, detector: str, window: Window, findings: Sequence[Finding]) -> Release:
        """What a detector finds in what `pending` gave: it may end the answer, and releases nothing."""
        releases: list[Release] = []
        if self._goes_on() and isinstance(window, LiteralWindow):
            self._add(releases, window.gate, window.gate.warned(detector, window, findings))
        return self._together(releases)

    def close(self) -> None:
        """The reader has gone."""
        self._outside.close()
        for part in self._parts:
            if isinstance(part, _Literal):
                part.gate.close()

    def _read(self, text: str, releases: list[Release]) -> None:
        for kind, piece in self._literals.read(text) if self._goes_on() else ():
            self._take(kind, piece, releases)
            if not self._goes_on():
                break

    def _take(self, kind: Kind, piece: str, releases: list[Release]) -> None:
        if self._inside is not None:
            if kind == "inside":
                self._add(releases, self._inside.gate, self._inside.gate.feed(piece))
                return
            if not self._close_literal(self._inside, releases):
                return
        self._parts.append(piece)
        self._add(releases, self._outside, self._outside.feed(piece))
        if kind == "opened":
            self._open("")

    def _open(self, before: str) -> None:
        self._inside = _Literal(self._gate(self._plans.literals, before=before))
        self._parts.append(self._inside)

    def _close_literal(self, literal: _Literal, releases: list[Release]) -> bool:
        """Whether the text goes on behind it."""
        self._inside = None
        literal.open = False
        self._add(releases, literal.gate, literal.gate.finish())
        return self._goes_on()

    def _goes_on(self) -> bool:
        return self._end is None

    def _add(self, releases: list[Release], gate: Gate, release: Release) -> None:
        """Take what one of the gates says."""
        self.most_held = max(self.most_held, gate.most_held)
        if gate is self._outside:
            # Nothing is masked there, so what is let out is as long as what came in.
            self._free += len(release.text)
        elif release.text:
            literal = next(part for part in self._parts if isinstance(part, _Literal) and part.gate is gate)
            literal.ready += orjson.dumps(release.text)[1:-1].decode()
        if release.windows:
            windows = tuple(LiteralWindow(each.start, each.end, each.text, gate) for each in release.windows)
            release = replace(release, windows=windows)
        if release.end is not None and self._end is None:
            self._end, self._ended = release.end, gate
        releases.append(release)

    def _together(self, releases: Sequence[Release]) -> Release:
        text = self._let_out()
        if self._end is not None:
            self.close()
        return Release(
            text,
            tuple(judged for release in releases for judged in release.judged),
            () if self._end is not None else tuple(window for release in releases for window in release.windows),
            tuple(failure for release in releases for failure in release.failures),
            self._end if releases else None,
        )

    def _let_out(self) -> str:
        """Everything up to the first character that is not clear, in the order of the text."""
        out: list[str] = []
        while self._parts:
            part = self._parts[0]
            if isinstance(part, _Literal):
                out.append(part.ready)
                part.ready = ""
                if part.open or part.gate is self._ended or not part.gate.done:
                    break
            else:
                out.append(part[: self._free])
                self._free -= len(out[-1])
                if len(out[-1]) < len(part):
                    self._parts[0] = part[len(out[-1]) :]
                    break
            self._parts.popleft()
        return "".join(out)
