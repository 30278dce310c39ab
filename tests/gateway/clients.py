"""Clients that see every byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools
import orjson

from tests.gateway.worlds import KEY

CHAT = "/v1/chat/completions"


@dataclass
class Answer:
    """One parsed answer. `complete` is whether its end came as its head had promised."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])

    @property
    def events(self) -> list[Any]:
        """Payloads of the events: JSON, or "[DONE]". Comments are passed over."""
        parts = [part for part in self.body.split(b"\n\n") if part and not part.startswith(b":")]
        payloads = [part.removeprefix(b"data: ") for part in parts]
        return ["[DONE]" if payload == b"[DONE]" else orjson.loads(payload) for payload in payloads]

    @property
    def text(self) -> str:
        """What was said, streamed or not."""
        if self.fields.get("content-type", "").startswith("text/event-stream"):
            said = [e["choices"][0]["delta"] for e in self.events if e != "[DONE]" and e.get("choices")]
            return "".join(part.get("content") or "" for part in said)
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def done(self) -> bool:
        """Whether a stream came to its end mark."""
        return bool(self.events) and self.events[-1] == "[DONE]"


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answers: list[Answer] = []
        self._answer = Answer()

    def on_message_begin(self) -> None:
        self._answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.fields[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._answer.body += data

    def on_message_complete(self) -> None:
        self._answer.complete = True
        if self._answer.status != 100:
            self._answers.append(self._answer)

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer; an incomplete one if the connection ends within it."""
        while not self._answers:
            try:
                data = await self.reader.read(65536)
            except ConnectionError:
                data = b""
            if not data:
                return self._answer
            self._parser.feed_data(data)
        found = self._answers.pop(0)
        if self._answer is found:
            self._answer = Answer()
        return found

    async def until(self, text: bytes) -> None:
        """Read on until the answer that is coming holds `text`."""
        while text not in self._answer.body:
            data = await self.reader.read(65536)
            assert data, "the connection ended"
            self._parser.feed_data(data)

    async def ask(self, body: Any = None, path: str = CHAT, **fields: str) -> Answer:
        """One request, and its answer."""
        await self.send(request(body, path, **fields))
        return await self.answer()

    async def ended(self) -> bool:
        """Whether the gateway ends the connection, with nothing more on it."""
        try:
            return await self.reader.read(65536) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def client(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """A connection to the gateway; `tls` trusts a certificate of localhost."""
    name = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, limit=16 * 1024 * 1024, ssl=tls, server_hostname=name
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def chat(text: str = "hi", **more: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": "storyteller", "messages": [{"role": "user", "content": text}], **more}


def request(body: Any = None, path: str = CHAT, method: str = "POST", **fields: str) -> bytes:
    """A request's bytes; an underscore in a field's name stands for a dash, an empty value leaves it out."""
    payload = body if isinstance(body, bytes) else orjson.dumps(chat() if body is None else body)
    given: Mapping[str, str] = {
        "host": "gateway",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(payload)),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + payload


async def ask(port: int, body: Any = None, path: str = CHAT, **fields: str) -> Answer:
    """One request on a connection of its own."""
    async with client(port) as one:
        return await one.ask(body, path, **fields)


async def exchange(port: int, raw: bytes) -> tuple[Answer, bool]:
    """Bytes as they are, the answer to them, and whether the connection ended after it."""
    async with client(port) as one:
        await one.send(raw)
        answer = await one.answer()
        one.writer.write_eof()
        return answer, await one.ended()
