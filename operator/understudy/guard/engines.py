"""What an engine of tier 0 does: it says where in a view something that is looked for ends."""

from collections.abc import Callable, Sequence
from typing import Protocol

from understudy.guard.needles import Needle


class EngineError(Exception):
    """An engine has failed in the middle of a stream: what it would have said about the text is unknown."""


class UnusableError(Exception):
    """An engine cannot be had here, whatever it is to look for, or could not be made ready: why, in a sentence."""


class Matcher(Protocol):
    """One stream in one view."""

    def scan(self, chars: str) -> list[tuple[int, int]]:
        """The number of the needle and the end of each match that ends within these next characters of the view.

        Ends count characters of the view from the beginning of the stream. Overlapping matches are all found; each
        pair comes once, in the order of ends and numbers. Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Free what the stream holds outside of Python. Nothing is answered afterwards."""
        ...


class Engine(Protocol):
    """All needles of one view. Shared by the streams of one thread."""

    def open(self) -> Matcher:
        """A stream from its beginning."""
        ...


MakeEngine = Callable[[Sequence[Needle]], Engine]
"""Builds an engine for at least one needle."""
