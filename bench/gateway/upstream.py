"""A mock engine, cheap enough never to be what is measured: answers at once, streams at a given pace.

    python -m bench.gateway.upstream --port 9000 --engines 4 --interval 0.02

Chunks carry the nanosecond (CLOCK_MONOTONIC) at which they were written, so that a client on the same machine can
tell how long each was under way. All streams of an engine get their tokens in steps of a millisecond, as a batch does.
Raw protocol, no parser: what speaks to it is under test elsewhere.
"""

import argparse
import asyncio
import re
import signal
from time import monotonic_ns

import uvloop

TICK = 0.001
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": ?"([^"]*)"')
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = re.compile(rb'"include_usage": ?true')
_EACH = re.compile(rb'"continuous_usage_stats": ?true')
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_ANSWER = (
    b'{"id":"chatcmpl-4f1c9a0277d14c1e","object":"chat.completion","created":1760000000,"model":"%b",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"Once upon a time there was a fox who asked the '
    b'way of everybody it met."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,'
    b'"total_tokens":140,"completion_tokens":20}}'
)
_CHUNK = (
    b'data: {"id":"chatcmpl-4f1c9a0277d14c1e","object":"chat.completion.chunk","created":1760000000,"model":"%b",'
    b'"choices":[{"index":0,"delta":{"content":" t%018d"},"logprobs":null,"finish_reason":%b}]%b}\n\n'
)
_COUNTED = b',"usage":{"prompt_tokens":120,"total_tokens":%d,"completion_tokens":%d}'
_END = (
    b'data: {"id":"chatcmpl-4f1c9a0277d14c1e","object":"chat.completion.chunk","created":1760000000,"model":"%b",'
    b'"choices":[],"usage":{"prompt_tokens":120,"total_tokens":170,"completion_tokens":%d}}\n\n'
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Pace:
    """Streams by the phase of the millisecond at which they began: each gets a token once per interval."""

    def __init__(self, interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._phases: list[set[Engine]] = [set() for _ in range(max(1, round(interval / TICK)))]
        self._turn = 0
        self._due = self._loop.time()
        self._tick()

    def add(self, engine: "Engine") -> "set[Engine]":
        """From now on, until it leaves the set that it is put into."""
        phase = self._phases[self._turn - 1]
        phase.add(engine)
        return phase

    def _tick(self) -> None:
        now = self._loop.time()
        while self._due <= now:
            for engine in tuple(self._phases[self._turn]):
                engine.token()
            self._turn = (self._turn + 1) % len(self._phases)
            self._due += TICK
        self._loop.call_at(self._due, self._tick)


class Engine(asyncio.Protocol):
    """One connection."""

    def __init__(self, pace: Pace, fail_every: int) -> None:
        self._pace = pace
        self._fail_every = fail_every
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._left = 0
        self._count = 0
        self._model = b""
        self._usage = self._each = False
        self._phase: set[Engine] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._phase.discard(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while buffer:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                break
            length = _LENGTH.search(buffer, 0, end)
            size = end + 4 + (int(length[1]) if length is not None else 0)
            if len(buffer) < size:
                break
            self._answer(buffer[end + 4 : size])
            buffer = buffer[size:]
        self._buffer = buffer

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _answer(self, body: bytes) -> None:
        model = _MODEL.search(body)
        self._model = model[1] if model is not None else b"storyteller"
        if _STREAM.search(body):
            tokens = _TOKENS.search(body)
            self._left = self._count = int(tokens[1]) if tokens is not None else 16
            self._usage = _USAGE.search(body) is not None
            self._each = _EACH.search(body) is not None
            self._phase = self._pace.add(self)
            self._write(_STREAM_HEAD)
            self.token()
            return
        if self._fail_every:
            self._count += 1
            if self._count % self._fail_every == 0:
                self._write(_FAILED)
                return
        answer = _ANSWER % self._model
        self._write(_HEAD % (len(answer), answer))

    def _counted(self) -> bytes:
        """The tokens so far, as vLLM tells them with each chunk to those who ask for that."""
        if not self._each:
            return b""
        done = self._count - self._left
        return _COUNTED % (120 + done, done)

    def token(self) -> None:
        """The next token, or the last one and the end."""
        self._left -= 1
        if self._left > 0:
            chunk = _CHUNK % (self._model, monotonic_ns(), b"null", self._counted())
            self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            return
        self._phase.discard(self)
        end = _CHUNK % (self._model, monotonic_ns(), b'"stop"', self._counted())
        if self._usage:
            end += _END % (self._model, self._count)
        end += b"data: [DONE]\n\n"
        self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))


async def _serve(port: int, engines: int, interval: float, fail_every: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pace = Pace(interval)
    # The last engine is the candidate's: only it fails.
    servers = [
        await loop.create_server(
            lambda last=i == engines - 1: Engine(pace, fail_every if last else 0),  # type: ignore[misc]
            "127.0.0.1",
            port + i,
            backlog=1024,
        )
        for i in range(engines)
    ]
    await stop.wait()
    for server in servers:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="of the first engine; the others follow")
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--interval", type=float, default=0.02, help="seconds between two tokens of a stream")
    parser.add_argument(
        "--fail-every", type=int, default=0, help="the last engine's connections fail each n-th request"
    )
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(args.port, args.engines, args.interval, args.fail_every))


if __name__ == "__main__":
    main()
