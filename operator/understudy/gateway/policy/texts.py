"""What was said in a request, for its line in the log, where the deployment has texts kept; and never an access key.

`released` is what the client got. `raw` is what it would have got without guardrails: as long as none holds anything
back, that is the same.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from understudy.domain.table import Logging
from understudy.gateway.policy.pairs import Half

# Who asks and in which conversation is told by the line, as far as it is told at all.
_LEFT_OUT: Final = ("cache_salt", "metadata", "model", "prompt_cache_key", "safety_identifier", "user")
# As `understudy keys create` makes them. One that is not whole where a text is cut is not one to be found.
_KEY: Final = re.compile(r"us-[-_A-Za-z0-9]{43}")
_LONGEST_KEY: Final = 4096
# What is shorter is no key that anybody relies on, and may well be a word.
_SHORTEST_KEY: Final = 8
_HIDDEN: Final = "(access key)"


class Texts:
    """Texts of one request: the `document` that it is, and what was answered. `shown` is the access key, if any."""

    __slots__ = ("_document", "_half", "_logging", "_shown")

    def __init__(self, logging: Logging, document: Mapping[str, Any], shown: str) -> None:
        self._logging = logging
        self._document = document
        self._shown = shown
        self._half: Half | None = None

    @property
    def room(self) -> int:
        """Characters that a listener must have room for: so many that no key is cut where the text is."""
        return self._logging.max_bytes + _LONGEST_KEY

    def listening(self, half: Half | None, *, stream: bool) -> Half:
        """Who listens to the next try: `half` if it does anyway. What came of the tries before nobody was told."""
        self._half = half or Half(stream=stream, room=self.room)
        return self._half

    def line(self, *, answered: bool, forbidden: bool = False) -> dict[str, Any]:
        """As the log tells them. Unless it was `answered`, the client got none of what an engine may have said.

        A request that is `forbidden` by a guardrail is released to no engine, nor to whoever reads the log.
        """
        half = self._half if answered else None
        withheld = forbidden and self._logging.text == "released"
        request, request_cut = ("", True) if withheld else self._told(self._request())
        answer, answer_cut = self._told("" if half is None else half.text)
        return {
            "kind": self._logging.text,
            "ttlSeconds": self._logging.ttl,
            "request": request,
            "requestCut": request_cut,
            "answer": answer,
            "answerCut": answer_cut,
            "toolNames": [] if half is None else [self._told(name)[0] for name in half.tools],
        }

    def _request(self) -> str:
        return orjson.dumps({name: said for name, said in self._document.items() if name not in _LEFT_OUT}).decode()

    def _told(self, text: str) -> tuple[str, bool]:
        """A text without keys, of at most so many bytes, and whether that is not all of it."""
        if len(self._shown) >= _SHORTEST_KEY:
            text = text.replace(self._shown, _HIDDEN)
        whole = _KEY.sub(_HIDDEN, text).encode()
        if len(whole) <= self._logging.max_bytes:
            return whole.decode(), False
        return whole[: self._logging.max_bytes].decode(errors="ignore"), True
