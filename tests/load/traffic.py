"""Conversations of many people at once, and what became of each: the load of the tests on a real cluster.

It runs in a thread with a loop of its own, so that a test reads top to bottom: given load, when something breaks,
then nobody noticed.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import aiohttp
import orjson
import uvloop

T = TypeVar("T")


@dataclass(slots=True)
class Record:
    """One request, from the client's side. Times are seconds on the monotonic clock.

    `truncated`: the answer began (its first event arrived) and did not end with `[DONE]`. `error` says what the
    client saw; a request that ended well has none.
    """

    session: str
    sent: float
    first: float | None = None
    ended: float | None = None
    status: int = 0
    revision: str = ""
    track: str = ""
    pod: str = ""
    events: int = 0
    done: bool = False
    error: str = ""

    @property
    def truncated(self) -> bool:
        """The answer began and did not come to its end."""
        return self.first is not None and not self.done

    @property
    def failed(self) -> bool:
        """No answer began: the client got an error, or nothing."""
        return self.first is None and bool(self.error)


def shares(records: Iterable[Record]) -> Counter[str]:
    """How many conversations (distinct sessions) each revision answered."""
    return Counter(revision for _, revision in {(r.session, r.revision) for r in records if r.revision})


def flips(records: Iterable[Record]) -> dict[str, list[str]]:
    """Sessions that came back to a revision that they had left, with the order of revisions that they saw."""
    seen: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda r: r.sent):
        if record.revision:
            order = seen.setdefault(record.session, [])
            if not order or order[-1] != record.revision:
                order.append(record.revision)
    return {session: order for session, order in seen.items() if len(order) > len(set(order))}


class Traffic:
    """Background conversations on one served name, begun on entry and ended on exit.

    `streams` workers talk, each going round its own ten sessions with answers of `tokens` tokens and `pause` seconds
    after each: without any, they would take the CPU that scenarios beside them need. `long_streams` more ask for
    `long_tokens` each. The engine's inter-token time makes these long in seconds.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        model: str,
        streams: int = 20,
        tokens: int = 3,
        long_streams: int = 0,
        long_tokens: int = 350,
        pause: float = 0.1,
    ) -> None:
        self._url = f"{base_url}/v1/chat/completions"
        self._key = key
        self._model = model
        self._shape = (streams, tokens, long_streams, long_tokens)
        self._pause = pause
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._stopping = threading.Event()
        self._workers: list[Future[None]] = []
        self._client: aiohttp.ClientSession | None = None
        self.records: list[Record] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open()).result(30)
        streams, tokens, long_streams, long_tokens = self._shape
        for number in range(streams):
            self._workers.append(self._call(self._talk(f"s{number}", tokens, 10)))
        for number in range(long_streams):
            self._workers.append(self._call(self._talk(f"long{number}", long_tokens, 1)))
        return self

    def __exit__(self, *_: object) -> None:
        """Ask the workers to stop, let every stream end by itself, close."""
        self._stopping.set()
        for worker in self._workers:
            worker.result(180)
        self._call(self._close()).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def burst(self, count: int, concurrency: int = 48) -> list[Record]:
        """`count` new conversations of one short answer each; returns their records when all have ended."""
        return self._call(self._burst(count, concurrency)).result(600)

    def failed(self) -> list[Record]:
        """Requests that got no answer."""
        return [r for r in self.records if r.failed]

    def truncated(self) -> list[Record]:
        """Answers that began and did not end, of those whose worker is through with them."""
        return [r for r in self.records if r.ended is not None and r.truncated]

    def report(self) -> str:
        """One line for the test's output."""
        longest = max(((r.ended or r.sent) - r.sent for r in self.records), default=0.0)
        return (
            f"{len(self.records)} requests, {dict(shares(self.records))} conversations by revision, "
            f"{len(self.failed())} failed, {len(self.truncated())} truncated, {len(flips(self.records))} flipped, "
            f"longest {longest:.1f} s"
        )

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _open(self) -> None:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=300, connect=20),
        )

    async def _close(self) -> None:
        assert self._client is not None
        await self._client.close()

    async def _talk(self, prefix: str, tokens: int, sessions: int) -> None:
        for turn in itertools.count():
            if self._stopping.is_set():
                return
            record = await self._ask(f"{prefix}-{turn % sessions}", tokens)
            # A refused client does not hammer; it tries again like a person would.
            await asyncio.sleep(0.2 if record.error else self._pause)

    async def _burst(self, count: int, concurrency: int) -> list[Record]:
        gate = asyncio.Semaphore(concurrency)
        stamp = time.monotonic_ns()

        async def one(number: int) -> Record:
            async with gate:
                return await self._ask(f"b{stamp}-{number}", 1)

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def _ask(self, session: str, tokens: int) -> Record:
        assert self._client is not None
        record = Record(session, time.monotonic())
        self.records.append(record)
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": f"This is {session}. Say something."}],
            "max_tokens": tokens,
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {self._key}", "x-session-id": session}
        try:
            async with self._client.post(self._url, json=body, headers=headers) as answer:
                record.status = answer.status
                record.revision = answer.headers.get("x-understudy-revision", "")
                record.track = answer.headers.get("x-understudy-track", "")
                if answer.status != 200:
                    record.error = f"{answer.status}: {(await answer.text())[:300]}"
                else:
                    await self._read(answer, record)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            record.error = repr(error)
        record.ended = time.monotonic()
        return record

    async def _read(self, answer: aiohttp.ClientResponse, record: Record) -> None:
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                record.done = True
                continue
            event = orjson.loads(line[6:])
            if "error" in event:
                record.error = str(event["error"])
                continue
            if record.first is None:
                record.first = time.monotonic()
                record.pod = event.get("system_fingerprint") or ""
            record.events += 1
        if not record.done and not record.error:
            record.error = "the stream ended without [DONE]"
