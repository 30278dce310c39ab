"""A stream of the Responses API on its way: events with names, numbered, and none that only marks the end.

The client's name for the model stands inside whole responses.
"""

import re
from typing import Any, Final

from understudy.gateway.policy.answers import tokens_used
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import ends, error_event, fails, says_something
from understudy.gateway.wire.relay import Relay, StreamFailedError, written

# Numbers that any reader of JSON has, and that the next one is told by as well.
_LAST: Final = 1 << 53
_KIND: Final = re.compile(r"[a-z_.]+")


class ResponsesRelay(Relay):
    """One stream; its `last` is the last response that came whole."""

    __slots__ = ("_number", "items")

    def __init__(self, model: str, name: str, *, half: Half | None) -> None:
        super().__init__(model, name, half=half)
        self._number = -1
        self.items = 0

    @property
    def numbered(self) -> int:
        """By which number the next event goes."""
        return self._number + 1

    def error_event(self, refusal: Refusal) -> bytes:
        """The event that ends a stream which cannot go on."""
        return error_event(refusal, self.numbered)

    def _event(self, payload: bytes) -> None:
        event = self._read(payload)
        said = says_something(event)
        self.said = self.said or said
        self.done = ends(event)
        response = event.get("response")
        if self.done and self._half is not None and isinstance(response, dict):
            self._half.heard_response(response)
        self.begun = self.begun or said or self.done
        number = event.get("sequence_number")
        self._number = number if number.__class__ is int and abs(number) < _LAST else self._number + 1
        self._put(event)

    def _put(self, event: dict[str, Any]) -> None:
        index = event.get("output_index")
        if index.__class__ is int and self.items <= index < _LAST:
            self.items = index + 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), written(event)))

    def _read(self, payload: bytes) -> dict[str, Any]:
        """One event, with the client's name of the model."""
        event: Any = self._parse(payload)
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
        self.chunks += says_something(event)
        return dict(event)
