"""Connections to engines: one request at a time on each, kept for the next one when nothing was left in doubt.

With TLS, a connection that was made under other files than those of now is as good as closed: no request is sent to
whom the gateway does not trust any more, and none in the name of a certificate that it has laid aside.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, cast

import httptools

from understudy.gateway.policy.balance import Endpoint
from understudy.gateway.upstream_tls import NobodyTrustedError, UpstreamTls

if TYPE_CHECKING:
    from understudy.gateway.wire.attempt import Attempt

_MAX_FIELDS: Final = 100
# What the parser may take without telling of an answer's head or body: the lines of heads and trailers lie in it.
_MAX_SILENT: Final = 64 * 1024


class Upstream(asyncio.Protocol):
    """One connection to an engine. `reused` is whether it has answered before; `started` whether this answer has begun.

    `made_by` is the TLS context that it was made with, None for plain HTTP. `refusal` is how it ended, if that was
    before it was asked anything and TLS may not have come about.
    What arrives is told to `attempt`; with None there, nobody is to hear more and the connection ends.
    """

    __slots__ = (
        "_content_type", "_encoding", "_ended", "_fields", "_kept", "_overread", "_parser", "_paused", "_pool",
        "_silent", "attempt", "endpoint", "idle_since", "made_by", "refusal", "reused", "started", "transport",
    )  # fmt: skip

    def __init__(self, pool: "Pool", endpoint: Endpoint, made_by: ssl.SSLContext | None) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._ended = False
        self._kept = False
        self._overread = False
        self._paused = False
        self._fields = 0
        self._silent = 0
        self.endpoint = endpoint
        self.made_by = made_by
        self.attempt: Attempt | None = None
        self.transport: asyncio.Transport | None = None
        self.refusal: Exception | None = None
        self.reused = False
        self.started = False
        self._content_type = b""
        self._encoding = b""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self, attempt: "Attempt", request: bytes) -> None:
        """Send one request; its answer goes to `attempt`."""
        self.attempt = attempt
        self.started = False
        self._ended = self._kept = False
        self._fields = self._silent = 0
        self._content_type = self._encoding = b""
        if self.transport is not None:
            self.transport.write(request)

    def release(self) -> None:
        """Nobody listens any more: keep the connection if its answer has ended cleanly, else end it."""
        self.attempt = None
        self.resume()
        if self._ended and self._kept and not self._overread:
            self._pool.give(self)
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection now; the engine sees it at once and stops working for nobody."""
        self.attempt = None
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Read no more until `resume`: the client does not keep up."""
        if self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None and self._paused:
            self._paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        attempt = self.attempt
        if attempt is None:
            # An engine that speaks without being asked cannot be trusted with the next request.
            self.started = True
            self._pool.discard(self)
            self.abort()
            return
        self.started = True
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self.attempt is not None:
                self.attempt.answer_malformed()
            return
        if self._silent > _MAX_SILENT and self.attempt is not None:
            attempt.answer_malformed()
        if self.attempt is not None:
            attempt.answer_flush(ended=self._ended)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        transport, self.transport = self.transport, None
        attempt, self.attempt = self.attempt, None
        refused = transport is not None and not self.reused and not self.started and _unsettled(transport)
        if attempt is None:
            self._pool.discard(self)
            self.refusal = (exc or ConnectionResetError()) if refused else None
        elif refused:
            self._pool.refused(self.endpoint, exc)
            attempt.connect_failed()
        else:
            attempt.answer_lost(self)

    def on_message_begin(self) -> None:
        """The parser's: anything after the end of the one answer is more than was asked for."""
        self._overread = self._ended

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""
        self._fields += 1
        if len(name) in (12, 16):
            name = name.lower()
            if name == b"content-type":
                self._content_type = value.lower()
            elif name == b"content-encoding":
                self._encoding = value.lower()

    def on_headers_complete(self) -> None:
        """The parser's."""
        if self.attempt is None or self._ended:
            return
        status = self._parser.get_status_code()
        if status == 100:
            return
        if self._fields > _MAX_FIELDS or status < 200:
            self.attempt.answer_malformed()
            return
        self._silent = 0
        self.attempt.answer_head(status, self._content_type, self._encoding)

    def on_body(self, data: bytes) -> None:
        """The parser's."""
        self._silent = 0
        if self.attempt is not None and not self._ended:
            self.attempt.answer_body(data)

    def on_message_complete(self) -> None:
        """The parser's."""
        if self._parser.get_status_code() != 100:
            self._ended = True
            # Only now: once the message is over, the parser says no to this.
            self._kept = self._parser.should_keep_alive()


def _unsettled(transport: asyncio.Transport) -> bool:
    """Whether TLS may never have come about.

    By 1.3 an engine looks at the gateway's certificate after the handshake is over for the gateway, and may hang up
    without a word; what tells that it did not is a ticket for another session, which it sends next.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return tls is not None and tls.version() == "TLSv1.3" and not (tls.session and tls.session.has_ticket)


class Pool:
    """Idle connections by endpoint, the last used first; none is kept for longer than `idle_seconds`.

    `tls` is how those engines are spoken to that have a name.
    """

    __slots__ = ("_connect_seconds", "_idle", "_idle_seconds", "_loop", "_tls")

    def __init__(self, connect_seconds: float, idle_seconds: float, tls: UpstreamTls) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._idle: dict[Endpoint, list[Upstream]] = {}
        self._tls = tls

    def take(self, endpoint: Endpoint) -> Upstream | None:
        """An idle connection to `endpoint`, if there is one that still lives."""
        idle = self._idle.get(endpoint)
        while idle:
            upstream = idle.pop()
            transport = upstream.transport
            if upstream.made_by is not self._tls.context(endpoint.name):
                upstream.abort()
            elif transport is not None and not transport.is_closing():
                upstream.reused = True
                return upstream
        return None

    def give(self, upstream: Upstream) -> None:
        """Take back a connection whose answer has ended."""
        upstream.idle_since = self._loop.time()
        self._idle.setdefault(upstream.endpoint, []).append(upstream)

    def discard(self, upstream: Upstream) -> None:
        """Forget a connection that has ended."""
        idle = self._idle.get(upstream.endpoint)
        if idle is not None and upstream in idle:
            idle.remove(upstream)

    def connect(self, endpoint: Endpoint, attempt: "Attempt") -> "asyncio.Task[None]":
        """Connect and tell `attempt` of it: `connected` or `connect_failed`. Cancel the task to stop."""
        return self._loop.create_task(self._connect(endpoint, attempt))

    async def _connect(self, endpoint: Endpoint, attempt: "Attempt") -> None:
        try:
            context = self._tls.context(endpoint.name)
            async with asyncio.timeout(self._connect_seconds):
                _, upstream = await self._loop.create_connection(
                    lambda: Upstream(self, endpoint, context),
                    endpoint.host,
                    endpoint.port,
                    ssl=context,
                    server_hostname=endpoint.name or None,
                )
        except (OSError, NobodyTrustedError) as error:
            if isinstance(error, (NobodyTrustedError, ssl.SSLError, ConnectionResetError, ConnectionAbortedError)):
                self.refused(endpoint, error)
            attempt.connect_failed()
            return
        if upstream.transport is None:
            if upstream.refusal is not None:
                self.refused(endpoint, upstream.refusal)
            attempt.connect_failed()
        else:
            attempt.connected(upstream)

    def refused(self, endpoint: Endpoint, error: Exception | None) -> None:
        """A connection came to no TLS, if that is what the engine is spoken to by."""
        if endpoint.name:
            self._tls.fails(endpoint.name, endpoint.address, error)

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of TLS to engines, as `Plane.gauges`."""
        text = "Connections to engines that came to nothing, by who did not trust whom"
        return {"understudy_engine_tls_failed_total": (text, dict(self._tls.failed))}

    def sweep(self, now: float) -> None:
        """End the connections that have been idle for too long."""
        for endpoint, idle in tuple(self._idle.items()):
            while idle and now - idle[0].idle_since >= self._idle_seconds:
                idle.pop(0).abort()
            if not idle:
                del self._idle[endpoint]

    def close(self) -> None:
        """End all idle connections."""
        for idle in tuple(self._idle.values()):
            for upstream in tuple(idle):
                upstream.abort()
        self._idle.clear()
