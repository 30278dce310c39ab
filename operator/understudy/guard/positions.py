"""An expression as the characters that it consists of, and what may follow what (Glushkov's construction).

Endless repetition is refused before, so these are graphs without circles: no position is more than a known number of
characters away from the beginning of a match.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from understudy.guard.charset import CharSet
from understudy.guard.expression import Chars, Choice, ExpressionError, Node, Sequence

MAX_WAYS: Final = 65_536
"""From one position to the next, all together. A hundred parts in a row that may be left out have 5,000."""
# Different characters of texts whose positions are kept.
_MAX_CHARS: Final = 1024


def count(node: Node) -> int:
    """How many positions `node` has. Every repetition must have an end."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Sequence):
        return sum(map(count, node.parts))
    if isinstance(node, Choice):
        return sum(map(count, node.options))
    return count(node.node) * node.most


@dataclass(slots=True)
class Positions:
    """Positions are numbered from 0; each comes after all that it may follow."""

    chars: list[CharSet] = field(default_factory=list)
    follow: list[list[int]] = field(default_factory=list)
    lead: list[list[int]] = field(default_factory=list)
    """What each may follow: `follow`, read backwards."""
    firsts: list[int] = field(default_factory=list)
    lasts: frozenset[int] = frozenset()
    # What is asked of each match, as bits: a text can have a match of hundreds of positions at each character.
    _sets: dict[CharSet, int] = field(default_factory=dict)
    _firsts: int = 0
    _lasts: int = 0
    # Those that follow the one numbered before them alone, as nearly all of a long repetition do; what the others do.
    _chained: int = 0
    _leads: dict[int, int] = field(default_factory=dict)
    _at: dict[str, int] = field(default_factory=dict)

    def prepare(self) -> None:
        """All that follows from `chars`, `lead`, `firsts` and `lasts`."""
        for position, chars in enumerate(self.chars):
            self._sets[chars] = self._sets.get(chars, 0) | 1 << position
        self._firsts, self._lasts = _bits(self.firsts), _bits(self.lasts)
        for position, lead in enumerate(self.lead):
            if lead == [position - 1]:
                self._chained |= 1 << position
            elif lead:
                self._leads[1 << position] = _bits(lead)

    def starts(self, text: str, end: int) -> list[int]:
        """Every index of `text` at which a match begins that ends before index `end`; rising."""
        found, at, wanted = [], end, self._lasts
        while wanted and at:
            at -= 1
            here = wanted & self._having(text[at])
            if here & self._firsts:
                found.append(at)
            wanted = (here & self._chained) >> 1
            others = here & ~self._chained
            while others:
                position = others & -others
                wanted |= self._leads.get(position, 0)
                others ^= position
        return found[::-1]

    def _having(self, char: str) -> int:
        """The positions that have this character."""
        known = self._at.get(char)
        if known is None:
            if len(self._at) >= _MAX_CHARS:
                self._at.clear()
            known = self._at[char] = sum(bits for chars, bits in self._sets.items() if char in chars)
        return known

    def ends(self, text: str, after: int) -> list[int]:
        """Every index before which some match ends, of those greater than `after`; rising."""
        found: list[int] = []
        open_: set[int] = set()
        for at, char in enumerate(text, 1):
            wanted = open_.union(self.firsts)
            here = {position for position in wanted if char in self.chars[position]}
            if at > after and not self.lasts.isdisjoint(here):
                found.append(at)
            open_ = {follower for position in here for follower in self.follow[position]}
        return found


NO_POSITIONS: Final = Positions()
"""Those of literals, one for all: the collector of garbage stops all streams for as long as there are objects."""


def positions(node: Node) -> Positions:
    """The positions of an expression that does not match nothing at all, and has no endless repetition.

    Raises ExpressionError.
    """
    made = Positions()
    whole = _Builder(made).build(node)
    made.firsts, made.lasts = whole.firsts, frozenset(whole.lasts)
    made.lead = [[] for _ in made.chars]
    for before, after in enumerate(made.follow):
        for position in after:
            made.lead[position].append(before)
    made.prepare()
    return made


def _bits(numbers: Iterable[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


@dataclass(frozen=True, slots=True)
class _Part:
    """Where a part begins and ends, and whether it may be left out."""

    firsts: list[int]
    lasts: list[int]
    optional: bool


_NOTHING = _Part([], [], optional=True)


class _Builder:
    def __init__(self, made: Positions) -> None:
        self.made = made
        self.ways = 0

    def build(self, node: Node) -> _Part:
        if isinstance(node, Chars):
            self.made.chars.append(node.chars)
            self.made.follow.append([])
            position = [len(self.made.chars) - 1]
            return _Part(position, position, optional=False)
        if isinstance(node, Sequence):
            whole = _NOTHING
            for part in node.parts:
                whole = self._then(whole, self.build(part))
            return whole
        if isinstance(node, Choice):
            options = [self.build(option) for option in node.options]
            return _Part(
                [first for option in options for first in option.firsts],
                [last for option in options for last in option.lasts],
                any(option.optional for option in options),
            )
        return self._repeat(node.node, node.least, node.most)

    def _then(self, before: _Part, after: _Part) -> _Part:
        self._link(before.lasts, after.firsts)
        return _Part(
            before.firsts + after.firsts if before.optional else before.firsts,
            before.lasts + after.lasts if after.optional else after.lasts,
            before.optional and after.optional,
        )

    def _repeat(self, node: Node, least: int, most: int) -> _Part:
        """Each time follows only the time before: a{0,3} is (a(a(a)?)?)?, which has few ways to go."""
        firsts: list[int] = []
        lasts: list[int] = []
        before: list[int] = []
        optional = least == 0
        for time in range(1, most + 1):
            part = self.build(node)
            optional = optional or part.optional
            self._link(before, part.firsts)
            if time == 1:
                firsts = part.firsts
            before = part.lasts
            if optional or time >= least:
                lasts += part.lasts
        return _Part(firsts, lasts, optional)

    def _link(self, lasts: list[int], firsts: list[int]) -> None:
        self.ways += len(lasts) * len(firsts)
        if self.ways > MAX_WAYS:
            raise ExpressionError(
                f"more than {MAX_WAYS} ways from one character to the next: write fewer parts that may be left out, or "
                "several patterns"
            )
        for last in lasts:
            self.made.follow[last] += firsts
