"""Log probabilities of an answer's tokens: each goes to the client with its characters, and never without them.

A token that is not the next piece of what the client gets was masked, held back for good, or is none of the text (parts
of a character, what was thought before): it and all that come after it are dropped, since nobody knows where they are.
"""

from collections import deque
from typing import Any, Final

# A token, its value, which an engine does not give for the first one of a prompt, and where in the text it begins.
Entry = tuple[str, float | None, int]


# Tokens that wait for their characters: more than an honest answer has.
_MOST: Final = 1 << 17


class Logprobs:
    """Those of one choice, in the order of its text."""

    __slots__ = ("_at", "_lost", "_released", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, float | None]] = deque()
        self._at = 0
        self._released = ""
        self._lost = False

    def feed(self, said: Any) -> None:
        """What the engine says beside a piece of text: in the shape of chat completions, or of completions."""
        if not isinstance(said, dict) or self._lost:
            return
        entries = said.get("content")
        if isinstance(entries, list):
            pairs = [(each.get("token"), each.get("logprob")) for each in entries if isinstance(each, dict)]
        else:
            tokens, values = said.get("tokens"), said.get("token_logprobs")
            pairs = []
            if isinstance(tokens, list) and isinstance(values, list):
                pairs = list(zip(tokens, values, strict=False))
        for token, value in pairs:
            self._waiting.append((token if isinstance(token, str) else "", _number(value)))
        self._lost = len(self._waiting) > _MOST

    def released(self, text: str) -> list[Entry]:
        """The tokens, each with its value, of which the client has all characters with this piece."""
        self._released += text
        leaving: list[Entry] = []
        while self._waiting and not self._lost:
            token, value = self._waiting[0]
            if self._released.startswith(token) and token:
                self._released = self._released[len(token) :]
                leaving.append((token, value, self._at))
                self._waiting.popleft()
                self._at += len(token)
            elif token and token.startswith(self._released):
                break
            else:
                self._lost = True
        if self._lost:
            self._waiting.clear()
            self._released = ""
        return leaving


def _number(value: Any) -> float | None:
    """A value that is one: a whole number may have more digits than any."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None
