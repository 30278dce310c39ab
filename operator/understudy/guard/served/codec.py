"""What a served detector is asked, and how its answer is read: bytes in, findings out, nothing in between is guessed.

An answer that is not what its kind of detector says is unreadable. That is a failure, and never a text that is clear.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from understudy.guard.actions import Where
from understudy.guard.findings import Finding, Severity
from understudy.guard.windows import Window

MAX_ANSWER: Final = 64 * 1024
"""Bytes; whoever says more about one window is not understood."""
USUAL: Final[Mapping[Severity, float]] = {2: 0.3, 4: 0.6, 6: 0.85}
"""Scores from which on a finding is so grave where the rule has no thresholds."""
_MAX_BEFORE: Final = 2000
"""Bytes. The byte-level tokenizers of guard models make no more tokens of a text than it has bytes: with a window, of
800 at most, with a model's own instructions and its answer it fits into 4,096, whatever the script."""


class UnreadableError(Exception):
    """An answer that does not say what it should; the message says what is wrong, and nothing of the text."""


@dataclass(frozen=True, slots=True)
class Question:
    """One POST: `path` as the kind of detector has it, `fields` of the head beside the usual ones."""

    path: str
    body: Mapping[str, Any]
    fields: Mapping[str, str] = field(default_factory=dict)


class Codec(Protocol):
    """One detector's language. The same window, direction and `before` give the same questions."""

    def questions(self, window: Window, where: Where, before: str) -> tuple[Question, ...]:
        """What to ask about a window, all at once. `before`: what the user said before this answer, if known."""
        ...

    def read(self, answers: Sequence[bytes], window: Window, where: Where) -> tuple[Finding, ...]:
        """What the answers, in the order of the questions, say about it.

        Raises UnreadableError.
        """
        ...


def document(answer: bytes) -> Any:
    """The JSON of an answer.

    Raises UnreadableError.
    """
    if len(answer) > MAX_ANSWER:
        raise UnreadableError(f"more than {MAX_ANSWER} bytes")
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise UnreadableError("no JSON") from None


def members(value: object, what: str) -> Mapping[str, Any]:
    """An object.

    Raises UnreadableError.
    """
    if not isinstance(value, dict):
        raise UnreadableError(f"{what} is no object")
    return value


def single(value: object, what: str) -> Any:
    """The one entry of a list.

    Raises UnreadableError.
    """
    if not isinstance(value, list) or len(value) != 1:
        raise UnreadableError(f"{what} is no list of one")
    return value[0]


def score(value: object, what: str) -> float:
    """A number from 0 to 1.

    Raises UnreadableError.
    """
    # Of what is not a number no comparison is true.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UnreadableError(f"{what} is no number from 0 to 1")
    return float(value)


def graded(value: float) -> Severity:
    """How grave a score is where no rule says otherwise."""
    return max((severity for severity, least in USUAL.items() if value >= least), default=2)


def of_whole(
    window: Window, detector: str, name: str, category: str, severity: Severity, value: float | None
) -> Finding:
    """A finding that says nothing about where in the window it is."""
    return Finding(detector, name, category, severity, value, window.start, window.end, window.end, window.start)


def slug(word: str) -> str:
    """A detector's own word as a category: small letters, digits and _."""
    letters = "".join(char if char.isascii() and char.isalnum() else " " for char in word.lower())
    return "_".join(letters.split())[:64]


def shortened(before: str) -> str:
    """The end of what was said before, as far as it fits into a small model's context."""
    # Cut twice: a character is a byte at least, and a long text is not encoded as a whole for each window.
    return before[-_MAX_BEFORE:].encode()[-_MAX_BEFORE:].decode(errors="ignore")
