"""Does our gateway's memory grow? A million requests while everything that it remembers changes all the time.

An API server in this process (the tests' own) changes weights ten times a second, starts a rollout of a revision never
seen before each second, and makes and revokes access keys. The candidate fails at times, so that conversations are
retried and pinned; every third request begins a new conversation.
"""

import asyncio
import hashlib
import sys
import tempfile
from pathlib import Path
from statistics import linear_regression
from typing import Any

import orjson

from bench.gateway import ours
from bench.gateway.place import CANDIDATE, ENGINES, KEY, MODEL, PATH, PORTS, ROOT, STABLE, Place
from bench.gateway.processes import OTHERS, TESTED, Child, memory_mb, start
from bench.gateway.scenarios import BenchError, listens, read, ready
from local.ports import free_ports
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, FakeApi, fake_api, key_secret, slice_object, table_object
from tests.gateway.worlds import endpoints, table

_KEYS = 20
_SAMPLE_SECONDS = 1.0
_FAIL_EVERY = 50


def drift(requests: int) -> dict[str, Any]:
    """Memory by requests answered, and its slope over all but the first fifth."""
    return asyncio.run(_drift(requests))


async def _drift(requests: int) -> dict[str, Any]:
    engine = free_ports(PORTS)[0]
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        place = Place(Path(name), engine + ENGINES, engine)
        command = [sys.executable, "-m", "bench.gateway.upstream", "--port", str(engine)]
        children = [
            start([*command, "--fail-every", str(_FAIL_EVERY)], OTHERS, place.folder / "engines.log", PATH),
            start(ours.ledger(place), OTHERS, place.folder / "ledger.log", PATH),
        ]
        try:
            listens(place.beside, children[1])
            async with fake_api() as api:
                _first(api, engine)
                where = [*ours.flags(place), *ours.kept(place), "--api-server", api.url]
                command = [sys.executable, "-m", "understudy.cli.main", *where]
                gateway = start(command, TESTED, place.folder / "gateway.log", PATH)
                children.append(gateway)
                await asyncio.to_thread(ready, place.admin, gateway)
                churn = asyncio.create_task(_churn(api, engine))
                try:
                    return await _load(requests, place.port, place.admin, gateway)
                finally:
                    churn.cancel()
        finally:
            for child in children:
                child.stop()


def _first(api: FakeApi, engine: int) -> None:
    api.put(TABLES, table_object(table({STABLE: 90, CANDIDATE: 10}, name="story", names=[MODEL])))
    for port in range(engine, engine + ENGINES - 1):
        api.put(SLICES, slice_object({**endpoints(STABLE, [port]), "slice": f"story-{STABLE}-{port}"}))
    api.put(SLICES, slice_object(endpoints(CANDIDATE, [engine + ENGINES - 1])))
    api.put(SECRETS, key_secret("bench", hashlib.sha256(KEY.encode()).hexdigest(), **ours.ENDLESS))


async def _churn(api: FakeApi, engine: int) -> None:
    candidate, turn = CANDIDATE, 0
    while True:
        await asyncio.sleep(0.1)
        turn += 1
        if turn % 10 == 0:
            api.delete(SLICES, "default", f"story-{candidate}-x")
            candidate = f"{turn:08x}"
            api.put(SLICES, slice_object(endpoints(candidate, [engine + ENGINES - 1])))
        weight = 10 + 40 * (turn % 2)
        given = table({STABLE: 100 - weight, candidate: weight}, name="story", names=[MODEL])
        given["spec"] |= {"epoch": 1 + turn // 10, "salt": candidate}
        api.put(TABLES, table_object(given))
        api.put(SECRETS, key_secret(f"key-{turn}", hashlib.sha256(b"%d" % turn).hexdigest()))
        if turn > _KEYS:
            api.delete(SECRETS, "understudy-system", f"key-{turn - _KEYS}")


async def _load(requests: int, port: int, admin: int, gateway: Child) -> dict[str, Any]:
    job = {
        "kind": "requests", "port": port, "key": KEY, "model": MODEL, "connections": 32, "prompt": 1024, "tokens": 50,
        "seconds": 36_000, "warmup": 0.0, "total": requests, "sessions": True, "watch": {"tested": gateway.pids},
    }  # fmt: skip
    load = await asyncio.create_subprocess_exec(
        "taskset", "--cpu-list", OTHERS, sys.executable, "-m", "bench.gateway.load", orjson.dumps(job).decode(),
        cwd=ROOT, env=PATH, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    samples: list[tuple[float, float]] = []
    said = asyncio.create_task(load.communicate())
    while not said.done():
        await asyncio.wait([said], timeout=_SAMPLE_SECONDS)
        samples.append((await _metric(admin, "understudy_answered_total"), memory_mb(gateway.pids)))
    if load.returncode:
        raise BenchError("the load ended before its time")
    late = [sample for sample in samples if sample[0] >= requests / 5]
    slope = linear_regression([s[0] for s in late], [s[1] for s in late]).slope * 1e6
    found = orjson.loads((await said)[0])
    return {
        "requests": found["requests"],
        "errors": found["errors"],
        "seconds": found["seconds"],
        "samples": samples[:: max(1, len(samples) // 200)],
        "mb_per_million": slope,
        "mb_first": late[0][1],
        "mb_last": late[-1][1],
        "retries": await _metric(admin, "understudy_retries_total"),
        "failovers": await _metric(admin, "understudy_failovers_total"),
    }


async def _metric(admin: int, name: str) -> float:
    return ours.metric(await asyncio.to_thread(read, f"http://127.0.0.1:{admin}/metrics"), name)
