"""Asks engine pods who they are and whether they answer, as the plan says, and keeps the last results.

Per pod: identity first (what `/v1/models` shows), then every `interval` a real completion: the probe
prompts, or one token when there are none. A pod that does not say who it is gets no prompt: until it
has said so once, a failure is a start that is not finished, and no evidence against the revision. A prompt
that fails is sent to the comparator at once: what fails there too is an outage, not the revision's fault.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import aiohttp
import orjson

from understudy.domain.key import Key
from understudy.engine.bounded import read_bounded
from understudy.engine.expectation import shortfall, time_allowed
from understudy.engine.trust import Trust, distrust
from understudy.plan.actions import Probe, Prompt
from understudy.plan.observed import ProbeReport, PromptResult
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

KEPT_RUNS = 5
_UNKNOWN_INTERVAL = 0.5  # seconds between questions while the pod has not said who it is
_IDENTITY_TIMEOUT = 5.0
_MAX_RUNNING = 8  # runs of one pod at a time
_SPREAD = 10.0  # seconds over which a new process asks the pods at rest, thousands perhaps, for the first time
# Thousands of deployments are asked more rarely, so that it takes about a quarter of a core: when thousands begin
# at once, questions would leave no time for passes. Who moves waits only for others that move.
_EACH = 0.007  # seconds between two of them
_RAREST = 30.0  # seconds: what has not answered for a minute is not known to answer
_MAX_ANSWER = 2**20
_FAILURES = (OSError, TimeoutError, ValueError, KeyError, TypeError, IndexError, aiohttp.ClientError)


class Engine(Protocol):
    """An OpenAI-compatible engine, as the prober speaks to it."""

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        """JSON of a GET; raises ValueError for any status but 200."""
        ...

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        """JSON of a POST; raises ValueError for any status but 200."""
        ...


@dataclass(slots=True)
class _Findings:
    """What is known of one pod; `recent` by prompt, oldest first."""

    identity: str = ""
    completed_at: float | None = None
    recent: dict[str, deque[PromptResult]] = field(default_factory=dict)
    no_tls: str = ""

    def summary(self) -> tuple[Any, ...]:
        """Changes exactly when a plan might decide otherwise."""
        runs = tuple((name, tuple(run.ok for run in runs)) for name, runs in sorted(self.recent.items()))
        return (self.identity, self.completed_at is None, runs, self.no_tls)


class Prober:
    """One task per probed pod; plans say which, deployment by deployment."""

    def __init__(
        self,
        engine: Engine,
        *,
        monotonic: Callable[[], float],
        metrics: OperatorMetrics,
        wake: Callable[[Key], None],
    ) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._metrics = metrics
        self._wake = wake
        self._probes: dict[Key, dict[str, tuple[Probe, asyncio.Task[None]]]] = {}
        self._moving: set[Key] = set()  # those that have pods not at rest
        self._findings: dict[str, _Findings] = {}
        # Cleared while there is no time to ask pods at rest for the first time.
        self.unhurried = asyncio.Event()
        self.unhurried.set()

    def set_probes(self, key: Key, probes: tuple[Probe, ...]) -> None:
        """Probe exactly these pods of the deployment from now on; what did not change goes on undisturbed."""
        running = self._probes.pop(key, {})
        wanted = {probe.pod_uid: probe for probe in probes}
        for uid, (probe, task) in running.items():
            if wanted.get(uid) != probe:
                task.cancel()
            if uid not in wanted:
                self._findings.pop(uid, None)
        tasks = {
            uid: running[uid]
            if uid in running and running[uid][0] == probe
            else (probe, asyncio.create_task(self._probe_for_ever(key, probe)))
            for uid, probe in wanted.items()
        }
        if tasks:
            self._probes[key] = tasks
        if all(probe.at_rest for probe in probes):
            self._moving.discard(key)
        else:
            self._moving.add(key)

    def observed(self, key: Key) -> dict[str, ProbeReport]:
        """By pod uid, what was found."""
        reports = {}
        for uid in self._probes.get(key, {}):
            found = self._findings.get(uid)
            if found is not None:
                recent = tuple(run for name in sorted(found.recent) for run in found.recent[name])
                reports[uid] = ProbeReport(uid, found.identity, found.completed_at, recent, found.no_tls)
        return reports

    async def stop(self) -> None:
        """Probe nothing any more."""
        tasks = [task for pods in self._probes.values() for _, task in pods.values()]
        self._probes.clear()
        self._moving.clear()
        self._findings.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe_for_ever(self, key: Key, probe: Probe) -> None:
        found = self._findings.setdefault(probe.pod_uid, _Findings())
        # A prompt that is no longer asked for must not go on speaking.
        names = {prompt.name for prompt in probe.prompts}
        found.recent = {name: runs for name, runs in found.recent.items() if name in names}
        running: set[asyncio.Task[None]] = set()
        if probe.at_rest and not found.identity:
            await self.unhurried.wait()
            spread = max(min(probe.interval, _SPREAD), self._pace(probe))
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - spreads load, no secret
        async with asyncio.TaskGroup() as runs:
            while True:
                began = self._monotonic()
                if not found.identity:
                    await self._run(key, probe, found)
                elif len(running) < _MAX_RUNNING:
                    # A run begins when it is due, whether or not the last one has ended: an engine that
                    # hangs is found after `failureThreshold` intervals, not after as many time-outs.
                    run = runs.create_task(self._run(key, probe, found))
                    running.add(run)
                    run.add_done_callback(running.discard)
                pause = max(probe.interval if found.identity else _UNKNOWN_INTERVAL, self._pace(probe))
                await asyncio.sleep(max(began + pause - self._monotonic(), 0.05))

    def _pace(self, probe: Probe) -> float:
        """Seconds in which all deployments that are probed can be asked; for a pod that moves, all that move."""
        many = len(self._probes) if probe.at_rest else len(self._moving)
        return min(many * _EACH, _RAREST)

    async def _run(self, key: Key, probe: Probe, found: _Findings) -> None:
        before = found.summary()
        if found.identity == "ok":
            await asyncio.gather(self._identify(probe, found), self._complete(key, probe, found))
        else:
            await self._identify(probe, found)
            if found.identity == "ok":
                await self._complete(key, probe, found)
        if found.summary() != before:
            self._wake(key)

    async def _identify(self, probe: Probe, found: _Findings) -> None:
        try:
            listed = await self._engine.get(probe, "/v1/models", _IDENTITY_TIMEOUT)
            found.identity, found.no_tls = identity(probe, listed) or "ok", ""
            self._metrics.probes.labels("identity", "ok" if found.identity == "ok" else "differs").inc()
        except _FAILURES as error:
            # Not an answer as somebody else: what was known stays known, prompts find out the rest.
            found.no_tls = distrust(error) if probe.server_name else ""
            self._metrics.probes.labels("identity", "no answer").inc()
            log.debug("engine at %s does not say who it is: %s", probe.address, error)

    async def _complete(self, key: Key, probe: Probe, found: _Findings) -> None:
        if not probe.prompts:
            body = {"model": probe.model_id, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
            try:
                await self._engine.post(probe, "/v1/completions", body, 30.0)
                found.completed_at = self._monotonic()
                self._metrics.probes.labels("completion", "ok").inc()
            except _FAILURES as error:
                self._metrics.probes.labels("completion", "failed").inc()
                log.info("engine at %s does not complete: %s", probe.address, str(error) or "no answer in time")
        results = await asyncio.gather(*(self._judge(key, probe, prompt, found) for prompt in probe.prompts))
        for result in results:
            runs = found.recent.setdefault(result.name, deque(maxlen=KEPT_RUNS))
            runs.append(result)
            self._metrics.probes.labels("prompt", "ok" if result.ok else "failed").inc()
        if not all(result.ok for result in results):
            # The same row of failures may look alike and still be new evidence.
            self._wake(key)

    async def _judge(self, key: Key, probe: Probe, prompt: Prompt, found: _Findings) -> PromptResult:
        """One run of a prompt; one that failed is compared with how the comparator takes it now."""
        result = await self._ask(probe, prompt, found)
        if result.ok or probe.comparator:
            return result
        asked = [
            self._ask(other, prompt, known)
            for uid, (other, _) in self._probes.get(key, {}).items()
            if other.comparator and (known := self._findings.get(uid)) is not None and known.identity == "ok"
        ]
        if not asked:
            return result
        passed = all(answer.ok for answer in await asyncio.gather(*asked))
        self._metrics.probes.labels("comparison", "ok" if passed else "failed").inc()
        return replace(result, other_ok=passed)

    async def _ask(self, probe: Probe, prompt: Prompt, found: _Findings) -> PromptResult:
        body = {
            "model": probe.model_id,
            "messages": [dict(message) for message in prompt.messages],
            "max_tokens": prompt.max_tokens,
            "temperature": 0,
        }
        allowed = 0.0
        try:
            allowed = time_allowed(prompt.expect)
            answer = await self._engine.post(probe, "/v1/chat/completions", body, allowed)
            text = answer["choices"][0]["message"].get("content") or ""
            found.completed_at = self._monotonic()
            wrong = shortfall(prompt.expect, text)
        except TimeoutError:
            wrong = f"no answer within {allowed:g} s"
        except _FAILURES as error:
            wrong = str(error)[:200] or type(error).__name__
        return PromptResult(name=prompt.name, ok=not wrong, at=self._monotonic(), message=wrong)


def identity(probe: Probe, listed: Any) -> str:
    """What differs between a `/v1/models` answer and what the pod should be; empty if nothing does.

    Raises KeyError, TypeError or ValueError when the answer is not a list of models.
    """
    models = {str(item["id"]): item for item in listed["data"]}
    if probe.model_id not in models:
        return f"serves {', '.join(sorted(models)) or 'nothing'} instead of {probe.model_id}"
    item = models[probe.model_id]
    if probe.root and item.get("root") and item["root"] != probe.root:
        return f"serves {item['root']} instead of {probe.root}"
    length = item.get("max_model_len")
    if probe.max_model_len and length and length != probe.max_model_len:
        return f"has a context of {length} tokens instead of {probe.max_model_len}"
    return ""


class HttpEngine:
    """Speaks to engines by pod IP, with each revision's own key; by TLS to those alone that the plan says speak it."""

    def __init__(self, session: aiohttp.ClientSession, trust: Trust) -> None:
        self._session = session
        self._trust = trust

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        """JSON of a GET."""
        return await self._call("GET", probe, path, None, seconds)

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        """JSON of a POST."""
        return await self._call("POST", probe, path, orjson.dumps(body), seconds)

    async def _call(self, method: str, probe: Probe, path: str, body: bytes | None, seconds: float) -> Any:
        host = f"[{probe.address}]" if ":" in probe.address else probe.address
        headers = {"Authorization": f"Bearer {probe.key}", "Content-Type": "application/json"}
        scheme, name = ("https", probe.server_name) if probe.server_name else ("http", None)
        async with (
            asyncio.timeout(seconds),
            self._session.request(
                method,
                f"{scheme}://{host}:{probe.port}{path}",
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self._trust.context() if probe.server_name else True,
                server_hostname=name,
            ) as answer,
        ):
            data = await read_bounded(answer, _MAX_ANSWER)
            if answer.status != 200:
                raise ValueError(f"{path} answered {answer.status}: {data[:150].decode(errors='replace')}")
            return orjson.loads(data)
