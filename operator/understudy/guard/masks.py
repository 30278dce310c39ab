"""What is taken out of a text, and what stands in its place: the category, which tells nothing of what was there."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece to take out; positions are code points of the whole text."""

    start: int
    negative_end: int
    """The end, negative: of two that begin together the longer comes first."""
    mask: str

    @property
    def end(self) -> int:
        """The first position that stays."""
        return -self.negative_end


def _start(span: Span) -> int:
    return span.start


def _end(span: Span) -> int:
    return span.end


class Masks:
    """The spans of one text that are not let out yet. Those that overlap become one, with the first one's mask."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, start: int, end: int, mask: str) -> None:
        """Take out from `start` to before `end`."""
        new = Span(start, -end, mask)
        # None overlaps another, so their ends are in order, too; mostly the new one is the last.
        low = bisect_right(self._spans, new.start, key=_end)
        high = bisect_left(self._spans, new.end, lo=low, key=_start)
        for span in self._spans[low:high]:
            first = min(span, new)
            new = Span(first.start, -max(span.end, new.end), first.mask)
        self._spans[low:high] = [new]

    def before(self, upto: int) -> int:
        """`upto`, or the beginning of the span that it would cut."""
        at = bisect_left(self._spans, upto, key=_start)
        if at == 0 or self._spans[at - 1].end <= upto:
            return upto
        return self._spans[at - 1].start

    def apply(self, text: str, start: int) -> str:
        """`text`, which begins at `start` and cuts no span, without its spans; these are done with."""
        end = start + len(text)
        if not self._spans or self._spans[0].start >= end:
            return text
        parts, at = [], start
        done = bisect_left(self._spans, end, key=_start)
        for span in self._spans[:done]:
            parts += [text[at - start : span.start - start], span.mask]
            at = span.end
        del self._spans[:done]
        parts.append(text[at - start :])
        return "".join(parts)
