"""TLS in front of a protocol of plain bytes, which is behind it as it is behind a socket.

asyncio's own would do, if it told how much of an answer has not left yet (by which a slow reader is told from a dead
one), could end one direction and not the other (by which a client gets the answer that ends its connection), and
let somebody be answered who speaks plain HTTP to this port.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final, cast

from understudy.gateway.pair import Pair
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.wire.answer import refusal_answer

# One record: there is never more in one read.
_RECORD: Final = 16 * 1024
_PLAIN: Final = Refusal(400, "tls_required", "this port speaks TLS: write https:// in the base URL", close=True)


class Door(asyncio.Transport, asyncio.Protocol):
    """One connection: the network's protocol, and the transport of `inner`, which waits from the start.

    `inner` has a deadline for the first request, and that is the handshake's too.
    """

    __slots__ = ("_deaf", "_incoming", "_inner", "_open", "_outgoing", "_pair", "_raw", "_shut", "_tls")

    _raw: asyncio.Transport

    def __init__(self, pair: Pair, inner: asyncio.Protocol) -> None:
        super().__init__()
        self._pair = pair
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = pair.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = self._deaf = self._shut = False

    # What the network says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._raw = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        if self._deaf:
            return
        self._incoming.write(data)
        if not self._open and not self._handshake():
            return
        while not self._deaf:
            piece = self._read()
            if piece is None:
                break
            if not piece:
                self._end()
                break
            self._inner.data_received(piece)
        self._flush()

    def eof_received(self) -> bool:
        """Asyncio's."""
        self._end()
        return True

    def pause_writing(self) -> None:
        """Asyncio's."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Asyncio's."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        self._deaf = self._shut = True
        self._inner.connection_lost(exc)

    # What the protocol behind it asks for.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """A transport's."""
        if self._shut:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def write_eof(self) -> None:
        """A transport's: what the client still sends is read, so that it is not reset, and not heard."""
        self._say_goodbye()
        self._raw.write_eof()

    def close(self) -> None:
        """A transport's."""
        self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        """A transport's."""
        self._deaf = self._shut = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """A transport's."""
        return self._raw.is_closing()

    def get_write_buffer_size(self) -> int:
        """A transport's: nothing lies here, so the network's is the whole truth."""
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """A transport's."""
        self._raw.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """A transport's."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """A transport's."""
        self._raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A transport's."""
        return self._tls.context if name == "sslcontext" else self._raw.get_extra_info(name, default)

    # TLS.

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._open = True
        return self._open

    def _read(self) -> bytes | None:
        """What the client says; nothing at its end, None if there is no more for now."""
        try:
            return self._tls.read(_RECORD)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            self._fail(error)
            return None

    def _fail(self, error: ssl.SSLError) -> None:
        self._deaf = self._shut = True
        if self._open:
            self._flush()
            self._raw.close()
        elif error.reason == "HTTP_REQUEST":
            self._pair.failed["plain_http"] += 1
            self._raw.write(refusal_answer(_PLAIN, b"", close=True))
            self._raw.write_eof()
        else:
            self._pair.failed["handshake"] += 1
            self._flush()
            self._raw.close()

    def _end(self) -> None:
        """The client has ended its direction, with a good-bye or without."""
        self._inner.eof_received()
        self.close()

    def _say_goodbye(self) -> None:
        self._deaf = True
        if not self._shut:
            self._shut = True
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())
