"""Sets of characters, as patterns name them."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)


@dataclass(frozen=True, slots=True)
class CharSet:
    """Characters by ranges of code points, both ends included, in order, with gaps between."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, char: str) -> bool:
        at = bisect_right(self.ranges, (ord(char), _LAST)) - 1
        return at >= 0 and ord(char) <= self.ranges[at][1]

    def inverted(self) -> "CharSet":
        """All other characters. Halves of surrogate pairs are none."""
        gaps: list[tuple[int, int]] = []
        after = 0
        for first, last in (*self.ranges, (_LAST + 1, _LAST + 1)):
            gaps += _without_surrogates(after, first - 1)
            after = last + 1
        return CharSet(tuple(gaps))

    def expression(self) -> str:
        """As the engines read it."""
        return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in self.ranges) + "]"


def of(ranges: Iterable[tuple[int, int]]) -> CharSet:
    """The characters of all these ranges."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return CharSet(tuple(merged))


def one(char: str) -> CharSet:
    """The set of one character."""
    return CharSet(((ord(char), ord(char)),))


def _without_surrogates(first: int, last: int) -> list[tuple[int, int]]:
    low, high = _SURROGATES
    parts = ((first, min(last, low - 1)), (max(first, high + 1), last))
    return [part for part in parts if part[0] <= part[1]]
