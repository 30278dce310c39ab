"""What a detector is to those who ask it.

One that judges in the stream (tier 0: patterns, pii, lexicon, all in one `scan.Scanner`) is fed with the text; one that
needs context (tier 1) is asked about windows of it (`windows.py`), and its answers come later.
"""

from typing import Protocol

from understudy.guard.findings import Step


class Session(Protocol):
    """One text, in one detector's eyes. The same findings however it is cut into whole code points."""

    def feed(self, text: str) -> Step:
        """The next piece."""
        ...

    def finish(self) -> Step:
        """There is no more. Everything is clear, or the detector has failed. Closes it, too."""
        ...

    def close(self) -> None:
        """The rest does not matter any more. What is fed afterwards is not judged: that is an error, never ok."""
        ...


class Detector(Protocol):
    """Shared by the texts of one thread."""

    def open(self) -> Session:
        """A text from its beginning."""
        ...
