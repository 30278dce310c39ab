"""Pieces of text that make sense by themselves: sentences, or two hundred characters.

Where a window ends depends on the text alone, so a detector is asked the same however the text was cut.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_CHARS: Final = 200
"""A window has no more characters."""
# A full stop, what closes around it, and white space after it; ideographic ones need none; or the end of a line.
_END: Final = re.compile(r"[.!?…؟।][.!?…\"'”’»)\]]*\s|[。！？][」』”’）]*(?=[^」』”’）])|\n")  # noqa: RUF001 - full stops of many scripts


@dataclass(frozen=True, slots=True)
class Window:
    """One piece; positions are code points of the whole text."""

    start: int
    end: int
    text: str

    def grown(self, before: "Window") -> bool:
        """Whether it is `before` with more of its text."""
        return self.start == before.start and self.end > before.end


class Windows:
    """Cuts one text, which begins at position `start`."""

    __slots__ = ("_open", "_start")

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._open = ""

    def feed(self, text: str) -> list[Window]:
        """The windows that these characters complete."""
        self._open += text
        done: list[Window] = []
        at = 0
        while (length := self._length(at)) is not None:
            done.append(self._cut(at, length))
            at += length
        self._open = self._open[at:]
        return done

    def finish(self) -> list[Window]:
        """What is left, if anything."""
        last, self._open = self._open, ""
        return [Window(self._start, self._start + len(last), last)] if last else []

    def unfinished(self) -> Window | None:
        """What has come of the next window; None if nothing has."""
        return Window(self._start, self._start + len(self._open), self._open) if self._open else None

    def _length(self, at: int) -> int | None:
        """Characters of the next window, which begins at index `at`; None while it may go on."""
        # One more than a window has: whether a sentence ends there may depend on it.
        match = _END.search(self._open, at, at + MAX_CHARS + 1)
        if match is not None and match.end() <= at + MAX_CHARS:
            return match.end() - at
        return MAX_CHARS if len(self._open) > at + MAX_CHARS else None

    def _cut(self, at: int, length: int) -> Window:
        window = Window(self._start, self._start + length, self._open[at : at + length])
        self._start += length
        return window
