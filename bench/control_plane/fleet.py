"""One size of the bench: so many ModelDeployments on a fresh API server, from the first sync to a restart over all.

rehearsal ─► script ─► a bare client writes it for all          (first server, then thrown away)
first sync ─► all serve ─► idle ─► edits, hands, rollouts ─► restart     (second server)
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.control_plane.actors import SYSTEM, Cast
from bench.control_plane.api import Api, Object
from bench.control_plane.audit import Audit, Call, writes
from bench.control_plane.script import NAME, Line, Player, lines
from bench.control_plane.servers import (
    ADMIN,
    BARE,
    EDITOR,
    OPERATOR,
    REHEARSED,
    ControlPlane,
    EndedError,
    Process,
)
from local.ports import free_port
from understudy.domain.names import API_VERSION
from understudy.kube.resources import DEPLOYMENT, MODEL, MODEL_DEPLOYMENT

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 32  # as many as the operator's default
SPACES = 20  # namespaces that deployments are spread over
PER_MODEL = 10  # deployments that share a Model
_NAME = len("model-00000")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long to look, in seconds, and how often to change something.

    `rest`: the bare client also writes what the operator writes once pods come. No bound is about that.
    """

    idle: float
    edits: int
    rollouts: int
    rest: bool = True
    quiet: float = 8.0


@dataclass
class Figures:
    """Everything that was measured at one size; times in seconds, memory in MiB."""

    deployments: int
    writes_each: dict[str, int] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    idle_calls: dict[str, float] = field(default_factory=dict)


class Fleet:
    """Measures one size. `programs` are etcd and kube-apiserver."""

    def __init__(self, count: int, programs: tuple[Path, Path], folder: Path, lengths: Lengths) -> None:
        self.figures = Figures(count)
        self._count, self._programs, self._folder, self._lengths = count, programs, folder, lengths
        self._began = time.monotonic()
        self._uids: dict[Key, str] = {}

    async def measure(self) -> Figures:
        """All of it, in order."""
        async with self._stage("rehearsal") as stage:
            script = await self._rehearse(stage)
            await self._bare(stage, script)
        async with self._stage("operator") as stage:
            await self._first_sync(stage, script)
            await self._idle(stage)
            await self._changes(stage)
            await self._restart(stage)
        return self.figures

    # On the first server.

    async def _rehearse(self, stage: "_Stage") -> tuple[list[Line], list[Line]]:
        """What is written for one deployment, before its pods are there and after."""
        await _space(stage.api, REHEARSED)
        await stage.api.create(MODEL.path(REHEARSED), model("rehearsed"))
        stored = await stage.api.create(MODEL_DEPLOYMENT.path(REHEARSED), deployment(NAME, "rehearsed"))
        self._uids[REHEARSED, NAME] = stored["metadata"]["uid"]
        async with stage.operator():
            await stage.until("the rehearsal's children", lambda: bool(_of_deployment(stage)), 60)
            await stage.quiet(4)
            children = lines(_of_deployment(stage))
            stage.cast.kubelet.wake()
            await stage.until("the rehearsed deployment to serve", lambda: (REHEARSED, NAME) in stage.cast.ready, 120)
            await stage.quiet(12)
            rest = lines(_of_deployment(stage))[len(children) :]
        for part, found in (("children", children), ("serving", rest)):
            self.figures.writes_each[part] = len(found)
            self._say(f"{part}: {', '.join(line.about for line in found)}")
        return children, rest

    async def _bare(self, stage: "_Stage", script: tuple[list[Line], list[Line]]) -> None:
        stage.cast.kubelet.sleep()
        uids = await self._fill(stage.api)
        async with stage.plane.client(BARE, WORKERS) as api:
            player = Player(api, self._uids[REHEARSED, NAME], WORKERS)
            for part, part_lines in list(zip(("children", "serving"), script, strict=True))[: 1 + self._lengths.rest]:
                began, cpu = time.time(), stage.server_cpu
                if part == "serving":
                    stage.cast.kubelet.wake()
                playing = asyncio.create_task(player.play(part_lines, uids))
                total = len(uids) * len(part_lines)
                told = partial(_made_of, stage.audit, began, total)
                try:
                    await stage.until(f"the bare client, {part}", playing.done, 60 + total / 10, told)
                    await playing
                finally:
                    playing.cancel()
                stage.audit.read()
                made = writes(stage.audit.of(BARE, began))
                self._note(f"bare.{part}", max(c.done for c in made) - began)
                self._note(f"bare.{part}.writes", len(made))
                self._note(f"bare.{part}.server_cpu", stage.server_cpu - cpu)

    # On the second one.

    async def _first_sync(self, stage: "_Stage", script: tuple[list[Line], list[Line]]) -> None:
        self._uids = await self._fill(stage.api)
        expected = {_kind_of(line.about) for line in script[0]} - {"events"}
        self._operator = stage.start_operator()
        began, cpu = time.time(), stage.server_cpu

        def complete() -> int:
            return sum(expected <= kinds for kinds in stage.written_kinds().values())

        def told() -> str:
            return f"{complete()} of {self._count} have their children"

        await stage.until("the first sync", lambda: complete() >= self._count, 120 + self._count / 2, told)
        made = writes(stage.audit.of(OPERATOR, began))
        first = made[0].came
        last = max(c.done for c in made)
        self._note("sync.start", first - began)
        self._note("sync.children", last - first)
        self._note("sync.children.writes", len(made))
        self._note("sync.children.server_cpu", stage.server_cpu - cpu)
        self._note("sync.children.operator_cpu", self._operator.cpu)
        self._note("sync.children.refused", sum(c.code >= 300 for c in made))
        began, cpu = time.time(), stage.server_cpu
        stage.cast.kubelet.wake()
        ready = stage.cast.ready
        limit = 120 + self._count / 2
        await stage.until(
            "all to serve", lambda: len(ready) >= self._count, limit, lambda: f"{len(ready)} of {self._count} serve"
        )
        await stage.quiet(self._lengths.quiet, 120)
        made = writes(stage.audit.of(OPERATOR, began))
        self._note("sync.serving", max(c.done for c in made) - began)
        self._note("sync.serving.writes", len(made))
        self._note("sync.serving.server_cpu", stage.server_cpu - cpu)
        self._note("sync.serving.refused", sum(c.code >= 300 for c in made))
        self._memory("sync")

    async def _idle(self, stage: "_Stage") -> None:
        began, cpu, probes, asked = time.time(), self._operator.cpu, stage.cast.probes, stage.cast.gateways.asked
        await stage.wait("idle", self._lengths.idle)
        stage.audit.read()
        found = list(stage.audit.of(OPERATOR, began))
        lasted = time.time() - began
        hours = lasted / 3600
        self.figures.idle_calls = {
            what: count / hours for what, count in Counter(f"{c.verb} {_kind_of(c.resource)}" for c in found).items()
        }
        self._note("idle.writes", len(writes(found)))
        self._note("idle.calls_per_hour", len(found) / hours)
        self._note("idle.cpu_percent", 100 * (self._operator.cpu - cpu) / lasted)
        self._note("idle.probes_per_second", (stage.cast.probes - probes) / lasted)
        self._note("idle.gateway_questions_per_second", (stage.cast.gateways.asked - asked) / lasted)
        self._memory("idle")

    async def _changes(self, stage: "_Stage") -> None:
        """Specs that are edited, children that somebody else scales, new revisions: how soon, and how many writes."""
        keys = sorted(self._uids)
        edits, hands = keys[: self._lengths.edits], keys[self._lengths.edits : 2 * self._lengths.edits]
        pool_of = {key: f"{key[1]}-{revision}" for key, revision in stage.cast.ready.items()}
        async with stage.plane.client(EDITOR) as api:

            async def scale(key: Key) -> None:
                await api.merge(MODEL_DEPLOYMENT.path(*key), {"spec": {"replicas": 2}})

            async def meddle(key: Key) -> None:
                await api.merge(DEPLOYMENT.path(key[0], pool_of[key], "scale"), {"spec": {"replicas": 3}})

            async def roll(key: Key) -> None:
                await api.merge(MODEL_DEPLOYMENT.path(*key), {"spec": {"engine": {"args": ["--text=other"]}}})

            await self._change(stage, "edit", edits, scale, "deployments")
            await self._change(stage, "hand", hands, meddle, "deployments")
            rolled = keys[2 * self._lengths.edits : 2 * self._lengths.edits + self._lengths.rollouts]
            old = {key: stage.cast.ready[key] for key in rolled}
            await self._change(
                stage,
                "rollout",
                rolled,
                roll,
                "modeldeployments/status",
                lambda: all(stage.cast.ready.get(key, old[key]) != old[key] for key in rolled),
            )

    async def _change(
        self,
        stage: "_Stage",
        name: str,
        keys: Sequence[Key],
        change: Callable[[Key], Any],
        action: str,
        over: Callable[[], bool] = lambda: True,
    ) -> None:
        """Ten changes a second; reaction is from the API server's answer to the operator's write of `action`."""
        if not keys:
            return
        began, lag = time.time(), []
        for number, key in enumerate(keys):
            await asyncio.sleep(max(0.0, began + number / 10 - time.time()))
            await change(key)
        await stage.until(f"{name}s to end", over, 300)
        # A rollout's old revision is kept warm, drained and taken away.
        await stage.quiet(self._lengths.quiet * (3 if name == "rollout" else 1), 120)
        changed = {_deployment_of(c): c.done for c in stage.audit.of(EDITOR, began)}
        made = writes(c for c in stage.audit.of(OPERATOR, began) if _deployment_of(c) in changed)
        missed = 0
        for key, at in changed.items():
            first = next((c for c in made if _deployment_of(c) == key and c.resource == action and c.done > at), None)
            if first is None:
                missed += 1
            else:
                lag.append(max(0.0, first.came - at))
        lag.sort()
        self._note(f"{name}.changes", len(changed))
        self._note(f"{name}.missed", missed)
        if lag:
            self._note(f"{name}.p50", lag[len(lag) // 2])
            self._note(f"{name}.p99", lag[min(len(lag) - 1, int(len(lag) * 0.99))])
            self._note(f"{name}.max", lag[-1])
        self._note(f"{name}.writes_each", len(made) / len(changed))
        self._memory(name)

    async def _restart(self, stage: "_Stage") -> None:
        """A new process over deployments that nobody has changed."""
        await stage.quiet(self._lengths.quiet, 300)
        began = time.monotonic()
        await stage.stop_operator(self._operator)
        self._note("restart.stop", time.monotonic() - began)
        since, began = time.time(), time.monotonic()
        self._operator = stage.start_operator()
        passes = 0.0
        while True:
            self._operator.check()
            counts = await stage.operator_metrics("understudy_reconcile_seconds_count")
            passes = sum(count for name, count in counts.items() if 'kind="ModelDeployment"' in name)
            if passes >= self._count:  # the queue is first in, first out: all have had their turn
                break
            if time.monotonic() - began > 300:
                raise EndedError(f"after 300 s the new operator has made {passes:.0f} passes; see {self._folder}")
            await asyncio.sleep(0.1)
        self._note("restart.synced", time.monotonic() - began)
        self._note("restart.cpu", self._operator.cpu)
        self._memory("restart")
        await stage.wait("after the restart", 30)
        stage.audit.read()
        made = writes(stage.audit.of(OPERATOR, since))
        self._note("restart.writes", len(made))
        for call in made[:5]:
            self._say(f"a write after the restart: {call.verb} {call.resource} {call.namespace}/{call.name}")
        self._memory("restarted")

    # What all of them use.

    @asynccontextmanager
    async def _stage(self, name: str) -> Any:
        """A fresh control plane with the CRDs, and everybody but the operator."""
        plane = ControlPlane(*self._programs, self._folder / f"{name}-{self._count}")
        try:
            self._say(f"{name}: starting etcd and kube-apiserver")
            await plane.start()
            async with plane.client(ADMIN, 64) as api:
                await _install(api)
                async with Cast(api) as cast:
                    stage = _Stage(plane, api, cast, self._say)
                    try:
                        yield stage
                    finally:
                        await stage.end()
        finally:
            await plane.stop()

    async def _fill(self, api: Api) -> dict[Key, str]:
        """The deployments and their models."""
        for number in range(SPACES):
            await _space(api, f"space-{number:02d}-00")
        uids: dict[Key, str] = {}

        async def make(number: int) -> None:
            namespace, name = f"space-{number % SPACES:02d}-00", f"model-{number:05d}"
            uses = f"weights-{number // (SPACES * PER_MODEL)}"
            if number // SPACES % PER_MODEL == 0:
                await api.create(MODEL.path(namespace), model(uses))
            stored = await api.create(MODEL_DEPLOYMENT.path(namespace), deployment(name, uses))
            uids[namespace, name] = stored["metadata"]["uid"]

        for start in range(0, self._count, 200):
            await asyncio.gather(*(make(number) for number in range(start, min(start + 200, self._count))))
        self._say(f"{len(uids)} ModelDeployments are there")
        return uids

    def _note(self, name: str, value: float) -> None:
        self.figures.values[name] = value
        self._say(f"{name} = {value:.4g}")

    def _memory(self, name: str) -> None:
        now, peak = self._operator.memory
        self._note(f"{name}.rss", now)
        self._note(f"{name}.rss_peak", peak)

    def _say(self, what: str) -> None:
        print(f"[{self._count}] {time.monotonic() - self._began:6.1f} s  {what}", file=sys.stderr, flush=True)


class _Stage:
    """A control plane with its cast, and what is asked of them again and again."""

    def __init__(self, plane: ControlPlane, api: Api, cast: Cast, say: Callable[[str], None]) -> None:
        self.plane, self.api, self.cast, self._say = plane, api, cast, say
        self.audit = Audit(plane.audit_log)
        self._operators: list[Process] = []
        self._kinds: dict[Key, set[str]] = {}
        self._counted = 0
        self._metrics_port = free_port()

    def start_operator(self) -> Process:
        """`understudy operator` as anybody would start it."""
        config = self.plane.kubeconfig(OPERATOR)
        command = [
            Path(sys.executable).with_name("understudy"),
            *("operator", "--kubeconfig", config, "--namespace", SYSTEM, "--identity", "bench"),
            *("--sim-image", "understudy:1", "--metrics-port", str(self._metrics_port), "--log-level", "warning"),
        ]
        process = Process(command, self.plane.folder / "operator.log")
        self._operators.append(process)
        return process

    @asynccontextmanager
    async def operator(self) -> Any:
        """An operator for a while."""
        process = self.start_operator()
        try:
            yield process
        finally:
            await self.stop_operator(process)

    async def stop_operator(self, process: Process) -> None:
        """SIGTERM, and wait for its end."""
        self._operators.remove(process)
        await process.stop()

    async def end(self) -> None:
        """End the operators that still run."""
        for process in [*self._operators]:
            await self.stop_operator(process)

    @property
    def server_cpu(self) -> float:
        """Seconds of processor time of etcd and the API server so far."""
        return sum(process.cpu for process in self.plane.processes)

    async def until(
        self, what: str, done: Callable[[], bool], seconds: float, told: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait for something, with a sign of life every ten seconds; EndedError after `seconds`."""
        began = said = time.monotonic()
        while True:
            for process in (*self.plane.processes, *self._operators):
                process.check()
            self.cast.check()
            self.audit.read()
            if done():
                return
            now = time.monotonic()
            if now - began > seconds:
                raise EndedError(f"{what}: not over after {seconds:.0f} s ({told()}); see {self.plane.folder}")
            if now - said > 10:
                said = now
                self._say(f"{what}: {told() or f'{now - began:.0f} s'}")
            await asyncio.sleep(0.5)

    async def wait(self, what: str, seconds: float) -> None:
        """Let time go by."""
        end = time.monotonic() + seconds
        await self.until(what, lambda: time.monotonic() >= end, seconds + 60)

    async def quiet(self, seconds: float, limit: float = 60.0) -> None:
        """Wait until the operator has written nothing for so long."""

        def since_last() -> bool:
            made = (call.done for call in reversed(self.audit.calls) if call.user == OPERATOR and call.is_write)
            return time.time() - next(made, 0.0) >= seconds

        await self.until("quiet", since_last, limit + seconds)

    def written_kinds(self) -> dict[Key, set[str]]:
        """For each deployment, the kinds that the operator has written."""
        fresh, self._counted = self.audit.calls[self._counted :], len(self.audit.calls)
        for call in fresh:
            if call.user == OPERATOR and call.is_write and call.code < 300:
                self._kinds.setdefault(_deployment_of(call), set()).add(_kind_of(call.resource))
        return self._kinds

    async def operator_metrics(self, name: str) -> dict[str, float]:
        """The operator's own series of that name; none while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
                session.get(f"http://127.0.0.1:{self._metrics_port}/metrics?name[]={name}") as answer,
            ):
                text = await answer.text()
        except (aiohttp.ClientError, OSError):
            return {}
        pairs = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}


def model(name: str) -> Object:
    """A Model whose weights are in the engine's image."""
    spec = {"source": {"enginePath": f"/models/{name}"}, "tasks": ["chat"]}
    return {"apiVersion": API_VERSION, "kind": "Model", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, uses: str) -> Object:
    """A ModelDeployment with what is usually written, in words of its own, and a rollout that is soon over."""
    steps = [{"weight": 50, "soak": "5s"}, {"weight": 100, "soak": "5s"}]
    dice = random.Random(name)
    words = [f"{dice.getrandbits(24):06x}" for _ in range(30)]
    spec = {
        "modelRef": {"name": uses},
        "replicas": 1,
        "engine": {
            "type": "sim",
            "args": [f"--text={' '.join(words[:15])}.", "--first-token=0.1"],
            "env": [{"name": "PERSONA", "value": " ".join(words[15:])}],
        },
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "rollout": {"steps": steps, "watch": "10s", "drain": "5s", "analysis": {"minSamples": 5}},
    }
    return {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}


async def _install(api: Api) -> None:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        await api.create(_CRDS, yaml.safe_load(path.read_text()))
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        while True:
            status = (await api.get(f"{_CRDS}/{name}")).get("status") or {}
            if any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ()):
                break
            await asyncio.sleep(0.2)
    await asyncio.sleep(3)  # the server may answer by no schema for a moment
    await _space(api, SYSTEM)


async def _space(api: Api, name: str) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})


def _made_of(audit: Audit, since: float, total: int) -> str:
    return f"{len(writes(audit.of(BARE, since)))} of {total} writes"


def _of_deployment(stage: _Stage) -> list[Call]:
    """What the operator has written for the rehearsed deployment."""
    return [c for c in stage.audit.of(OPERATOR) if c.is_write and c.namespace == REHEARSED and NAME in c.uri]


def _kind_of(what: str) -> str:
    """The resource of a call or line, without its verb."""
    return what.rpartition(" ")[2]


def _deployment_of(call: Call) -> Key:
    """The deployment that a call is about: every child's name begins with its deployment's."""
    return call.namespace, call.name[:_NAME]
