"""A text that goes on with another: looked at as it goes on, and by itself.

Who shows what came before it reads both as one text; who does not reads the rest alone, and to them it must be clear as
well. Else whoever asks could choose a beginning behind which nothing is a word, or a number, any more.
"""

from understudy.guard.detectors import Detector
from understudy.guard.findings import Finding, Step


class Continued:
    """One text that goes on with `before`, in one detector's eyes: a Session. Its positions count `before`, too."""

    __slots__ = ("_alone", "_begin", "_joined")

    def __init__(self, detector: Detector, before: str) -> None:
        self._begin = len(before)
        self._joined = detector.open()
        self._joined.feed(before)
        self._alone = detector.open()

    def feed(self, text: str) -> Step:
        """The next piece."""
        return self._both(self._joined.feed(text), self._alone.feed(text))

    def finish(self) -> Step:
        """There is no more."""
        return self._both(self._joined.finish(), self._alone.finish())

    def close(self) -> None:
        """The rest does not matter any more."""
        self._joined.close()
        self._alone.close()

    def _both(self, joined: Step, alone: Step) -> Step:
        """What both say. What both find is found once: where it ends they agree, wherever it began."""
        status = alone.status if joined.status == "ok" else joined.status
        safe = min(joined.safe_upto, self._begin + alone.safe_upto)
        if status != "ok":
            return Step(safe, status=status)
        known = {(each.detector, each.name, each.end) for each in joined.findings}
        more = [each for each in map(self._moved, alone.findings) if (each.detector, each.name, each.end) not in known]
        findings = joined.findings
        if more:
            findings = tuple(sorted((*findings, *more), key=lambda each: (each.decided, each.start, each.end)))
        return Step(safe, findings)

    def _moved(self, finding: Finding) -> Finding:
        by = self._begin
        return Finding(
            finding.detector,
            finding.name,
            finding.category,
            finding.severity,
            finding.score,
            finding.start + by,
            finding.end + by,
            finding.decided + by,
            finding.clear + by,
        )
