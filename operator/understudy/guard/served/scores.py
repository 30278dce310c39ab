"""What a head of our own is asked and says: a process beside the gateway serves it, in one line each."""

from collections.abc import Mapping, Sequence

from understudy.guard.actions import Where
from understudy.guard.findings import Finding
from understudy.guard.served.codec import Question, UnreadableError, document, graded, members, of_whole, score
from understudy.guard.windows import Window


class Scores:
    """A head that knows `categories`; `least` is as for Moderations."""

    def __init__(self, detector: str, categories: frozenset[str], least: Mapping[str, float]) -> None:
        self._detector = detector
        self._categories = categories
        self._least = least

    def questions(self, window: Window, where: Where, before: str) -> tuple[Question, ...]:
        """As Codec."""
        del where, before
        return (Question("", {"text": window.text}),)

    def read(self, answers: Sequence[bytes], window: Window, where: Where) -> tuple[Finding, ...]:
        """As Codec."""
        del where
        said = members(document(answers[0]), "the answer")
        if said.keys() != self._categories:
            raise UnreadableError("scores of other categories than the head has")
        numbers = {category: score(value, category) for category, value in said.items()}
        return tuple(
            of_whole(window, self._detector, category, category, graded(number), number)
            for category, number in sorted(numbers.items())
            if number >= self._least.get(category, 2.0)
        )
