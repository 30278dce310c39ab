"""Two minimal relays in Python, for comparison: what the language costs before a gateway decides anything.

    python -m bench.gateway.relays floor 8080 9000 4
    python -m bench.gateway.relays aiohttp 8080 9000 4

`floor`: the raw protocol classes that the gateway is made of, httptools on both sides, nothing read but the framing.
`aiohttp`: the same in a few lines of the usual framework, on uvloop as well.
"""

import asyncio
import itertools
import sys
from collections.abc import Iterator

import aiohttp
import httptools
import uvloop
from aiohttp import web


class _Upstream(asyncio.Protocol):
    def __init__(self, pool: "list[_Upstream]") -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.client: _Client | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self in self._pool:
            self._pool.remove(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self.client is not None and self.client.transport is not None:
            self.client.transport.write(data)
        if self._ended:
            self._ended = False
            self.client = None
            self._pool.append(self)

    def on_message_complete(self) -> None:
        self._ended = True


class _Client(asyncio.Protocol):
    def __init__(self, pools: "Iterator[tuple[int, list[_Upstream]]]") -> None:
        self._pools = pools
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []
        self._ended = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._parser.feed_data(data)
        if self._ended:
            self._ended = False
            request = b"".join(self._parts)
            self._parts.clear()
            port, pool = next(self._pools)
            if pool:
                self._send(pool.pop(), request)
            else:
                asyncio.get_running_loop().create_task(self._connect(port, pool, request))

    def on_message_complete(self) -> None:
        self._ended = True

    def _send(self, upstream: _Upstream, request: bytes) -> None:
        upstream.client = self
        if upstream.transport is not None:
            upstream.transport.write(request)

    async def _connect(self, port: int, pool: list[_Upstream], request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: _Upstream(pool), "127.0.0.1", port)
        self._send(upstream, request)


async def _floor(port: int, engines: list[int]) -> None:
    pools = itertools.cycle([(engine, list[_Upstream]()) for engine in engines])
    server = await asyncio.get_running_loop().create_server(lambda: _Client(pools), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def _aiohttp(port: int, engines: list[int]) -> None:
    targets = itertools.cycle([f"http://127.0.0.1:{engine}" for engine in engines])

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        async with session.post(next(targets) + request.path, data=body, headers=headers) as answer:
            kind = answer.headers["Content-Type"]
            if not kind.startswith("text/event-stream"):
                return web.Response(body=await answer.read(), status=answer.status, headers={"Content-Type": kind})
            stream = web.StreamResponse(headers={"Content-Type": kind})
            await stream.prepare(request)
            async for data in answer.content.iter_any():
                await stream.write(data)
            await stream.write_eof()
            return stream

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", relay)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


def main() -> None:
    kind, port, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    serve = {"floor": _floor, "aiohttp": _aiohttp}[kind]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(port, list(range(first, first + count))))


if __name__ == "__main__":
    main()
