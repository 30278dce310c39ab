"""Matching where hyperscan does not run: Aho-Corasick for literals, RE2 for expressions, over the end of the stream.

It looks again at as many characters as the widest pattern has, so its work per character grows with that width and
with the smallness of the pieces. It says exactly what hyperscan says, which makes it a second opinion in tests.
"""

from collections.abc import Sequence

import ahocorasick_rs
import re2

from understudy.guard.engines import EngineError
from understudy.guard.needles import Needle, PatternError


class PortableEngine:
    """All needles of one view. For one thread."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self.needles = needles
        self.width = max(needle.width for needle in needles)
        self._literals = [number for number, needle in enumerate(needles) if needle.chars]
        self._expressions = [number for number, needle in enumerate(needles) if not needle.chars]
        self._words = ahocorasick_rs.AhoCorasick([needles[number].shape for number in self._literals])
        self._set = _expression_set([needles[number] for number in self._expressions])

    def open(self) -> "PortableMatcher":
        """A stream from its beginning."""
        return PortableMatcher(self)

    def ends(self, text: str, after: int) -> list[tuple[int, int]]:
        """Each match of `text` that ends after index `after`: its end and the number of its needle; sorted."""
        found = {
            (end, self._literals[at])
            for at, _, end in self._words.find_matches_as_indexes(text, overlapping=True)
            if end > after
        }
        # RE2 says which expressions match at all, in one pass; where their matches end is then worth a slow look.
        for at in (self._set.Match(text) or ()) if self._set is not None else ():
            positions = self.needles[self._expressions[at]].positions
            found.update((end, self._expressions[at]) for end in positions.ends(text, after))
        return sorted(found)


class PortableMatcher:
    """One stream in one view."""

    __slots__ = ("_engine", "_open", "_seen", "_tail")

    def __init__(self, engine: PortableEngine) -> None:
        self._engine = engine
        self._tail = ""
        self._seen = 0
        self._open = True

    def scan(self, chars: str) -> list[tuple[int, int]]:
        """All ends within these characters."""
        if not self._open:
            raise EngineError("RE2 was asked about a stream that was closed")
        tail = self._tail
        text = tail + chars
        before = self._seen - len(tail)
        self._seen += len(chars)
        self._tail = text[max(0, len(text) - self._engine.width + 1) :]
        try:
            return [(number, before + end) for end, number in self._engine.ends(text, len(tail))]
        except re2.error as error:
            raise EngineError(f"RE2 ended a scan: {error}") from error

    def close(self) -> None:
        """Nothing lies outside of Python."""
        self._open = False


def _expression_set(needles: Sequence[Needle]) -> "re2.Set | None":
    if not needles:
        return None
    made = re2.Set.SearchSet()
    for needle in needles:
        try:
            made.Add(needle.expression)
        except re2.error as error:
            name = needle.pattern.name
            raise PatternError(f"pattern {name!r}: RE2 does not take it ({error}): write it simpler") from error
    try:
        made.Compile()
    except re2.error as error:
        raise PatternError(
            f"RE2 does not take these {len(needles)} patterns together ({error}): write smaller bounds, or fewer"
        ) from error
    return made
