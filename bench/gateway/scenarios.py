"""What is measured, and how one measurement is taken: one peer, one scenario, a fixed time."""

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.gateway.peers import ENGINES, KEY, MODEL, ROOT, Peer, Place
from bench.gateway.processes import Child, busy_seconds, memory_mb, start
from local.ports import free_ports

# The process under test has a core of its own; engines and load share the other.
TESTED, OTHERS = 1, 0


@dataclass(frozen=True)
class Scenario:
    """One load. `prompt` is in bytes, `tokens` the chunks of a stream, `interval` the seconds between two of them."""

    name: str
    kind: str
    connections: int
    prompt: int
    tokens: int = 50
    interval: float = 0.02


SCENARIOS = (
    Scenario("small", "requests", connections=32, prompt=1024),
    Scenario("single", "requests", connections=1, prompt=1024),
    Scenario("large", "requests", connections=16, prompt=64 * 1024),
    Scenario("streams-100", "streams", connections=100, prompt=1024),
    Scenario("streams-600", "streams", connections=600, prompt=1024),
)


class BenchError(RuntimeError):
    """A measurement that could not be taken; the message says why."""


@contextmanager
def serving(peer: Peer | None, interval: float) -> Iterator[tuple[Place, Child, Child | None, float]]:
    """Engines and a peer (None: nobody between load and engines), up, with the seconds that the peer's start took."""
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        engine = free_ports(ENGINES + 2)[0]
        place = Place(Path(name), engine + ENGINES, engine)
        path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"}
        command = [sys.executable, "-m", "bench.gateway.upstream", "--port", str(engine)]
        engines = start([*command, "--interval", str(interval)], OTHERS, place.folder / "engines.log", path)
        tested: Child | None = None
        try:
            _answers(engine, engines, 30.0)
            if peer is None:
                yield Place(place.folder, engine, engine), engines, None, 0.0
                return
            tested = start(peer.command(place), TESTED, place.folder / "tested.log", peer.environ)
            seconds = _answers(place.port, tested, peer.start_seconds)
            yield place, engines, tested, seconds
        finally:
            if tested is not None:
                tested.stop()
            engines.stop()


def measure(peer: Peer | None, scenario: Scenario, seconds: float, warmup: float) -> dict[str, Any]:
    """One measurement: the load's own words, with memory, cold start, and how busy everybody was."""
    connections = scenario.connections
    if peer is not None and peer.streams and scenario.kind == "streams":
        connections = peer.streams
    with serving(peer, scenario.interval) as (place, engines, tested, started):
        job = {
            "kind": scenario.kind,
            "port": place.port,
            "key": KEY,
            "model": MODEL,
            "connections": connections,
            "prompt": scenario.prompt,
            "tokens": scenario.tokens,
            "seconds": seconds,
            "warmup": warmup,
            "watch": {"tested": tested.pids if tested is not None else [], "engines": engines.pids},
        }
        busy, began = busy_seconds(), time.monotonic()
        said = subprocess.run(
            ["taskset", "--cpu-list", str(OTHERS), sys.executable, "-m", "bench.gateway.load", orjson.dumps(job)],
            cwd=ROOT,
            capture_output=True,
            check=False,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"},
        )
        if said.returncode:
            raise BenchError(said.stderr.decode()[-2000:])
        wall = time.monotonic() - began
        found: dict[str, Any] = orjson.loads(said.stdout)
        found["machine_busy"] = (busy_seconds() - busy) / wall
        found["connections"] = connections
        found["cold_start"] = started
        found["memory_mb"] = memory_mb(tested.pids) if tested is not None else 0.0
        if not found["requests"] and not found["chunks"]:
            log = tested.log.read_text(errors="replace")[-2000:] if tested is not None else ""
            raise BenchError(
                f"nothing was answered ({found['errors']} errors, {found['lost']} connections lost)\n{log}"
            )
        return found


def _answers(port: int, child: Child, within: float) -> float:
    """Wait for a first good answer; seconds since the start of the process."""
    body = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    while time.monotonic() - child.began < within:
        if child.process.poll() is not None:
            break
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/v1/chat/completions", body, headers)
            if connection.getresponse().status == 200:
                return time.monotonic() - child.began
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise BenchError(f"no answer from {child.process.args!r}\n{child.log.read_text(errors='replace')[-3000:]}")
