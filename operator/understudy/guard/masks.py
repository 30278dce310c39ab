"""What is taken out of a text, and what stands in its place: the category, which tells nothing of what was there."""

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


class Masks:
    """The spans of one text that are not let out yet. Those that overlap become one, with the first one's mask."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, start: int, end: int, mask: str) -> None:
        """Take out from `start` to before `end`."""
        new = Span(start, -end, mask)
        beside: list[Span] = []
        for span in self._spans:
            if span.end <= new.start or new.end <= span.start:
                beside.append(span)
            else:
                first = min(span, new)
                new = Span(first.start, -max(span.end, new.end), first.mask)
        self._spans = sorted([*beside, new])

    def before(self, upto: int) -> int:
        """`upto`, or the beginning of the span that it would cut."""
        return next((span.start for span in self._spans if span.start < upto < span.end), upto)

    def apply(self, text: str, start: int) -> str:
        """`text`, which begins at `start` and cuts no span, without its spans; these are done with."""
        end = start + len(text)
        if not self._spans or self._spans[0].start >= end:
            return text
        parts, at = [], start
        while self._spans and self._spans[0].start < end:
            span = self._spans.pop(0)
            parts += [text[at - start : span.start - start], span.mask]
            at = span.end
        parts.append(text[at - start :])
        return "".join(parts)
