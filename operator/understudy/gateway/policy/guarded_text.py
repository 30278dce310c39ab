"""An answer that is one text: what tokens spell (`/detokenize`), or why there is no answer. It has a gate as well."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from understudy.gateway.policy.verdicts import Passage, Question, Verdicts, cut
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import Release


class GuardedText:
    """That of one answer. `withheld`: nothing of it may be seen."""

    FIELD: ClassVar = "prompt"
    """The member that holds it."""

    __slots__ = ("_passage", "_spoke", "_stopped", "verdicts", "withheld")

    def __init__(self, verdicts: Verdicts) -> None:
        self.verdicts = verdicts
        self.withheld = False
        self._passage: Passage | None = None
        self._spoke = self._stopped = False

    @property
    def done(self) -> bool:
        """Whether nothing more will come out."""
        return self._stopped or (self._passage is not None and self._passage.gate.done)

    def pieces(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The text in pieces, and its end."""
        for piece in cut(answer.get(self.FIELD)):
            yield {self.FIELD: piece}
        yield {}

    def piece(self, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one of them."""
        if self._stopped:
            return []
        passage = self._passage = self._passage or self.verdicts.open_side(self.FIELD, 0)
        return self._take(passage, passage.feed(piece[self.FIELD]) if piece else passage.gate.finish())

    def heard(
        self, question: Question, detector: str, findings: Sequence[Finding], status: Status
    ) -> list[dict[str, Any]]:
        """What goes out once a detector has spoken."""
        return self._take(question.passage, question.heard(detector, findings, status))

    def together(self, answer: dict[str, Any], out: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole answer that these pieces are of, which came out for it."""
        told = self.verdicts.tell()
        if not self.verdicts.enforces:
            return {**answer, **told}
        return {self.FIELD: "".join(piece[self.FIELD] for piece in out), **told}

    def _take(self, passage: Passage, release: Release) -> list[dict[str, Any]]:
        before = len(self.verdicts.found)
        text = self.verdicts.take(passage, release)
        end = release.end
        if end is not None:
            text += self.verdicts.instead(end, self.verdicts.found[before:])
        self._spoke = self._spoke or bool(text)
        if end is not None:
            self._stopped = True
            self.withheld = end.why == "blocked" and not self._spoke
        return [{self.FIELD: text}] if text else []
