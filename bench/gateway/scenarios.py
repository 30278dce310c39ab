"""What is measured, and how one measurement is taken: one peer, one scenario, a fixed time."""

import http.client
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.gateway import ours
from bench.gateway.peers import Peer
from bench.gateway.place import ENGINES, KEY, MODEL, PATH, PORTS, ROOT, Place
from bench.gateway.processes import OTHERS, Child, busy_seconds, memory_mb, start
from local.ports import free_ports


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


@dataclass(frozen=True)
class Served:
    """What is up: engines, and what is measured, `started` seconds after its exec; None: load speaks to the engines."""

    place: Place
    engines: Child
    tested: Child | None
    beside: Child | None
    started: float


@contextmanager
def serving(peer: Peer | None, interval: float) -> Iterator[Served]:
    """Engines and a peer (None: nobody between load and engines)."""
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name:
        engine = free_ports(PORTS)[0]
        place = Place(Path(name), engine + ENGINES, engine)
        command = [sys.executable, "-m", "bench.gateway.upstream", "--port", str(engine)]
        engines = start([*command, "--interval", str(interval)], OTHERS, place.folder / "engines.log", PATH)
        children = [engines]
        try:
            beside = None
            if peer is not None and peer.beside is not None:
                beside = start(peer.beside(place), OTHERS, place.folder / "beside.log", PATH)
                children.append(beside)
                listens(place.beside, beside)
            _answers(engine, engines, 30.0)
            if peer is None:
                yield Served(Place(place.folder, engine, engine), engines, None, beside, 0.0)
                return
            tested = start(peer.command(place), peer.cores, place.folder / "tested.log", peer.environ)
            children.append(tested)
            yield Served(place, engines, tested, beside, _answers(place.port, tested, peer.start_seconds))
        finally:
            for child in reversed(children):
                child.stop()


def measure(peer: Peer | None, scenario: Scenario, seconds: float, warmup: float) -> dict[str, Any]:
    """One measurement: the load's own words, with memory, cold start, and how busy everybody was."""
    connections = scenario.connections
    if peer is not None and peer.streams and scenario.kind == "streams":
        connections = peer.streams
    with serving(peer, scenario.interval) as served:
        job = {
            "kind": scenario.kind,
            "port": served.place.port,
            "key": KEY,
            "model": MODEL,
            "connections": connections,
            "prompt": scenario.prompt,
            "tokens": scenario.tokens,
            "seconds": seconds,
            "warmup": warmup,
            "watch": {
                "tested": served.tested.pids if served.tested is not None else [],
                "engines": served.engines.pids,
                "beside": served.beside.pids if served.beside is not None else [],
            },
        }
        busy, began = busy_seconds(), time.monotonic()
        metrics = f"http://127.0.0.1:{served.place.admin}/metrics" if peer is not None and peer.watched else ""
        said, features = _load(job, metrics, {} if peer is None else peer.features)
        wall = time.monotonic() - began
        found: dict[str, Any] = orjson.loads(said)
        found["machine_busy"] = (busy_seconds() - busy) / wall
        found["connections"] = connections
        found["cold_start"] = served.started
        found["features"] = features
        found["memory_mb"] = memory_mb(served.tested.pids) if served.tested is not None else 0.0
        if not found["requests"] and not found["chunks"]:
            log = served.tested.log.read_text(errors="replace")[-2000:] if served.tested is not None else ""
            raise BenchError(
                f"nothing was answered ({found['errors']} errors, {found['lost']} connections lost)\n{log}"
            )
        return found


def _load(job: dict[str, Any], metrics: str, names: Mapping[str, str]) -> tuple[bytes, dict[str, float]]:
    """What the load said, and what each feature has done by the `metrics` at that URL, read once a second."""
    load = subprocess.Popen(
        ["taskset", "--cpu-list", OTHERS, sys.executable, "-m", "bench.gateway.load", orjson.dumps(job)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=PATH,
    )  # fmt: skip
    while True:
        try:
            said, wrong = load.communicate(timeout=1.0)
        except subprocess.TimeoutExpired:
            read(metrics)
            continue
        break
    if load.returncode:
        raise BenchError(wrong.decode()[-2000:])
    if not metrics:
        return said, {}
    features = ours.features(read(metrics), names)
    if idle := [feature for feature, done in features.items() if not done]:
        raise BenchError(f"what was to be measured was not on: {', '.join(idle)}")
    return said, features


def read(url: str) -> str:
    """A page of an admin port; nothing without a URL."""
    if not url:
        return ""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def listens(port: int, child: Child) -> None:
    """Wait until a process takes connections."""
    while child.process.poll() is None and time.monotonic() - child.began < 30.0:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise BenchError(f"{child.process.args!r} does not listen\n{child.log.read_text(errors='replace')[-3000:]}")


def ready(admin: int, child: Child) -> None:
    """Wait until a gateway of ours knows everything that it is to serve."""
    while child.process.poll() is None and time.monotonic() - child.began < 30.0:
        try:
            read(f"http://127.0.0.1:{admin}/readyz")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"the gateway is not ready\n{child.log.read_text(errors='replace')[-3000:]}")


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
