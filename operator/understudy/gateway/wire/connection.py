"""One client connection: requests in, one at a time; answers out. Follow a request from `data_received` down.

Reading never pauses, so that a client that goes away is noticed at once, whatever it is waiting for.
"""

import asyncio
import math
import re
from typing import TYPE_CHECKING, Final, cast

from understudy.gateway.policy.chunks import ChunkReader, too_large
from understudy.gateway.policy.document import lend
from understudy.gateway.policy.head import MAX_HEAD, Head, parse_head
from understudy.gateway.policy.keys import EVERYBODY, AccessKey, find_key
from understudy.gateway.policy.operations import EVENTS, MODELS, PLAYER, Operation, find_operation
from understudy.gateway.policy.refusal import NO_ROOM, Refusal, bad_bytes
from understudy.gateway.wire.answer import plain_answer, refusal_answer
from understudy.gateway.wire.playing import serve_players
from understudy.gateway.wire.requests import list_models, open_exchange

if TYPE_CHECKING:
    from understudy.gateway.wire.exchange import Exchange
    from understudy.gateway.wire.plane import Plane

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_HIGH_WATER: Final = 64 * 1024
_MAX_PIPELINED: Final = 256 * 1024
_LINGER_SECONDS: Final = 2.0

_HEAD, _BODY, _ANSWER, _CLOSING = range(4)
# Stands where no request has been read: whatever is answered then ends the connection.
_NO_HEAD: Final = Head(b"", b"", 0, {})


class Connection(asyncio.Protocol):
    """One client. `deadline` is when `expired` is due (monotonic seconds); `busy` while a request is under way."""

    __slots__ = (
        "_body", "_buffer", "_chunks", "_looked_at", "_need", "_operation", "_read_into", "_received", "_reserved",
        "_scanned", "_state", "_unsent", "address", "deadline", "exchange", "head", "key", "paused", "plane",
        "transport",
    )  # fmt: skip

    def __init__(self, plane: "Plane") -> None:
        self.plane = plane
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.address = ""
        self.deadline = math.inf
        self.paused = False
        self.head = _NO_HEAD
        self.key: AccessKey = EVERYBODY
        self._looked_at = 0.0
        self._received = 0
        self._state = _HEAD
        self._buffer = bytearray()
        self._body = bytearray()
        self._chunks: ChunkReader | None = None
        self._need = 0
        self._operation: Operation = MODELS
        self._reserved = 0
        self._read_into = 0
        self._scanned = 0
        self._unsent = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered, or an answer is still on its way out."""
        if self._state == _HEAD:
            return bool(self._buffer) or self._unsent_bytes() > 0
        return True

    @property
    def waits(self) -> bool:
        """Whether the client still waits for the answer to a request that is not an exchange."""
        return self._state == _ANSWER and self.exchange is None and self.transport is not None

    def holder(self) -> str:
        """Whose share of memory, and of turns, the present request takes: its key's, or its address's without one."""
        return self.key.hash or self.address

    # Asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self.transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""
        self.deadline = self.plane.clock() + self.plane.limits.header_seconds
        self.plane.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        if self._state == _HEAD and not self.paused:
            self._read_head(data)
        elif self._state == _BODY:
            self._read_body(data)
        elif self._state == _CLOSING:
            pass
        elif len(self._buffer) < _MAX_PIPELINED:
            # Who does not read the answers so far gets no further ones: they would lie here, without bound.
            self._buffer += data
        elif self._state == _ANSWER:
            # Nobody pipelines this much: what follows is dropped, and the connection with it.
            self.head.keep_alive = False
        else:
            self.close()

    def eof_received(self) -> None:
        """Asyncio's. A client that closes its side is gone: nobody would read the answer."""
        if self._state != _CLOSING:
            self._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        del exc
        self.transport = None
        self.deadline = math.inf
        self.plane.forget(self)
        self._give_up()

    def pause_writing(self) -> None:
        """Asyncio's: the client reads more slowly than the engine writes."""
        self.paused = True
        self._unsent = self._unsent_bytes()
        if self.exchange is not None:
            self.exchange.pause()
        self.deadline = self.plane.clock() + self.plane.limits.slow_reader_seconds

    def resume_writing(self) -> None:
        """Asyncio's."""
        self.paused = False
        if self.exchange is not None:
            self.exchange.resume()
        elif self._state == _HEAD:
            self._await_request()

    # Reading.

    def _read_head(self, data: bytes) -> None:
        buffer = self._buffer
        if buffer:
            buffer += data
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            self._scanned = len(buffer)
            if end >= 0:
                data = self._take_buffer()
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.deadline = self.plane.clock() + self.plane.limits.header_seconds
                buffer += data
                self._scanned = len(data)
        if end + 4 > MAX_HEAD or len(buffer) > MAX_HEAD:
            self.refuse(Refusal(431, "headers_too_large", f"more than {MAX_HEAD} bytes of headers", close=True))
        elif end < 0:
            if _BARE_LF.search(buffer) or not 65 <= buffer[0] <= 90:
                self.refuse(bad_bytes("malformed request"))
        else:
            self._begin(parse_head(data[: end + 4]), data[end + 4 :])

    def _begin(self, head: Head | Refusal, rest: bytes) -> None:
        """A whole head is here: everything that can be refused before the body is read is refused now."""
        self._state = _BODY
        if isinstance(head, Refusal):
            self.refuse(head)
            return
        self.head = head
        operation = find_operation(head)
        refusal = operation if isinstance(operation, Refusal) else self._authorize(head)
        if refusal is None and head.length > self.plane.limits.max_body:
            refusal = too_large(self.plane.limits.max_body)
        if refusal is None and head.length > 0 and not self._reserve(head.length):
            refusal = NO_ROOM
        if isinstance(operation, Refusal) or refusal is not None:
            refusal = operation if isinstance(operation, Refusal) else cast("Refusal", refusal)
            # With the whole body at hand the next request can be found; else nothing after this is to be trusted.
            if not refusal.close and 0 <= head.length <= len(rest):
                self._buffer += rest[head.length :]
                self.refuse(refusal)
            else:
                self.refuse(refusal, close=True)
            return
        self._operation = operation
        if 0 <= head.length <= len(rest):
            self._complete(rest[: head.length], rest[head.length :])
        else:
            self._await_body(head, rest)

    def _authorize(self, head: Head) -> Refusal | None:
        if self.plane.open_access:
            return None
        found = find_key(self.plane.world.routes.keys, head.fields.get(b"authorization"))
        if isinstance(found, Refusal):
            return self.plane.failed_keys.refuse(self.address, self.plane.clock(), found)
        self.key = found
        return None

    def _reserve(self, size: int) -> bool:
        if not self.plane.bodies.take(self.holder(), size):
            return False
        self._reserved += size
        return True

    def _await_body(self, head: Head, rest: bytes) -> None:
        now = self.plane.clock()
        self._looked_at = now
        self._received = 0
        self.deadline = now + self.plane.limits.body_seconds
        if b"expect" in head.fields and head.minor and not rest:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if head.length < 0:
            self._chunks = ChunkReader(self.plane.limits.max_body)
        else:
            self._need = head.length
        if rest:
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        chunks = self._chunks
        if chunks is not None:
            refusal = chunks.feed(data)
            if refusal is None and len(chunks.body) > self._reserved:
                refusal = None if self._reserve(len(chunks.body) - self._reserved) else NO_ROOM
            if refusal is not None:
                self.refuse(refusal, close=True)
            elif chunks.done:
                self._complete(chunks.body, chunks.rest)
            return
        body = self._body
        body += data
        if len(body) >= self._need:
            rest = bytes(body[self._need :])
            del body[self._need :]
            self._complete(body, rest)

    def _complete(self, body: bytes | bytearray, rest: bytes) -> None:
        """A whole request is here."""
        self._state = _ANSWER
        self.deadline = math.inf
        self._buffer += rest
        self._chunks = None
        self._body = bytearray()
        if self._operation is MODELS:
            self.answer(200, list_models(self.plane.world.routes, self.key), b"")
            return
        if self._operation is EVENTS or self._operation is PLAYER:
            serve_players(self, self.head, body, self.key)
            return
        if body:
            lent = lend(self.plane.documents, self.holder(), body)
            if isinstance(lent, Refusal):
                self.refuse(lent)
                return
            self._read_into = lent
        opened = open_exchange(self, self._operation, self.head, body, self.key)
        if isinstance(opened, Refusal):
            self.refuse(opened)
        else:
            self.exchange = opened
            opened.start()

    # Writing.

    def write(self, data: bytes) -> None:
        """Bytes to the client, if it is still there."""
        if self.transport is not None:
            self.transport.write(data)

    def answer(self, status: int, body: bytes, fields: bytes) -> None:
        """A whole JSON answer, and the end of the request. `fields` are header lines that end in CRLF."""
        close = self.closes()
        self.plane.answered += 1
        self.write(plain_answer(status, body, fields, close=close, head_only=self.head.method == b"HEAD"))
        self.finish(close=close)

    def refuse(self, refusal: Refusal, fields: bytes = b"", *, close: bool = False) -> None:
        """An error answer, and the end of the request; of the connection too where the refusal says so."""
        self.plane.count_refusal(refusal.code)
        if self.exchange is None:
            self.plane.clients.refused(refusal.status)
        close = close or refusal.close or self.closes()
        fields = fields or b"x-request-id: %b\r\n" % self.plane.ids.next()
        head_only = self.head.method == b"HEAD"
        self.write(refusal_answer(refusal, fields, close=close, head_only=head_only))
        self.finish(close=close)

    def closes(self) -> bool:
        """Whether the connection ends after this answer: the client or a shutdown says so, or nothing was read."""
        return self.plane.draining or not self.head.keep_alive

    def finish(self, *, close: bool) -> None:
        """The answer is written: go on to the next request, or end the connection."""
        self.exchange = None
        self.head = _NO_HEAD
        self._release()
        if close:
            self._linger()
        elif self._state != _CLOSING:
            self._state = _HEAD
            self._await_request()

    def _await_request(self) -> None:
        now = self.plane.clock()
        if self.paused:
            self._unsent = self._unsent_bytes()
            self.deadline = now + self.plane.limits.slow_reader_seconds
        elif self._buffer:
            self.deadline = now + self.plane.limits.header_seconds
            asyncio.get_running_loop().call_soon(self._next_pipelined)
        else:
            limits = self.plane.limits
            self.deadline = now + (limits.last_idle_seconds if self.plane.draining else limits.idle_seconds)

    def _next_pipelined(self) -> None:
        if self._state == _HEAD and self._buffer and not self.paused and self.transport is not None:
            self._read_head(self._take_buffer())

    def _take_buffer(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return data

    # The end.

    def expired(self, now: float) -> None:
        """The deadline has passed: what the client or the engine owes has not come in time."""
        self.deadline = math.inf
        if self.paused or self._state == _CLOSING:
            self._check_reader(now)
        elif self._state == _ANSWER:
            if self.exchange is not None:
                self.exchange.expired(now)
        elif self._state == _BODY:
            self._check_body(now)
        elif self._buffer:
            self.refuse(Refusal(408, "header_timeout", "the header did not come in time", close=True))
        else:
            self.close()

    def _check_reader(self, now: float) -> None:
        unsent = self._unsent_bytes()
        if unsent == 0 or unsent == self._unsent:
            self.abort()
        else:
            self._unsent = unsent
            self.deadline = now + self.plane.limits.slow_reader_seconds

    def _check_body(self, now: float) -> None:
        received = len(self._body) if self._chunks is None else len(self._chunks.body)
        limits = self.plane.limits
        # Since the last look: what came at first, and fast, is no credit to stall on.
        if received - self._received < (now - self._looked_at) * limits.body_rate:
            self.refuse(Refusal(408, "body_timeout", "the body did not come in time", close=True))
        else:
            self._received = received
            self._looked_at = now
            self.deadline = now + limits.body_seconds / 3

    def close(self) -> None:
        """End the connection once everything written has left."""
        self._state = _CLOSING
        if self.transport is not None:
            self.deadline = self.plane.clock() + self.plane.limits.slow_reader_seconds
            self._unsent = self._unsent_bytes()
            self.transport.close()

    def abort(self) -> None:
        """End the connection now."""
        self._state = _CLOSING
        if self.transport is not None:
            self.transport.abort()

    def _linger(self) -> None:
        # Closing while the client still sends would reset the connection, and the answer could be lost with it.
        self._state = _CLOSING
        self._buffer.clear()
        if self.transport is not None and not self.transport.is_closing():
            unsent = self._unsent_bytes()
            self._unsent = unsent
            wait = self.plane.limits.slow_reader_seconds if unsent else _LINGER_SECONDS
            self.deadline = self.plane.clock() + wait
            self.transport.write_eof()

    def _give_up(self) -> None:
        self._state = _CLOSING
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.cancel()
        self._release()

    def _release(self) -> None:
        if self._reserved:
            self.plane.bodies.give(self.holder(), self._reserved)
            self._reserved = 0
        if self._read_into:
            self.plane.documents.give(self.holder(), self._read_into)
            self._read_into = 0

    def _unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size() if self.transport is not None else 0
