"""The detector API of the FMS orchestrator and TrustyAI: findings with their place in the text, and a score."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from understudy.guard.actions import Where
from understudy.guard.findings import Finding
from understudy.guard.served.codec import (
    Question,
    UnreadableError,
    document,
    graded,
    members,
    score,
    single,
    slug,
)
from understudy.guard.windows import Window

PATH: Final = "/api/v1/text/contents"


class Fms:
    """A detector of contents. `name` is its id for those that serve several; `params` go with each question.

    `least` is as for Moderations. What is found is called after its `detection_type`, or after its `detection` where
    rules speak of that.
    """

    def __init__(self, detector: str, name: str, params: Mapping[str, Any], least: Mapping[str, float]) -> None:
        self._detector = detector
        self._fields = {"detector-id": name}
        self._params = params
        self._least = least

    def questions(self, window: Window, where: Where, before: str) -> tuple[Question, ...]:
        """As Codec."""
        del where, before
        return (Question(PATH, {"contents": [window.text], "detector_params": self._params}, self._fields),)

    def read(self, answers: Sequence[bytes], window: Window, where: Where) -> tuple[Finding, ...]:
        """As Codec."""
        del where
        listed = single(document(answers[0]), "the answer")
        if not isinstance(listed, list):
            raise UnreadableError("the answer's one entry is no list")
        return tuple(finding for entry in listed for finding in self._finding(members(entry, "a detection"), window))

    def _finding(self, entry: Mapping[str, Any], window: Window) -> list[Finding]:
        number = score(entry.get("score"), "score")
        start, end = entry.get("start"), entry.get("end")
        if not _is_position(start) or not _is_position(end) or not 0 <= start < end <= len(window.text):
            raise UnreadableError("start and end are no piece of the text")
        # Whoever counts in bytes or halves of code points would have the wrong words masked.
        if entry.get("text", window.text[start:end]) != window.text[start:end]:
            raise UnreadableError("its text is not what stands from start to end: positions count code points")
        kind, name = entry.get("detection_type"), entry.get("detection")
        if not isinstance(kind, str) or not isinstance(name, str):
            raise UnreadableError("detection and detection_type are no texts")
        category = slug(name) if slug(name) in self._least else slug(kind)
        least = self._least.get(category)
        if least is None or number < least:
            return []
        where = (window.start + start, window.start + end, window.end, window.start)
        return [Finding(self._detector, name[:128], category, graded(number), number, *where)]


def _is_position(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
