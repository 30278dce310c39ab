"""An event stream on its way from engine to client: event by event, with the model's name put right.

Nothing leaves before the first event that says something; until then the request can still go elsewhere. What an event
is, and which one says something, is each API's own: `completions.py` and `responses.py`.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

import orjson

from understudy.gateway.policy.events import MAX_HELD, EventSplitter, EventTooLongError
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal


class StreamFailedError(Exception):
    """The engine's stream cannot go on: it is not what was asked for, or the engine says so itself."""

    def __init__(self, *, malformed: bool) -> None:
        super().__init__()
        self.malformed = malformed


def written(document: dict[str, Any]) -> bytes:
    """The JSON of an event. In what nobody changes halves of characters, and long numbers, may be: they go on so."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document).encode()


class Relay(ABC):
    """One stream. `model` is the engine's name for it, `name` the client's.

    `begun`: an event that says something, or ends the answer, has come. `done`: the end mark has.
    `usage` is (prompt, completion) tokens once told, `chunks` the number of events that carried something of the
    answer, `last` what tells how it ended, as far as it came.
    `half` listens, where the stream is half of a pair.
    `refusal` is what ended it, where Guardrails did without an answer; `stopped`: they did, though the engine goes on;
    `pending`: the engine's stream has ended, and detectors have not spoken on all of it yet.
    """

    __slots__ = (
        "_half", "_held", "_out", "_splitter", "begun", "chunks", "done", "last", "model", "name", "said", "usage",
    )  # fmt: skip

    def __init__(self, model: str, name: str, *, half: Half | None) -> None:
        self._splitter = EventSplitter()
        self._out: list[bytes] = []
        self._half = half
        self._held = 0
        self.model = model
        self.name = name
        self.begun = False
        self.said = False
        self.done = False
        self.usage: tuple[int, int] | None = None
        self.chunks = 0
        self.last: dict[str, Any] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes of the engine's body; raises StreamFailedError."""
        try:
            payloads = self._splitter.feed(data)
        except EventTooLongError as error:
            raise StreamFailedError(malformed=True) from error
        for payload in payloads:
            if self.done:
                return
            self._event(payload)
        if not self.begun:
            self._held += len(data)
            if self._held > MAX_HELD:
                raise StreamFailedError(malformed=True)

    def take(self) -> bytes:
        """The events to send now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    refusal: Refusal | None = None
    stopped = False
    pending = False
    # Items that a response has said.
    items = 0

    @property
    def numbered(self) -> int:
        """Events that a response has said."""
        return 0

    @abstractmethod
    def error_event(self, refusal: Refusal) -> bytes:
        """The event that ends a stream which cannot go on."""

    def _parse(self, payload: bytes) -> Any:
        """The JSON of an event; raises StreamFailedError."""
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise StreamFailedError(malformed=True) from error

    @abstractmethod
    def _event(self, payload: bytes) -> None:
        """Take the data of one event; raises StreamFailedError."""
