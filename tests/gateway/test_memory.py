"""Clients that hold on, and clients that let go: the memory of a gateway process, and how soon engines are told.

Each wave is of one kind of slowness; what it may cost is written beside it, per client, and the second wave of the same
kind must find room in what the first one took.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bench.gateway.processes import memory_mb
from tests.gateway.clients import Client, ask, chat, client, exchange, request
from tests.gateway.engines import Asked, answers_well, engine, hangs
from tests.gateway.gateways import gateway, until
from tests.gateway.processes import Process, process
from tests.gateway.test_process import written
from tests.gateway.test_requests import BODY, CHUNKS, chunked, head_only
from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from understudy.gateway.policy.chunks import ChunkReader
from understudy.gateway.policy.head import Head
from understudy.gateway.wire.attempt import Attempt
from understudy.gateway.wire.connection import Connection
from understudy.gateway.wire.exchange import Exchange
from understudy.gateway.wire.relay import Relay
from understudy.gateway.wire.reply import Reply

EVENT = "x" * 60_000
READERS, HEADS, BODIES = 30, 200, 40


async def talks_without_end(asked: Asked) -> None:
    if not asked.body.get("stream"):
        await answers_well()(asked)
        return
    await asked.begin_stream()
    while not asked.closed.is_set():
        await asked.say(EVENT)


@asynccontextmanager
async def many(p: Process, number: int, raw: bytes) -> AsyncIterator[list[Client]]:
    """So many clients that have sent the bytes, and read nothing."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(p.port)) for _ in range(number)]
        for one in clients:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]
            one.writer.write(raw)
        yield clients


async def settled(p: Process) -> float:
    """Memory in MB, once it does not grow any more."""
    before = 0.0
    while (now := memory_mb([p.child.pid])) > before + 0.2:
        before = now
        await asyncio.sleep(0.3)
    return now


async def waves(p: Process, number: int, raw: bytes) -> list[float]:
    """What each of three waves adds to the memory that there was before the first, in MB."""
    assert (await ask(p.port)).status == 200
    start = await settled(p)
    added = []
    for _ in range(3):
        async with many(p, number, raw):
            added.append(await settled(p) - start)
    assert (await ask(p.port)).status == 200
    return added


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "raw", "each"),
    [
        # 64 KiB wait to be sent, and a read of 256 KiB was under way; copies of both while they are made.
        pytest.param(READERS, request(chat(stream=True)), 1.0, id="slow readers"),
        # A head has 64 KiB.
        pytest.param(HEADS, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60_000, 0.15, id="heads without an end"),
        # All bodies have 64 MiB together, whatever they are: 1.6 MiB each.
        pytest.param(BODIES, head_only(**CHUNKS) + b"200000\r\n" + b"x" * 0x1FFFFF, 3.0, id="bodies without an end"),
    ],
)
async def test_memory_is_bounded(number: int, raw: bytes, each: float, tmp_path: Path) -> None:
    async with (
        engine(talks_without_end) as e,
        process(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))) as p,
    ):
        added = await waves(p, number, raw)
        print("added by each wave, MB:", " ".join(f"{mb:.1f}" for mb in added))
        assert max(added) < number * each
        assert added[2] < added[0] + number * each / 4


async def told(asked: Asked) -> float:
    """Milliseconds until an engine sees the end of its connection."""
    began = time.perf_counter()
    await asyncio.wait_for(asked.closed.wait(), 30)
    return (time.perf_counter() - began) * 1000


@pytest.mark.parametrize("how", ["end", "close", "reset"])
@pytest.mark.parametrize("state", ["silent", "streaming", "paused"])
async def test_an_engine_is_told_when_its_client_goes(state: str, how: str) -> None:
    async with (
        engine(hangs if state == "silent" else talks_without_end) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g,
        client(g.port) as c,
    ):
        await c.send(request(chat(stream=True)))
        asked = await e.request()
        if state != "silent":
            await c.until(b"x")
        if state == "paused":
            c.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: any(connection.paused for connection in g.plane.connections))
        if how == "end":
            c.writer.write_eof()
        elif how == "close":
            c.writer.close()
        else:
            c.writer.transport.abort()
        print(f"{state}, {how}: {await told(asked):.1f} ms")
        await g.quiet()
        assert g.state(STABLE).failed == 0


@pytest.mark.parametrize("how", ["end", "close"])
async def test_who_goes_while_it_waits_in_the_queue_never_reaches_an_engine(how: str) -> None:
    document = snapshot([table(queue={"perPod": 1})], [])
    async with engine(hangs) as e, gateway(document) as g, client(g.port) as first, client(g.port) as second:
        g.change(snapshot([table(queue={"perPod": 1}, generation=2)], [endpoints(STABLE, [e.port])]))
        await first.send(request(chat("first")))
        asked = await e.request()
        # What was pipelined behind it goes too.
        await second.send(request(chat("second")) + request(chat("third")))
        await g.waits()
        if how == "end":
            second.writer.write_eof()
        else:
            second.writer.close()
        await g.waits(0)
        first.writer.close()
        await told(asked)
        await g.quiet()
        assert [a.body["messages"][0]["content"] for a in e.asked] == ["first"]


KEPT = (ChunkReader, Head, Connection, Exchange, Attempt, Reply, Relay)


def alive() -> Counter[str]:
    return Counter(type(o).__name__ for o in gc.get_objects() if isinstance(o, KEPT))


@pytest.mark.slow
async def test_nothing_of_a_request_waits_for_the_garbage_collector() -> None:
    """A body that is in a circle stays, counted by nobody, until a collection of everything: one in many thousands."""
    chunked_body = head_only(**CHUNKS) + chunked(BODY)
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        gc.collect()
        gc.disable()
        try:
            async with client(g.port) as c:
                for raw in (request(), request(chat(stream=True)), chunked_body, chunked_body, request(b"{}")):
                    await c.send(raw)
                    assert (await c.answer()).complete
            for raw in (request(), request(chat(stream=True)), chunked_body[:-2], chunked_body[:-9], request()[:-3]):
                async with client(g.port) as c:
                    await c.send(raw)
                    await until(lambda: bool(g.plane.connections))
            for raw in (head_only(**CHUNKS) + b"zz\r\n", b"junk", request(b"", "/nowhere")):
                await exchange(g.port, raw)
            await until(lambda: not g.plane.connections)
            await g.quiet()
            async with asyncio.timeout(30):
                await until(lambda: alive() - Counter({"Head": 1}) == Counter())
        finally:
            gc.enable()
