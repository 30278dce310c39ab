"""A stream of chat completions, or of completions, on its way: chunks without names, and a mark at the end."""

from typing import Any

import orjson

from understudy.gateway.policy.answers import finishes, has_choices, says_something, tokens_used
from understudy.gateway.policy.events import DONE
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal, error_event
from understudy.gateway.wire.relay import Relay, StreamFailedError


class CompletionsRelay(Relay):
    """One stream; its `last` is the last chunk that carried choices.

    `wants_usage`: the client asked to be told tokens at the end; `hides_each`: it was the gateway alone that asked to
    be told them with every event.
    """

    __slots__ = ("_hides_each", "_wants_usage")

    def __init__(self, model: str, name: str, *, wants_usage: bool, hides_each: bool, half: Half | None) -> None:
        super().__init__(model, name, half=half)
        self._wants_usage = wants_usage
        self._hides_each = hides_each

    def error_event(self, refusal: Refusal) -> bytes:
        """The event that ends a stream which cannot go on."""
        return error_event(refusal)

    def _event(self, payload: bytes) -> None:
        if payload == DONE:
            self.done = True
            self._out.append(b"data: [DONE]\n\n")
            return
        chunk = self._read(payload)
        if chunk is None:
            return
        if self._half is not None:
            self._half.heard(chunk)
        if not self.said:
            self.said = says_something(chunk)
            self.begun = self.begun or self.said or finishes(chunk)
        self._out.append(b"data: %b\n\n" % orjson.dumps(chunk))

    def _read(self, payload: bytes) -> dict[str, Any] | None:
        """One chunk as the client may see it, as far as it says anything to the client."""
        chunk: Any = self._parse(payload)
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
                    return None
            elif choices and self._hides_each:
                # As engines say it that were not asked to count with every event.
                chunk["usage"] = None
        if choices:
            self.chunks += 1
            self.last = chunk
        return chunk
