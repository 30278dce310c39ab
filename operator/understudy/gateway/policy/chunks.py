"""Request bodies in chunks: sizes and data only. Extensions are refused, trailers are read and dropped."""

import re
from typing import Final

from understudy.gateway.policy.refusal import Refusal, bad_bytes

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[^\x00-\x08\x0a-\x1f\x7f]*+")
_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16 * 1024


class ChunkReader:
    """Decodes one chunked body of at most `limit` bytes.

    Feed it what arrives. `body` grows; once `done`, `rest` holds the bytes after the body.
    """

    __slots__ = ("_left", "_limit", "_pending", "_state", "_trailers", "body", "done", "rest")

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self.done = False
        self.rest = b""
        self._limit = limit
        self._pending = bytearray()
        self._left = 0
        # Functions, not methods: a method of itself would keep it, and its body, until the garbage collector comes.
        self._state = ChunkReader._size
        self._trailers = 0

    def feed(self, data: bytes) -> Refusal | None:
        """Take bytes from the wire; a refusal ends the connection."""
        self._pending += data
        while not self.done:
            verdict = self._state(self)
            if verdict is not None:
                return None if verdict is _MORE else verdict
        self.rest = bytes(self._pending)
        self._pending.clear()
        return None

    def _line(self) -> bytes | Refusal:
        end = self._pending.find(b"\r\n")
        if end < 0:
            return bad_bytes("chunk line too long") if len(self._pending) > _MAX_LINE else _MORE
        line = bytes(self._pending[:end])
        del self._pending[: end + 2]
        return line

    def _size(self) -> Refusal | None:
        line = self._line()
        if isinstance(line, Refusal):
            return line
        if not _SIZE.fullmatch(line):
            return bad_bytes("malformed chunk size (extensions are not taken)")
        self._left = int(line, 16)
        if len(self.body) + self._left > self._limit:
            return too_large(self._limit)
        self._state = ChunkReader._data if self._left else ChunkReader._trailer
        return None

    def _data(self) -> Refusal | None:
        piece = self._pending[: self._left]
        del self._pending[: self._left]
        self.body += piece
        self._left -= len(piece)
        if self._left:
            return _MORE
        self._state = ChunkReader._end
        return None

    def _end(self) -> Refusal | None:
        if len(self._pending) < 2:
            return _MORE
        if self._pending[:2] != b"\r\n":
            return bad_bytes("chunk data does not end where its size says")
        del self._pending[:2]
        self._state = ChunkReader._size
        return None

    def _trailer(self) -> Refusal | None:
        line = self._line()
        if isinstance(line, Refusal):
            return line
        self._trailers += len(line)
        if not line:
            self.done = True
        elif not _TRAILER.fullmatch(line) or self._trailers > _MAX_TRAILERS:
            return bad_bytes("malformed trailer")
        return None


def too_large(limit: int) -> Refusal:
    """413 for a body above `limit` bytes."""
    message = f"the request body may have at most {limit} bytes"
    return Refusal(413, "body_too_large", message, final=True, close=True)


# Not an answer: the decoder wants more bytes.
_MORE: Final = Refusal(100, "", "")
