"""An event stream on its way from engine to client: event by event, with the model's name put right.

Nothing leaves before the first event that says something; until then the request can still go elsewhere.
"""

from typing import Any

import orjson

from understudy.gateway.policy.answers import finishes, has_choices, says_something, tokens_used
from understudy.gateway.policy.events import DONE, MAX_HELD, EventSplitter, EventTooLongError
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal, error_event


class StreamFailedError(Exception):
    """The engine's stream cannot go on: it is not what was asked for, or the engine says so itself."""

    def __init__(self, *, malformed: bool) -> None:
        super().__init__()
        self.malformed = malformed


class Relay:
    """One stream. `model` is the engine's name for it, `name` the client's.

    `begun`: an event that says something, or ends the answer, has come. `done`: the end mark has.
    `usage` is (prompt, completion) tokens once told, `chunks` the number of events that carried choices,
    `last` the last of these.
    `wants_usage`: the client asked to be told them at the end; `hides_each`: it was the gateway alone that asked to be
    told them with every event.
    `half` listens, where the stream is half of a pair.
    """

    __slots__ = (
        "_half", "_held", "_hides_each", "_out", "_splitter", "_wants_usage", "begun", "chunks", "done", "last",
        "model", "name", "said", "usage",
    )  # fmt: skip

    def __init__(self, model: str, name: str, *, wants_usage: bool, hides_each: bool, half: Half | None) -> None:
        self._splitter = EventSplitter()
        self._out: list[bytes] = []
        self._wants_usage = wants_usage
        self._hides_each = hides_each
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
            if payload == DONE:
                self.done = True
                self._out.append(b"data: [DONE]\n\n")
            else:
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

    def error_event(self, refusal: Refusal) -> bytes:
        """The event that ends a stream which cannot go on."""
        return error_event(refusal)

    def _event(self, payload: bytes) -> None:
        try:
            chunk: Any = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise StreamFailedError(malformed=True) from error
        if not isinstance(chunk, dict) or chunk.get("model", self.model) != self.model:
            raise StreamFailedError(malformed=True)
        if chunk.get("error"):
            raise StreamFailedError(malformed=False)
        chunk["model"] = self.name
        choices = has_choices(chunk)
        if "usage" in chunk:
            self.usage = tokens_used(chunk) or self.usage
            if not self._wants_usage:
                del chunk["usage"]
                if not choices:
                    return
            elif choices and self._hides_each:
                # As engines say it that were not asked to count with every event.
                chunk["usage"] = None
        if choices:
            self.chunks += 1
            self.last = chunk
        if self._half is not None:
            self._half.heard(chunk)
        if not self.said:
            self.said = says_something(chunk)
            self.begun = self.begun or self.said or finishes(chunk)
        self._out.append(b"data: %b\n\n" % orjson.dumps(chunk))
