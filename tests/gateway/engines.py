"""Engines for tests that do, byte by byte, what a script says: the good and every kind of bad."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Asked:
    """One request as an engine got it. `closed` is set when its connection ends."""

    method: str
    path: str
    fields: dict[str, str]
    body: dict[str, Any]
    raw_head: bytes
    writer: asyncio.StreamWriter
    closed: asyncio.Event
    connection: int

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body["model"])

    async def send(self, data: bytes) -> None:
        """Bytes to the gateway."""
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: Any, fields: str = "") -> None:
        """A whole JSON answer."""
        payload = body if isinstance(body, bytes) else orjson.dumps(body)
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n{fields}\r\n"
        )
        await self.send(head.encode() + payload)

    async def begin_stream(self, fields: str = "") -> None:
        """The head of an event stream."""
        kind = "Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
        await self.send(f"HTTP/1.1 200 OK\r\n{kind}{fields}\r\n".encode())

    async def event(self, data: bytes) -> None:
        """One event in a chunk of its own."""
        await self.send(chunk(b"data: %b\n\n" % data))

    async def say(self, text: str) -> None:
        """One token."""
        await self.event(delta(self.model, text))

    async def end_stream(self) -> None:
        """The last events and the end of the body."""
        await self.event(delta(self.model, "", finish="stop"))
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.event(usage_chunk(self.model))
        await self.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def reset(self) -> None:
        """End the connection as a killed process does."""
        self.writer.transport.abort()


Script = Callable[[Asked], Awaitable[None]]


@dataclass
class Engine:
    """One scripted engine; `asked` are the requests so far, `script` may be changed at any time."""

    script: Script
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def kill(self) -> None:
        """Stop listening and reset every connection."""
        if self.server is not None:
            self.server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def request(self, number: int = 1) -> Asked:
        """The n-th request, once it is here."""
        while len(self.asked) < number:
            self.arrived.clear()
            await self.arrived.wait()
        return self.asked[number - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        closed = asyncio.Event()
        try:
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                asked = await _read(raw, reader, writer, closed, number)
                self.asked.append(asked)
                self.arrived.set()
                running = asyncio.ensure_future(self.script(asked))
                await _watch(running, reader, closed)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            # The test is over; streams would report this as a failure of their own.
            pass
        finally:
            closed.set()
            self._writers.discard(writer)
            writer.transport.abort()


async def _watch(running: "asyncio.Future[None]", reader: asyncio.StreamReader, closed: asyncio.Event) -> None:
    """Let the script run, and notice when the gateway goes away meanwhile."""
    while not running.done():
        if reader.at_eof() or reader.exception() is not None:
            closed.set()
        await asyncio.wait([running], timeout=0.005)
    if not running.cancelled() and isinstance(running.exception(), Exception):
        error = running.exception()
        if not isinstance(error, ConnectionError):
            raise AssertionError(f"a script failed: {error!r}") from error


async def _read(
    raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, closed: asyncio.Event, number: int
) -> Asked:
    line, *lines = raw[:-4].decode().split("\r\n")
    method, path, _ = line.split(" ")
    fields = {name.lower(): value for name, value in (entry.split(": ", 1) for entry in lines)}
    body = orjson.loads(await reader.readexactly(int(fields.get("content-length", "0"))))
    return Asked(method, path, fields, body, raw, writer, closed, number)


@asynccontextmanager
async def engine(script: Script | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Engine]:
    """A scripted engine on a loopback port; without a script it answers well."""
    made = Engine(script or answers_well())
    made.server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=64 * 1024 * 1024, ssl=tls)
    made.port = made.server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await made.kill()


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(model: str, text: str, finish: str | None = None) -> bytes:
    """One event's JSON."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return orjson.dumps({**head, "choices": [choice]})


def usage_chunk(model: str) -> bytes:
    """The event that tells the tokens used."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return orjson.dumps({**head, "choices": [], "usage": usage})


def completion(model: str, text: str = "once upon a time") -> dict[str, Any]:
    """A whole chat answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": model}
    return {**head, "choices": [choice], "usage": usage}


def answers_well(*tokens: str, pace: float = 0.0) -> Script:
    """Answers at once; streams `tokens`, `pace` seconds apart."""
    words = tokens or ("once", " upon", " a time")

    async def script(asked: Asked) -> None:
        if not asked.body.get("stream"):
            await asked.answer(200, completion(asked.model, "".join(words)))
            return
        await asked.begin_stream()
        for word in words:
            await asked.say(word)
            if pace:
                await asyncio.sleep(pace)
        await asked.end_stream()

    return script


def holds_streams(finish: asyncio.Event) -> Script:
    """Says `one` on a stream, and ends it when told to; answers everything else at once."""

    async def script(asked: Asked) -> None:
        if asked.body.get("stream"):
            await asked.begin_stream()
            await asked.say("one")
            await finish.wait()
            await asked.end_stream()
        else:
            await answers_well()(asked)

    return script


def answers_status(status: int, body: Any = None) -> Script:
    """Answers every request with one status."""

    async def script(asked: Asked) -> None:
        await asked.answer(status, body or {"error": {"message": f"it is {status} for {asked.model}", "code": status}})

    return script


async def hangs(asked: Asked) -> None:
    """Never answers."""
    await asked.closed.wait()


async def resets(asked: Asked) -> None:
    """Ends the connection instead of answering."""
    asked.reset()


def sends(*pieces: bytes | Callable[[str], bytes], then_close: bool = True) -> Script:
    """Sends bytes as they are; a piece may be made from the model that was asked for."""

    async def script(asked: Asked) -> None:
        for piece in pieces:
            await asked.send(piece if isinstance(piece, bytes) else piece(asked.model))
        if then_close:
            asked.writer.close()

    return script


def stream_bytes(model: str, *tokens: str) -> bytes:
    """A whole streamed answer as bytes."""
    body = b"".join(chunk(b"data: %b\n\n" % delta(model, token)) for token in tokens)
    body += chunk(b"data: %b\n\n" % delta(model, "", finish="stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + body
