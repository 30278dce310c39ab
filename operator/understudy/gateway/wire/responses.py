"""A stream of the Responses API on its way: events with names, numbered, and none that only marks the end.

What `relay.py` says of streams holds for this one too; the client's name for the model stands inside whole responses.
"""

import re
from typing import Any, Final

import orjson

from understudy.gateway.policy.answers import tokens_used
from understudy.gateway.policy.events import MAX_HELD, EventSplitter, EventTooLongError
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import ends, error_event, fails, says_something
from understudy.gateway.wire.relay import StreamFailedError

_KIND: Final = re.compile(r"[a-z_.]+")


class ResponsesRelay:
    """One stream; its attributes mean what those of a Relay mean."""

    __slots__ = (
        "_half",
        "_held",
        "_number",
        "_out",
        "_splitter",
        "begun",
        "chunks",
        "done",
        "last",
        "model",
        "name",
        "said",
        "usage",
    )

    def __init__(self, model: str, name: str, *, half: Half | None) -> None:
        self._splitter = EventSplitter()
        self._out: list[bytes] = []
        self._number = -1
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

    def error_event(self, refusal: Refusal) -> bytes:
        """The event that ends a stream which cannot go on."""
        return error_event(refusal, self._number + 1)

    def _event(self, payload: bytes) -> None:
        try:
            event: Any = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise StreamFailedError(malformed=True) from error
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise StreamFailedError(malformed=True)
        if fails(event):
            raise StreamFailedError(malformed=False)
        response = event.get("response")
        if isinstance(response, dict):
            if response.get("model") != self.model:
                raise StreamFailedError(malformed=True)
            response["model"] = self.name
            self.usage = tokens_used(response) or self.usage
            self.last = response
        number = event.get("sequence_number")
        self._number = number if isinstance(number, int) else self._number + 1
        said = says_something(event)
        self.chunks += said
        self.said = self.said or said
        self.done = ends(event)
        if self.done and self._half is not None and isinstance(response, dict):
            self._half.heard_response(response)
        self.begun = self.begun or said or self.done
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(event)))
