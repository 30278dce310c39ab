"""What a client gets for one request: a whole answer, events as they come, or a refusal, with head and framing.

The head of a stream goes out with its first events, and tells who answers. Where a heartbeat had to go first, the first
event tells it; then a refusal is an event too.
"""

from typing import TYPE_CHECKING

from understudy.gateway.policy.heartbeat import HEARTBEAT, introduced
from understudy.gateway.policy.refusal import Refusal, error_event
from understudy.gateway.policy.responses import error_event as response_error_event
from understudy.gateway.table import Variant
from understudy.gateway.wire.answer import STREAM_END, stream_head, who_answers

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection


class Reply:
    """One client's. `fields` are header lines for whatever it is answered; `responses` says whose events it reads.

    `fallback` is the served name that took the request in the place of its own; `opened` is whether the head of a
    stream has gone out. Who answers is None where nobody does.
    """

    __slots__ = ("_chunked", "_client", "_closes", "_responses", "fallback", "fields", "opened")

    def __init__(self, client: "Connection", fields: bytes, *, responses: bool) -> None:
        self._client = client
        # Without chunks (HTTP/1.0) the stream ends with the connection.
        self._chunked = client.head.minor > 0
        self._responses = responses
        self._closes = False
        self.fallback = ""
        self.fields = fields
        self.opened = False

    def whole(self, body: bytes, variant: Variant | None) -> None:
        """A whole answer, and the end."""
        self._client.answer(200, body, self._fields(variant))

    def refuse(self, refusal: Refusal, variant: Variant | None) -> None:
        """A refusal, as an event if the stream is open, and the end: the client has got no content."""
        if not self.opened:
            self._client.refuse(refusal, self._fields(variant))
            return
        self._client.plane.count_refusal(refusal.code)
        self.begin(response_error_event(refusal, 0) if self._responses else error_event(refusal), variant)
        self.end()

    def beat(self) -> None:
        """A heartbeat: nothing else has come yet."""
        self.go_on(HEARTBEAT, b"" if self.opened else self._open(self.fields))

    def begin(self, events: bytes, variant: Variant | None) -> None:
        """The first events of the stream."""
        if not self.opened:
            self.go_on(events, self._open(self._fields(variant)))
        elif variant is None:
            self.go_on(events)
        else:
            self.go_on(introduced(events, variant.revision, variant.track, self.fallback))

    def go_on(self, events: bytes, head: bytes = b"") -> None:
        """More events, behind the head if that has yet to go out."""
        # An empty chunk would be the end.
        framed = b"%x\r\n%b\r\n" % (len(events), events) if self._chunked and events else events
        self._client.write(head + framed)

    def end(self) -> None:
        """The end of the stream."""
        # Whole as HTTP, even after an error: closing then would take the client's next request down with it.
        if self._chunked:
            self._client.write(STREAM_END)
        # As the head said: a client that was told nothing may use the connection once more, and is told then.
        self._client.finish(close=self._closes or not self._chunked)

    def _fields(self, variant: Variant | None) -> bytes:
        return self.fields + (b"" if variant is None else who_answers(variant, self.fallback))

    def _open(self, fields: bytes) -> bytes:
        self.opened = True
        self._closes = self._client.closes()
        return stream_head(fields, chunked=self._chunked, close=self._closes)
