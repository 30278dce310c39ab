"""Regular expressions of Guardrails: a dialect of RE2 small enough to know all about each of them.

What is read here becomes positions (`positions.py`) and goes to the engines in one spelling, so that all of them mean
the same by it. What could not be found in a stream by holding back a bounded number of characters is refused with what
to write instead: endless repetition, anchors, anything that looks around.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from understudy.guard import charset
from understudy.guard.charset import CharSet
from understudy.guard.views import PLAIN, fold

MAX_DEPTH: Final = 32
"""Groups within groups; deeper ones are no pattern that somebody wrote."""
# Large enough for all ideographs of a block; each character of a class is folded by itself, or 256 of them at once.
_MAX_RANGE: Final = 32_768
_BLOCK: Final = 256
# Of all ranges together, those that are folded by themselves: at most two blocks of each range.
_MAX_FOLDED: Final = 65_536


ENDLESS: Final = 1 << 40
"""As a number of repetitions or characters: without end."""
# What RE2 takes.
_MAX_REPEATS: Final = 1000


class ExpressionError(Exception):
    """What is wrong with an expression, where, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One of these characters."""

    chars: CharSet


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """So many times, or up to ENDLESS."""

    node: "Node"
    least: int
    most: int


Node = Chars | Sequence | Choice | Repeat


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, and whether a word may go on before or after what it finds."""

    node: Node
    starts_word: bool
    ends_word: bool


def widths(node: Node) -> tuple[int, int]:
    """The least and the greatest number of characters that a match has, the latter ENDLESS at most."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Sequence):
        parts = [widths(part) for part in node.parts]
        return sum(low for low, _ in parts), min(ENDLESS, sum(high for _, high in parts))
    if isinstance(node, Choice):
        options = [widths(option) for option in node.options]
        return min(low for low, _ in options), max(high for _, high in options)
    low, high = widths(node.node)
    return low * node.least, min(ENDLESS, high * node.most)


def spelled(node: Node) -> str:
    """As hyperscan and RE2 read it."""
    if isinstance(node, Chars):
        return node.chars.expression()
    if isinstance(node, Sequence):
        return "".join(spelled(part) for part in node.parts)
    if isinstance(node, Choice):
        return "(?:" + "|".join(spelled(option) for option in node.options) + ")"
    most = "" if node.most == ENDLESS else str(node.most)
    return f"(?:{spelled(node.node)}){{{node.least},{most}}}"


def parse(source: str) -> Expression:
    """What `source` says, in the PLAIN view: small letters, no marks.

    Raises ExpressionError.
    """
    begins = source.startswith(r"\b")
    ends = source.endswith(r"\b") and not source.endswith(r"\\b") and len(source) > 2
    reader = _Reader(source, 2 if begins else 0, len(source) - 2 if ends else len(source))
    node = reader.choice(0)
    if reader.more():
        raise reader.wrong("nothing is open that `)` could close: write \\) for the character")
    # Elsewhere it binds to the first or the last of them alone, and here it would to all.
    if (begins or ends) and reader.split:
        raise reader.wrong("`\\b` beside alternatives: write (?:…|…) around them, or several patterns")
    return Expression(node, begins, ends)


def _ranges(*pairs: str) -> CharSet:
    return charset.of((ord(pair[0]), ord(pair[-1])) for pair in pairs)


_DIGITS: Final = _ranges("09")
_WORD: Final = _ranges("09", "az", "_")
_SPACE: Final = _ranges("\t\n", "\f\r", " ")
_ANY: Final = _ranges("\n").inverted()
_CLASSES: Final = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _SPACE,
    "D": _DIGITS.inverted(),
    "W": _WORD.inverted(),
    "S": _SPACE.inverted(),
}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_NEEDS_NOTHING: Final = "`\\b` goes at the very beginning or the very end of a pattern"
_REFUSED: Final[dict[str, str]] = {
    "^": "a stream has no lines to begin: leave out `^`, or write \\^ for the character",
    "$": "a stream has no lines to end: leave out `$`, or write \\$ for the character",
}


class _Reader:
    """Reads `source` from `at` on, up to `end`."""

    def __init__(self, source: str, at: int, end: int) -> None:
        self.source = source
        self.at = at
        self.end = end
        # Whether there are alternatives outside of all groups.
        self.split = False
        # Characters of classes that had to be folded.
        self.folded = 0

    def more(self) -> bool:
        return self.at < self.end

    def peek(self) -> str:
        return self.source[self.at] if self.more() else ""

    def take(self) -> str:
        if not self.more():
            raise self.wrong("it ends too early")
        self.at += 1
        return self.source[self.at - 1]

    def skip(self, text: str) -> bool:
        found = self.source.startswith(text, self.at, self.end)
        self.at += len(text) if found else 0
        return found

    def wrong(self, message: str) -> ExpressionError:
        return ExpressionError(f"at character {self.at + 1} of {self.source!r}: {message}")

    def choice(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.wrong(f"more than {MAX_DEPTH} groups within each other: write fewer")
        options = [self._sequence(depth)]
        while self.skip("|"):
            self.split = self.split or depth == 0
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.more() and self.peek() not in "|)":
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        # Which of several lengths is found first means nothing here: each is found.
        self.skip("?")
        if self.peek() in ("*", "+", "?") or self._counted():
            raise self.wrong("a repetition of a repetition: write (?:…) around the first")
        # It has no width, however often, and so no bound below would stop it.
        if widths(node)[1] == 0:
            raise self.wrong("a repetition of nothing: leave out the empty group")
        return Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int] | None:
        for sign, bounds in (("*", (0, ENDLESS)), ("+", (1, ENDLESS)), ("?", (0, 1))):
            if self.skip(sign):
                return bounds
        counted = self._counted()
        if counted is None:
            return None
        least, most, length = counted
        if least > most:
            raise self.wrong(f"{{{least},{most}}} has its bounds the wrong way round: write {{{most},{least}}}")
        if most == 0 or max(least, most if most != ENDLESS else 0) > _MAX_REPEATS:
            raise self.wrong(f"a repetition goes from once to {_MAX_REPEATS} times: write bounds within")
        self.at += length
        return least, most

    def _counted(self) -> tuple[int, int, int] | None:
        """{3}, {3,} and {3,5} with their lengths; any other brace is a character, as in RE2."""
        close = self.source.find("}", self.at, self.end)
        if self.peek() != "{" or close < 0:
            return None
        least, comma, most = self.source[self.at + 1 : close].partition(",")
        if not _is_number(least) or (most and not _is_number(most)):
            return None
        greatest = int(least) if not comma else int(most) if most else ENDLESS
        return int(least), greatest, close + 1 - self.at

    def _atom(self, depth: int) -> Node:
        char = self.peek()
        if char in _REFUSED:
            raise self.wrong(_REFUSED[char])
        if char in "*+?":
            raise self.wrong(f"nothing before `{char}` to repeat: write \\{char} for the character")
        if self.skip("("):
            return self._group(depth)
        if self.skip("["):
            return Chars(self._class())
        if self.skip("."):
            return Chars(_ANY)
        if self.skip("\\"):
            return self._escape()
        return self._literal(self.take())

    def _group(self, depth: int) -> Node:
        if self.peek() == "?" and not self.skip("?:"):
            raise self.wrong("only (…) and (?:…) can be groups: nothing may look around, and capitals never matter")
        node = self.choice(depth + 1)
        if not self.skip(")"):
            raise self.wrong("a group is not closed: write `)`")
        return node

    def _escape(self) -> Node:
        char = self.take()
        if char in _CLASSES:
            return Chars(_CLASSES[char])
        return self._literal(self._character(char))

    def _character(self, char: str) -> str:
        """The character that is meant by this one after a backslash."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x":
            return self._numbered()
        if char == "b":
            raise self.wrong(_NEEDS_NOTHING)
        if char.isascii() and char.isalnum():
            raise self.wrong(
                f"`\\{char}` means nothing here: write the characters themselves, or \\d, \\w, \\s, \\x{{…}}"
            )
        return char

    def _numbered(self) -> str:
        if self.skip("{"):
            close = self.source.find("}", self.at, self.end)
            digits = self.source[self.at : max(close, self.at)]
            self.at += len(digits) + 1
        else:
            digits = self.take() + self.take()
        if not digits or len(digits) > 6 or not _HEX.issuperset(digits) or int(digits, 16) > 0x10FFFF:
            raise self.wrong("`\\x` needs the number of a character: write \\x41 or \\x{1F600}")
        return chr(int(digits, 16))

    def _literal(self, char: str) -> Node:
        folded = fold(char, PLAIN)
        if not folded:
            raise self.wrong(f"{char!r} cannot be seen and is never looked at: leave it out")
        parts = tuple(Chars(charset.one(each)) for each in folded)
        return parts[0] if len(parts) == 1 else Sequence(parts)

    def _class(self) -> CharSet:
        inverted = self.skip("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            ranges += self._member()
        self.skip("]")
        found = charset.of(ranges)
        found = found.inverted() if inverted else found
        if not found.ranges:
            raise self.wrong(
                "a class without any character that can be seen and is read as one (syllables of Hangul are read as "
                "several): name some, or write (?:…|…)"
            )
        return found

    def _member(self) -> list[tuple[int, int]]:
        low = self._class_character()
        if isinstance(low, CharSet):
            return list(low.ranges)
        if self.peek() != "-" or self.source.startswith("-]", self.at):
            return self._single(low)
        self.skip("-")
        high = self._class_character()
        if isinstance(high, CharSet) or high < low:
            raise self.wrong(
                "a range of a class goes from a character to a later one: write [a-z], or \\- for the sign"
            )
        length = ord(high) - ord(low)
        if length > _MAX_RANGE:
            raise self.wrong(f"a range of more than {_MAX_RANGE} characters: write [^…] with those that are not meant")
        self.folded += min(length, 2 * _BLOCK)
        if self.folded > _MAX_FOLDED:
            raise self.wrong("too many ranges of a class: write fewer, or several patterns")
        return _folded(ord(low), ord(high))

    def _class_character(self) -> str | CharSet:
        if self.skip("[:"):
            raise self.wrong("classes by name are not known: write a-z, 0-9, \\d, \\w or \\s, and \\[ for the sign")
        char = self.take()
        if char != "\\":
            return char
        char = self.take()
        return _CLASSES[char] if char in _CLASSES else self._character(char)

    def _single(self, char: str) -> list[tuple[int, int]]:
        folded = fold(char, PLAIN)
        if len(folded) != 1:
            read = f"is read as {folded!r}: write it as (?:…|{folded})" if folded else "cannot be seen: leave it out"
            raise self.wrong(f"{char!r} in a class {read}")
        return [(ord(folded), ord(folded))]


def _folded(low: int, high: int) -> list[tuple[int, int]]:
    """The characters of a range as they are read. Those that become several can be no member of a class."""
    ranges: list[tuple[int, int]] = []
    while low <= high:
        last = min(high, low | _BLOCK - 1)
        ranges += _folded_block(low // _BLOCK) if last - low == _BLOCK - 1 else _folded_each(low, last)
        low = last + 1
    return ranges


@lru_cache(maxsize=4352)  # all that there are
def _folded_block(number: int) -> tuple[tuple[int, int], ...]:
    return _folded_each(number * _BLOCK, (number + 1) * _BLOCK - 1)


def _folded_each(low: int, high: int) -> tuple[tuple[int, int], ...]:
    read = (fold(chr(point), PLAIN) for point in range(low, high + 1))
    return charset.of((ord(folded), ord(folded)) for folded in read if len(folded) == 1).ranges


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
