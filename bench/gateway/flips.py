"""Tables that change under load: does a request fail, how long is the gateway's loop kept, and when do clients see it?

The gateway follows an API server in this process (the tests' own) with hundreds of deployments in it. One of them,
under load, goes from one revision to the other and back, a thousand times; the next change waits until a client has
seen the one before.
"""

import asyncio
import hashlib
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from bench.gateway import ours
from bench.gateway.load import Asker, Tally, requests_of
from bench.gateway.place import CANDIDATE, ENGINES, KEY, MODEL, PATH, PORTS, STABLE, Place
from bench.gateway.processes import OTHERS, TESTED, start
from bench.gateway.scenarios import listens, read, ready
from local.ports import free_ports
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, FakeApi, fake_api, key_secret, slice_object, table_object
from tests.gateway.worlds import endpoints, table

DEPLOYMENTS = 500
CONNECTIONS = 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PAUSE = 0.02


def flips(count: int) -> dict[str, Any]:
    """So many changes, and what came of them."""
    return asyncio.run(_flips(count))


async def _flips(count: int) -> dict[str, Any]:
    engine = free_ports(PORTS)[0]
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        place = Place(Path(name), engine + ENGINES, engine)
        command = [sys.executable, "-m", "bench.gateway.upstream", "--port", str(engine)]
        children = [
            start(command, OTHERS, place.folder / "engines.log", PATH),
            start(ours.ledger(place), OTHERS, place.folder / "ledger.log", PATH),
        ]
        try:
            listens(place.beside, children[1])
            async with fake_api() as api:
                _fill(api, place)
                file = place.folder / "taken.json"
                timed = [sys.executable, "-m", "bench.gateway.timed", str(file)]
                where = [*ours.flags(place), *ours.kept(place), "--api-server", api.url]
                gateway = start([*timed, *where], TESTED, place.folder / "gateway.log", PATH)
                children.append(gateway)
                await asyncio.to_thread(ready, place.admin, gateway)
                found = await _flip(count, api, place)
                gateway.stop()
                taken = orjson.loads(file.read_bytes())
                # The first is what was listed; whatever else came by then is no flip.
                wall, own = (sorted(pair[which] * 1000 for pair in taken[-count:]) for which in (0, 1))
                return {**found, "deployments": DEPLOYMENTS, "wall_ms": _quantiles(wall), "cpu_ms": _quantiles(own)}
        finally:
            for child in reversed(children):
                if child.process.poll() is None:
                    child.stop()


def _fill(api: FakeApi, place: Place) -> None:
    api.page = DEPLOYMENTS
    api.put(SECRETS, key_secret("bench", hashlib.sha256(KEY.encode()).hexdigest(), **ours.ENDLESS))
    for number in range(DEPLOYMENTS - 1):
        name = f"other-{number}"
        api.put(TABLES, table_object(table({STABLE: 90, CANDIDATE: 10}, name=name, names=[name])))
        for revision in (STABLE, CANDIDATE):
            api.put(SLICES, slice_object(endpoints(revision, place.engines, name=name)))
    api.put(SLICES, slice_object(endpoints(STABLE, place.engines[:1], name=MODEL)))
    api.put(SLICES, slice_object(endpoints(CANDIDATE, place.engines[-1:], name=MODEL)))
    _put(api, STABLE)


def _put(api: FakeApi, revision: str) -> None:
    """All conversations to one revision."""
    weights = {each: 100 * (each == revision) for each in (STABLE, CANDIDATE)}
    api.put(TABLES, table_object(table(weights, name=MODEL, names=[MODEL])))


async def _flip(count: int, api: FakeApi, place: Place) -> dict[str, Any]:
    job = {"kind": "requests", "port": place.port, "key": KEY, "model": MODEL, "prompt": 1024, "tokens": 50}
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    tally = Tally(job)
    tally.measuring = True
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Asker(tally), "127.0.0.1", place.port)
    began = time.monotonic()
    seen: list[float] = []
    request = requests_of(job)[0]
    for number in range(count):
        await asyncio.sleep(_PAUSE)
        revision = CANDIDATE if number % 2 == 0 else STABLE
        at = time.perf_counter()
        _put(api, revision)
        while revision.encode() not in await _asked(reader, writer, request):
            pass
        seen.append((time.perf_counter() - at) * 1000)
    seconds = time.monotonic() - began
    lost = tally.lost
    metrics = await asyncio.to_thread(read, f"http://127.0.0.1:{place.admin}/metrics")
    tally.left = 0
    writer.close()
    errors = re.findall(r"^understudy_(?:errors|refused)_total\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
    return {
        "flips": count,
        "requests": tally.done,
        "seconds": seconds,
        "failed": tally.errors + lost + sum(map(float, errors)),
        "seen_ms": _quantiles(sorted(seen)),
    }


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The head of the answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    await reader.readexactly(int(length[1]) if length is not None else 0)
    return head


def _quantiles(values: list[float]) -> dict[str, float]:
    return {"p50": values[len(values) // 2], "p99": values[len(values) * 99 // 100], "longest": values[-1]}
