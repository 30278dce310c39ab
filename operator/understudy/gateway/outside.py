"""Questions to servers that are not ours: one POST, one short answer, and nowhere that a name or an answer leads to.

Names are looked up here, every address is looked at, and the connection goes to just that address: a name that is
another's a moment later changes nothing. Redirects are not followed, proxies are not asked.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

import httptools
import orjson

from understudy.guard.served.addresses import may_be_asked
from understudy.guard.served.codec import MAX_ANSWER, Question
from understudy.guard.served.judge import address_of

# Below the five seconds after which many servers close an idle connection.
_IDLE_SECONDS: Final = 4.0
# Names are looked up by a few threads that all share: one that is not to be had must not keep them busy.
_LOOKED_UP_FOR: Final = 2.0
_MAX_HEAD: Final = 16 * 1024
_READ: Final = 64 * 1024


class AskError(Exception):
    """There is no answer; the message says why, and nothing of the text that was asked about."""


class _StaleError(Exception):
    """A kept connection ended before a byte of the answer had come: it had been idle for too long."""


class _Answer:
    """Callbacks of the parser: status, and the body as far as it may be long."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.complete = self.keeps = self.overread = self.too_long = self.coded = False
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.overread = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding":
            self.coded = self.coded or value.lower() != b"identity"

    def on_headers_complete(self) -> None:
        self.status = self.status or self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.too_long = self.too_long or len(self.body) + len(data) > MAX_ANSWER
        if not self.too_long:
            self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
        # Only now: once the message is over, the parser says no to this.
        self.keeps = self.parser.should_keep_alive()


class _Connection:
    """One connection; `used` once it has answered."""

    __slots__ = ("idle_since", "reader", "used", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False
        self.idle_since = 0.0

    def abort(self) -> None:
        self.writer.transport.abort()


class Outside:
    """One server at a url. `authority` (PEM) signs its certificate, empty for whoever the system trusts.

    `allowed` says of an address whether it may be connected to. Raises ssl.SSLError for an authority that is none.
    """

    def __init__(self, url: str, authority: str = "", *, allowed: Callable[[str], bool] = may_be_asked) -> None:
        self._url = url
        self._allowed = allowed
        self._scheme, self._host, self._port, _ = address_of(url, "/")
        self._tls = _context(authority) if self._scheme == "https" else None
        self._idle: list[_Connection] = []
        self._addresses: tuple[str, ...] = ()
        self._lookup: asyncio.Task[tuple[str, ...]] | None = None
        self._looked_up = 0.0
        self._loop = asyncio.get_running_loop()

    async def ask(self, question: Question, seconds: float) -> bytes:
        """The body of the answer to one question, which may take so long. Cancelling it ends the connection.

        Raises AskError and OSError, TimeoutError among them.
        """
        async with asyncio.timeout(seconds):
            return await self._ask(question)

    def close(self) -> None:
        """End what is idle; nothing more will be asked."""
        while self._idle:
            self._idle.pop().abort()
        if self._lookup is not None:
            self._lookup.cancel()

    async def _ask(self, question: Question) -> bytes:
        request = self._request(question)
        while (kept := self._take()) is not None:
            with contextlib.suppress(_StaleError):
                return await self._exchange(kept, request)
        return await self._exchange(await self._connect(), request)

    def _request(self, question: Question) -> bytes:
        _, _, _, target = address_of(self._url, question.path)
        host = f"[{self._host}]" if ":" in self._host else self._host
        body = orjson.dumps(question.body)
        more = "".join(f"{name}: {value}\r\n" for name, value in question.fields.items())
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {host}:{self._port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: understudy-gateway\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _take(self) -> _Connection | None:
        while self._idle:
            kept = self._idle.pop()
            if self._loop.time() - kept.idle_since < _IDLE_SECONDS and not kept.reader.at_eof():
                return kept
            kept.abort()
        return None

    async def _connect(self) -> _Connection:
        problem: OSError | None = None
        for address in await self._find():
            try:
                reader, writer = await asyncio.open_connection(
                    address, self._port, ssl=self._tls, server_hostname=self._host if self._tls else None
                )
            except ssl.SSLError as error:
                # Another address of the same name would hardly have a better one.
                raise AskError(f"no TLS: {error.reason or 'its certificate is not taken'}") from error
            except OSError as error:
                problem = error
            else:
                return _Connection(reader, writer)
        raise AskError("no connection") from problem

    async def _find(self) -> tuple[str, ...]:
        """The addresses of the host now."""
        now = self._loop.time()
        if self._lookup is None or (self._lookup.done() and now - self._looked_up >= _LOOKED_UP_FOR):
            self._lookup = self._loop.create_task(self._look_up())
        lookup = self._lookup
        # Whoever waits no longer does not end the lookup of the others, and who is waited for may have been let go.
        await asyncio.wait((lookup,))
        if lookup.cancelled():
            raise AskError("it was let go while its name was looked up")
        addresses = lookup.result()
        if not addresses:
            raise AskError("its name is not known")
        if not all(self._allowed(address) for address in addresses):
            raise AskError("its name leads to the gateway itself or its node, which are not asked")
        return addresses

    async def _look_up(self) -> tuple[str, ...]:
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            found = []
        self._looked_up = self._loop.time()
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    async def _exchange(self, connection: _Connection, request: bytes) -> bytes:
        kept = False
        try:
            answer = await _asked(connection, request)
            kept = answer.keeps and not answer.overread
        finally:
            if kept:
                connection.used = True
                connection.idle_since = self._loop.time()
                self._idle.append(connection)
            else:
                connection.abort()
        return bytes(answer.body)


async def _asked(connection: _Connection, request: bytes) -> _Answer:
    """The whole answer, if it is one."""
    answer = _Answer()
    read = 0
    try:
        connection.writer.write(request)
        await connection.writer.drain()
        while not answer.complete:
            data = await connection.reader.read(_READ)
            if not data:
                raise ConnectionError("the connection ended before the answer did")
            read += len(data)
            answer.parser.feed_data(data)
            _check(answer, read)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise AskError("no HTTP") from error
    except OSError as error:
        if connection.used and not read:
            raise _StaleError from error
        raise
    return answer


def _check(answer: _Answer, read: int) -> None:
    """Raise AskError for what will be no answer."""
    if answer.too_long:
        raise AskError(f"more than {MAX_ANSWER} bytes")
    if read - len(answer.body) > _MAX_HEAD + len(answer.body):
        # Chunks of one byte have heads of five.
        raise AskError("more around the answer than there is of it")
    if 300 <= answer.status < 400:
        raise AskError(f"status {answer.status}: redirects are not followed")
    if answer.status not in (0, 200):
        raise AskError(f"status {answer.status}")
    if answer.coded:
        raise AskError("an answer that is compressed, though none was asked for")


def _context(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority:
        # Whoever is named is trusted, under another authority or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context
