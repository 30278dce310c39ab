"""The moderations API of OpenAI, as several servers speak it: a score and a flag for each category."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from understudy.guard.actions import Where
from understudy.guard.findings import Finding
from understudy.guard.served.codec import (
    Question,
    UnreadableError,
    document,
    graded,
    members,
    of_whole,
    score,
    single,
    slug,
)
from understudy.guard.windows import Window

PATH: Final = "/v1/moderations"
CATEGORIES: Final[Mapping[str, str]] = {
    "harassment": "harassment",
    "harassment/threatening": "harassment",
    "hate": "hate",
    "hate/threatening": "hate",
    "illicit": "illicit",
    "illicit/violent": "illicit",
    "self-harm": "self_harm",
    "self-harm/instructions": "self_harm",
    "self-harm/intent": "self_harm",
    "sexual": "sexual",
    "sexual/minors": "sexual_minors",
    "violence": "violence",
    "violence/graphic": "violence",
}
"""By its word, the category of our rules. A word that is not here is a category by itself: `new/word` is new_word."""


class Moderations:
    """`least`: the categories that rules speak of, and the least score of each that any of them wants to see."""

    def __init__(self, detector: str, least: Mapping[str, float]) -> None:
        self._detector = detector
        self._least = least
        self._needed = set(least) & set(CATEGORIES.values())

    def questions(self, window: Window, where: Where, before: str) -> tuple[Question, ...]:
        """As Codec."""
        del where, before
        return (Question(PATH, {"input": window.text}),)

    def read(self, answers: Sequence[bytes], window: Window, where: Where) -> tuple[Finding, ...]:
        """As Codec. Who leaves out a category that a rule speaks of has not answered."""
        del where
        answer = members(document(answers[0]), "the answer")
        result = members(single(answer.get("results"), "results"), "results[0]")
        flags = members(result.get("categories"), "categories")
        scores = members(result.get("category_scores"), "category_scores")
        if flags.keys() != scores.keys():
            raise UnreadableError("categories and category_scores speak of different ones")
        findings = [
            finding
            for word, value in scores.items()
            # An older model says null of what it does not know.
            if value is not None
            for finding in self._finding(window, word, value, flags[word])
        ]
        told = {CATEGORIES.get(word) for word, value in scores.items() if value is not None}
        if missing := sorted(self._needed - told):
            raise UnreadableError(f"nothing is said of {', '.join(missing)}")
        if result.get("flagged") is not any(flag is True for flag in flags.values()):
            raise UnreadableError("flagged is not what categories say")
        return tuple(findings)

    def _finding(self, window: Window, word: str, value: Any, flag: Any) -> list[Finding]:
        number = score(value, f"category_scores[{word[:64]!r}]")
        if not isinstance(flag, bool):
            raise UnreadableError(f"categories[{word[:64]!r}] is neither true nor false")
        category = CATEGORIES.get(word) or slug(word)
        least = self._least.get(category)
        if least is None or (number < least and not flag):
            return []
        severity = max(graded(number), 4) if flag else graded(number)
        return [of_whole(window, self._detector, word, category, severity, number)]
