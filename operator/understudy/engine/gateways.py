"""Asks every gateway for its `/state`: which table it serves by, and what it has counted.

One task per gateway pod, so that a gateway that hangs delays nobody else's answer. The pace is fast
while some rollout waits for an answer, slower otherwise, and a write of a routing table asks at once.
Asked is after those who wait: a whole answer of thousands of deployments takes both sides tens of
milliseconds, so it is asked for rarely, and of a gateway that has begun anew.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import aiohttp
import orjson

from understudy.domain.conditions import is_ready
from understudy.domain.key import Key
from understudy.domain.names import GATEWAY_ADMIN_PORT, LABEL_COMPONENT
from understudy.domain.state import GatewayState, parse_state
from understudy.engine.bounded import read_bounded
from understudy.engine.cache import Cache
from understudy.kube.client import Object
from understudy.kube.resources import POD
from understudy.plan.observed import GatewayPod
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

IDLE_INTERVAL = 2.0  # seconds; "programmed" accepts answers up to three seconds old
WHOLE_INTERVAL = 10.0  # seconds after which those at rest are asked after, too
MANY = 200  # more who wait are not named one by one
_FRESH = 3.0
_SOON = (0.05, 0.15, 0.4)  # seconds between questions after a write
_TIMEOUT = 2.0
_MAX_ANSWER = 32 * 2**20


class StateSource(Protocol):
    """Something that can be asked for a gateway's state."""

    async def state(self, address: str, only: AbstractSet[Key] | None = None) -> GatewayState:
        """The `/state` of the gateway at a pod IP, of the deployments `only` or of all.

        OSError, TimeoutError or ValueError when there is none. A gateway of an older version answers with all.
        """
        ...


@dataclass(slots=True)
class _Answer:
    """What is known of a gateway: as of `at`, and of the deployments at rest as of `whole_at`."""

    state: GatewayState
    at: float
    whole_at: float


class GatewayPoller:
    """Latest answers of the gateway pods, and the tasks that get them."""

    def __init__(
        self,
        cache: Cache,
        namespace: str,
        source: StateSource,
        *,
        interval: float,
        monotonic: Callable[[], float],
        metrics: OperatorMetrics,
        wake: Callable[[Iterable[Key]], None],
    ) -> None:
        """`interval` is in seconds, while a rollout waits; `wake` gets the keys to which an answer matters."""
        self._cache = cache
        self._namespace = namespace
        self._source = source
        self._interval = interval
        self._monotonic = monotonic
        self._metrics = metrics
        self._wake = wake
        self._pods: tuple[tuple[str, str, bool], ...] = ()  # name, uid, and whether it is ready
        self._answers: dict[str, _Answer] = {}
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}  # by pod uid: address, task
        self._active: set[Key] = set()
        self._hurry = asyncio.Event()
        self._asked: set[str] = set()
        self._silent: set[str] = set()
        self._progress = asyncio.Event()
        self._running = False
        metrics.gateways.set_function(lambda: len(self._pods))
        metrics.gateways_fresh.set_function(self._fresh)

    def start(self) -> None:
        """Begin to ask."""
        self._running = True
        self.pods_changed()

    async def first_round(self, seconds: float) -> None:
        """Wait until every gateway that has an address was asked once, for at most `seconds`.

        A first pass that knows no answers would only have to be made again.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._tasks.keys() <= self._asked:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            log.info("not every gateway has answered yet; beginning without")

    async def stop(self) -> None:
        """Stop asking."""
        self._running = False
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def pods_changed(self) -> None:
        """A gateway pod came, went or moved: ask those that are there, and tell whoever counts them."""
        pods = [pod for pod in self._cache.all(POD, self._namespace) if is_gateway(pod)]
        self._pods = tuple(sorted((pod["metadata"]["name"], pod["metadata"]["uid"], is_ready(pod)) for pod in pods))
        live = {pod["metadata"]["uid"]: pod["status"].get("podIP", "") for pod in pods}
        for uid, (address, task) in list(self._tasks.items()):
            if live.get(uid) != address:
                task.cancel()
                del self._tasks[uid]
        self._asked &= live.keys()
        self._silent &= live.keys()
        for uid in self._answers.keys() - live.keys():
            del self._answers[uid]
        if self._running:
            for uid, address in live.items():
                if address and uid not in self._tasks:
                    self._tasks[uid] = (address, asyncio.create_task(self._ask_for_ever(uid, address)))
        self._wake(self._active)

    def set_active(self, key: Key, active: bool) -> None:
        """Whether the deployment waits for gateways.

        It is woken when one says something else of it, falls silent or speaks again, and answers come faster.
        """
        if active and key not in self._active:
            self._active.add(key)
            self.hurry()
        elif not active:
            self._active.discard(key)

    def hurry(self) -> None:
        """Ask all gateways now: something was written that they must take up."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def observed(self) -> tuple[GatewayPod, ...]:
        """Every gateway pod that has not ended, with its latest answer."""
        now = self._monotonic()
        pods = []
        for name, uid, ready in self._pods:
            answer = self._answers.get(uid)
            age = now - answer.at if answer else float("inf")
            pods.append(GatewayPod(uid=uid, name=name, state=answer.state if answer else None, age=age, ready=ready))
        return tuple(pods)

    def _fresh(self) -> int:
        now = self._monotonic()
        return sum(now - answer.at <= _FRESH for answer in self._answers.values())

    async def _ask_for_ever(self, uid: str, address: str) -> None:
        soon: list[float] = []
        while True:
            hurry = self._hurry
            await self._ask(uid, address)
            self._asked.add(uid)
            self._progress.set()
            if len(self._active) > MANY:
                # Whole answers only, and nearly all of what they say is of interest: no faster than they can be read.
                soon.clear()
                await asyncio.sleep(IDLE_INTERVAL)
                continue
            usual = min(self._interval, IDLE_INTERVAL) if self._active else IDLE_INTERVAL
            try:
                async with asyncio.timeout(soon.pop(0) if soon else usual):
                    await hurry.wait()
                # What was just written has not reached the gateway yet: ask again while it does.
                soon = list(_SOON)
            except TimeoutError:
                continue

    async def _ask(self, uid: str, address: str) -> None:
        began = self._monotonic()
        before = self._answers.get(uid)
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await self._answer(uid, address, before, began)
        except (OSError, TimeoutError, ValueError, KeyError, TypeError, aiohttp.ClientError) as error:
            self._metrics.gateway_polls.labels("failed").inc()
            log.info("gateway at %s does not answer: %s", address, str(error) or "no answer in time")
            if uid not in self._silent:
                self._silent.add(uid)
                self._wake(self._active)
            return
        self._metrics.gateway_polls.labels("answered").inc()
        self._answers[uid] = answer
        self._wake(self._concerned(uid, before.state if before else None, answer.state))

    async def _answer(self, uid: str, address: str, before: _Answer | None, began: float) -> _Answer:
        """The gateway's answer, completed by what it said before of those who were not asked after.

        As of when the question was put: it describes no later moment than that for certain.
        """
        if (
            before is not None
            and uid not in self._silent
            and began - before.whole_at < WHOLE_INTERVAL
            and len(self._active) <= MANY
        ):
            only = frozenset(self._active)
            state = await self._source.state(address, only)
            if state.start_id == before.state.start_id:
                return _Answer(_completed(before.state, state, only), began, before.whole_at)
        return _Answer(await self._source.state(address), began, began)

    def _concerned(self, uid: str, before: GatewayState | None, after: GatewayState) -> set[Key]:
        """To whom an answer matters: of those who wait, the ones of whom it says something else than the last one."""
        if before is None or uid in self._silent:
            self._silent.discard(uid)
            return self._active | _changed(before, after)
        old, new = before.deployments, after.deployments
        return {key for key in self._active if old.get(str(key)) != new.get(str(key))} | _changed(before, after)


def _completed(before: GatewayState, now: GatewayState, only: AbstractSet[Key]) -> GatewayState:
    """What a gateway says now of the deployments `only`, and said before of the others."""
    asked = {str(key) for key in only}
    rest = {name: state for name, state in before.deployments.items() if name not in asked}
    fresh = {name: state for name, state in now.deployments.items() if name in asked}
    return replace(now, deployments={**rest, **fresh})


def is_gateway(pod: Object) -> bool:
    """Whether a pod is a gateway that may still serve: by label, and neither Succeeded nor Failed."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(LABEL_COMPONENT) == "gateway" and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _changed(before: GatewayState | None, after: GatewayState) -> set[Key]:
    """Deployments whose table, or its refusal, is another one on this gateway than at its last answer."""
    old = before.deployments if before else {}
    names = {
        text
        for text, now in after.deployments.items()
        if (was := old.get(text)) is None
        or (was.table_uid, was.table_generation, was.rejected) != (now.table_uid, now.table_generation, now.rejected)
    } | (old.keys() - after.deployments.keys())
    return {Key(*text.split("/", 1)) for text in names if "/" in text}


class HttpStateSource:
    """Asks over HTTP(S), as the operator's service account."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, *, ca: str = "", token: str = "") -> None:
        """`ca` and `token` are files that are read again when they change; no `ca` means plain HTTP."""
        self._session = session
        self._server_name = f"understudy-gateway.{namespace}.svc"
        self._ca = Path(ca) if ca else None
        self._token = Path(token) if token else None
        self._context: tuple[int, ssl.SSLContext] | None = None

    async def state(self, address: str, only: AbstractSet[Key] | None = None) -> GatewayState:
        """The `/state` of the gateway at a pod IP, of the deployments `only` or of all."""
        host = f"[{address}]" if ":" in address else address
        scheme = "https" if self._ca else "http"
        query = "" if only is None else f"?deployments={','.join(sorted(map(str, only)))}"
        async with self._session.get(
            f"{scheme}://{host}:{GATEWAY_ADMIN_PORT}/state{query}",
            headers=self._headers(),
            ssl=self._tls(),
            server_hostname=self._server_name if self._ca else None,
        ) as answer:
            if answer.status != 200:
                raise ValueError(f"/state answered {answer.status}")
            return parse_state(orjson.loads(await read_bounded(answer, _MAX_ANSWER)))

    def _headers(self) -> dict[str, str]:
        # The kubelet rotates the projected token; it is a kilobyte on tmpfs, read per question.
        return {"Authorization": f"Bearer {self._token.read_text().strip()}"} if self._token else {}

    def _tls(self) -> ssl.SSLContext | bool:
        if self._ca is None:
            return True
        changed_at = self._ca.stat().st_mtime_ns
        if self._context is None or self._context[0] != changed_at:
            self._context = (changed_at, ssl.create_default_context(cafile=str(self._ca)))
        return self._context[1]
