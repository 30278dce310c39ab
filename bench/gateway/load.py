"""The load: connections that ask one after the other, or streams whose every chunk is timed. One process.

    python -m bench.gateway.load '{"kind": "requests", "port": 8080, "connections": 32, "seconds": 5, …}'

Prints one JSON object. CPU time of the processes under test is read at the edges of the measured time by this process
itself, so that start and warm-up are outside. Times between machines' clocks do not occur: everything is on loopback.
"""

import asyncio
import contextlib
import gc
import re
import sys
import time
from array import array
from typing import Any

import orjson
import uvloop

from bench.gateway.processes import cpu_seconds

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STAMP = re.compile(rb" t(\d{18})")
_CONVERSATIONS = 256
_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
_WORDS = "the fox asked the owl which of the two roads led to the river and the owl said neither of them did\n"


def requests_of(job: dict[str, Any]) -> list[bytes]:
    """Whole requests, each the opening of another conversation, whose prompt has `prompt` bytes."""
    made = []
    for number in range(_CONVERSATIONS):
        text = f"Conversation {number}: "
        text += (_WORDS * (job["prompt"] // len(_WORDS) + 1))[: max(0, job["prompt"] - len(text))]
        body: dict[str, Any] = {
            "model": job["model"],
            "messages": [
                {"role": "system", "content": "You tell short stories to children, and never say who you are."},
                {"role": "user", "content": text},
            ],
            "max_tokens": job["tokens"],
            "temperature": 0.7,
        }
        if job["kind"] == "streams":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        payload = orjson.dumps(body)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\nAccept: application/json\r\n"
            f"User-Agent: bench\r\nAuthorization: Bearer {job['key']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )
        made.append(head.encode() + payload)
    return made


class Tally:
    """What came back. `measuring` between the edges of the measured time only."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.requests = requests_of(job)
        self.left = job.get("total", 1 << 62)
        self.sessions = job.get("sessions", False)
        self.finished = asyncio.Event()
        self.measuring = False
        self.turn = 0
        self.done = 0
        self.chunks = 0
        self.errors = 0
        self.lost = 0
        self.latencies = array("q")
        self.transits = array("q")

    def next(self) -> bytes:
        """The next request to send; empty when there have been enough."""
        self.left -= 1
        if self.left < 0:
            self.finished.set()
            return b""
        self.turn += 1
        request = self.requests[self.turn % len(self.requests)]
        # A session of its own for every third request: conversations that go on, and ever new ones.
        return request.replace(b"\r\n", b"\r\nx-session-id: %d\r\n" % (self.turn // 3), 1) if self.sessions else request


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._tally.lost += 1

    def ask(self) -> None:
        """Send the next request."""
        if self._transport is not None:
            self._sent = time.monotonic_ns()
            self._transport.write(self._tally.next())

    def ended(self, *, good: bool) -> None:
        """An answer is whole."""
        tally = self._tally
        if not good:
            tally.errors += 1
        elif tally.measuring:
            tally.done += 1
        self.ask()


class Asker(Client):
    """Asks for whole answers."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, end) if end >= 0 else None
        whole = len(data) >= end + 4 + int(length[1]) if length is not None else data.endswith(b"0\r\n\r\n")
        if end < 0 or not whole:
            self._buffer = data
            return
        self._buffer = b""
        if self._tally.measuring:
            self._tally.latencies.append(time.monotonic_ns() - self._sent)
        self.ended(good=data.startswith(b"HTTP/1.1 200"))


class Listener(Client):
    """Asks for streams and times each chunk of them."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self._tail = b""
        self._head = b""
        self._began = False
        self._done = False

    def ask(self) -> None:
        self._tail = self._head = b""
        self._began = self._done = False
        super().ask()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        tally = self._tally
        self._head = self._head or data[:16]
        data = self._tail + data
        end = 0
        for stamp in _STAMP.finditer(data):
            end = stamp.end()
            if tally.measuring:
                tally.chunks += 1
                tally.transits.append(now - int(stamp[1]))
                if not self._began:
                    tally.latencies.append(now - self._sent)
            self._began = True
        self._done = self._done or b"[DONE]" in data
        if data.endswith(b"0\r\n\r\n"):
            self.ended(good=self._done and self._head.startswith(b"HTTP/1.1 200"))
        else:
            self._tail = data[max(end, len(data) - 20) :]


def quantiles(values: "array[int]") -> dict[str, float]:
    """Milliseconds at 50, 99 and 99.9 %."""
    found = sorted(values)
    if not found:
        return {}
    return {name: found[min(len(found) - 1, int(q * len(found)))] / 1e6 for name, q in _QUANTILES}


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """One job: warm up, measure for `seconds`, say what came back and what it cost whom."""
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    kind = Listener if job["kind"] == "streams" else Asker
    began = time.monotonic()
    for number in range(job["connections"]):
        # Streams begin evenly over the warm-up: engines are not asked by everybody at once.
        if job["kind"] == "streams":
            due = began + job["warmup"] * 0.8 * number / job["connections"]
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await loop.create_connection(lambda: kind(tally), "127.0.0.1", job["port"])
    await asyncio.sleep(max(0.0, began + job["warmup"] - time.monotonic()))
    gc.collect()
    gc.freeze()
    before = {name: cpu_seconds(pids) for name, pids in job["watch"].items()}
    own, start = time.process_time(), time.monotonic()
    tally.measuring = True
    errors, lost = tally.errors, tally.lost
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(job["seconds"]):
            await tally.finished.wait()
    tally.measuring = False
    wall, own = time.monotonic() - start, time.process_time() - own
    after = {name: cpu_seconds(pids) for name, pids in job["watch"].items()}
    return {
        "seconds": wall,
        "requests": tally.done,
        "chunks": tally.chunks,
        "errors": tally.errors - errors,
        "lost": tally.lost - lost,
        "latency": quantiles(tally.latencies),
        "transit": quantiles(tally.transits),
        "cpu": {"load": own, **{name: after[name] - before[name] for name in before}},
    }


def main() -> None:
    job = orjson.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(orjson.dumps(runner.run(run(job))).decode())


if __name__ == "__main__":
    main()
