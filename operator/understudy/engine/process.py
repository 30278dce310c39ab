"""The operator as a process: everything is made and wired here, and only here.

```
 check CRDs, master key ─► reflectors fill the cache ─► all listed ─► stand by ─► lead ─► workers ─► Kopf, too,
                                                                                   │               wakes keys
                     SIGTERM: workers end, the Lease is released, exit 0 ◄─────────┤
                     the term is lost, or a part dies: stop at once, exit 1 ◄──────┘
```
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Protocol

from understudy.domain.key import Key
from understudy.domain.names import LABEL_COMPONENT, LABEL_DEPLOYMENT
from understudy.engine.asking import Detectors, Outside, seat
from understudy.engine.cache import Cache, Change
from understudy.engine.clock import Clock
from understudy.engine.contents import ConfigMapContents
from understudy.engine.events import EventRecorder
from understudy.engine.executor import Executor
from understudy.engine.gateways import GatewayPoller, StateSource, is_gateway
from understudy.engine.health import Health, serve
from understudy.engine.heap import give_back
from understudy.engine.holders import Holders
from understudy.engine.keys import kept_keys, publish, tend
from understudy.engine.leader import Elector
from understudy.engine.observe import Sources
from understudy.engine.options import Options
from understudy.engine.prober import Engine, Prober
from understudy.engine.queue import WorkQueue, from_other_thread
from understudy.engine.reconcile import Reconciler
from understudy.engine.replayer import Replayer
from understudy.engine.startup import check_crds, master_key
from understudy.engine.wake import Waker, Work
from understudy.kube.client import KubeClient, Scope
from understudy.kube.errors import ApiError
from understudy.kube.reflector import Reflector
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    MODEL_DEPLOYMENT,
    NETWORK_POLICY,
    NODE,
    OWN_KINDS,
    POD,
    ROUTING_TABLE,
    SECRET,
    SERVICE,
)
from understudy.plan.observed import Settings
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

_FIRST_ROUND = 1.0  # seconds that gateways get to answer before the first pass
_GRACE = 5.0  # seconds that passes in flight get after SIGTERM


class WakeSource(Protocol):
    """Something beside the reflectors that wakes keys (Kopf)."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End, within seconds; it need not have begun."""
        ...


# Makes a wake source from: where to put keys, from any thread; what to call if it dies.
WakeSourceFactory = Callable[[Callable[[Work], None], Callable[[str], None]], WakeSource]


def scopes(options: Options) -> list[Scope]:
    """Everything that is listed and watched.

    Children are asked for by label. ConfigMaps and Secrets are watched whole, since nothing marks
    those that a spec may name; their contents are hashed on arrival and dropped, and the two kinds of
    them that are many and large are left out on the server's side.
    """
    found = []
    for namespace in options.watch_namespaces or ("",):
        found += [Scope(resource, namespace) for resource in OWN_KINDS]
        found += [
            Scope(resource, namespace, label_selector=LABEL_DEPLOYMENT)
            for resource in (DEPLOYMENT, SERVICE, POD, NETWORK_POLICY)
        ]
        found.append(Scope(SECRET, namespace, field_selector="type!=helm.sh/release.v1"))
        found.append(Scope(CONFIG_MAP, namespace, field_selector="metadata.name!=kube-root-ca.crt"))
    found.append(Scope(POD, options.namespace, label_selector=f"{LABEL_COMPONENT}=gateway"))
    if not options.watch_namespaces:
        found.append(Scope(NODE))
    return found


class OperatorProcess:
    """One operator, from its first list to its exit code."""

    def __init__(
        self,
        client: KubeClient,
        options: Options,
        states: StateSource,
        engine: Engine,
        outside: Outside,
        clock: Clock,
    ) -> None:
        """`states` answers for the gateways, `engine` for the pods, `outside` for detectors elsewhere."""
        self.options = options
        self.metrics = OperatorMetrics()
        self.clock = clock
        self.queue: WorkQueue[Work] = WorkQueue(self.metrics)
        self.cache = Cache(self.metrics, self.clock.monotonic)
        self.waker = Waker(self.cache)
        self.reflectors = [
            Reflector(client, scope, self.cache, monotonic=self.clock.monotonic) for scope in scopes(options)
        ]
        self.recorder = EventRecorder(client, options.identity, wall=self.clock.wall, metrics=self.metrics)
        self.executor = Executor(client, self.cache, self.recorder, self.metrics, clock.monotonic)
        self.poller = GatewayPoller(
            self.cache,
            options.namespace,
            states,
            interval=options.poll_interval,
            monotonic=self.clock.monotonic,
            metrics=self.metrics,
            wake=self._wake,
        )
        self.prober = Prober(
            engine,
            monotonic=self.clock.monotonic,
            metrics=self.metrics,
            wake=lambda key: self._wake([key]),
        )
        self.settings = Settings()
        self.contents = ConfigMapContents(client, self.cache)
        self.replayer = Replayer(
            engine,
            Detectors(engine, outside, lambda key: seat(self.cache, self.settings, key)),
            self.contents,
            self.metrics,
            wake=lambda key: self._wake([key]),
        )
        self.health = Health(self.reflectors, self.metrics)
        self.health.leading = self.metrics.deployments.leading = lambda: self.elector.leading
        self.elector = Elector(
            client,
            options.namespace,
            options.lease_name,
            options.identity,
            epoch_floor=self._highest_epoch,
            monotonic=clock.monotonic,
        )
        self.stopping = asyncio.Event()
        self._client = client
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cache.listen(self._changed)

    async def run(self, make_wake_source: WakeSourceFactory) -> int:
        """Work until SIGTERM (0) or until something that cannot be mended here (1). Raises CannotStartError."""
        loop = asyncio.get_running_loop()

        def on_death(why: str) -> None:
            loop.call_soon_threadsafe(self._fail, why)

        async with AsyncExitStack() as stack:
            # First of all, so that an API server that takes long to come up does not get this process killed.
            runner = await serve(self.health, self.metrics, self.options.metrics_port)
            stack.push_async_callback(runner.cleanup)
            if not await self._prepare():
                return 0
            background = [self._guard(reflector.run()) for reflector in self.reflectors]
            background.append(self._guard(self.health.watch_loop()))
            stack.push_async_callback(_cancel, background)
            source = make_wake_source(from_other_thread(loop, self.queue), on_death)
            stack.callback(source.stop)
            return await self._lead_until_end(source)

    async def _prepare(self) -> bool:
        """Wait until the cluster has what is needed, the master key included; False when asked to stop before that."""

        async def needed() -> bool:
            await check_crds(self._client)
            return bool(await master_key(self._client, self.options.namespace))

        preparing, stopping = asyncio.create_task(needed()), asyncio.create_task(self.stopping.wait())
        try:
            ends: set[asyncio.Future[Any]] = {preparing, stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return preparing.done() and preparing.result()
        finally:
            await _cancel([preparing, stopping])

    def stop(self) -> None:
        """What SIGTERM does: end in good order."""
        log.info("asked to stop")
        self.stopping.set()

    async def _lead_until_end(self, source: WakeSource) -> int:
        leading = asyncio.create_task(self._lead(source))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            ends: set[asyncio.Future[Any]] = {leading, stopping, self._end}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            why = self._why_ending(leading)
            if not why:
                await self._finish_passes()
        finally:
            await _cancel([leading, stopping])
            await self.poller.stop()
            await self.prober.stop()
            await self.replayer.stop()
        if why:
            log.error("ending: %s", why)
            return 1
        if self.elector.leading:
            await self.elector.release()
        return 0

    def _why_ending(self, leading: asyncio.Task[str]) -> str:
        """What went wrong; empty when the process was asked to stop."""
        if self._end.done():
            return self._end.result()
        return leading.result() if leading.done() and not self.stopping.is_set() else ""

    async def _lead(self, source: WakeSource) -> str:
        """Stand by, lead, work; returns why the term ended."""
        for reflector in self.reflectors:
            await reflector.synced.wait()
        give_back()
        log.info("everything is listed; standing by")
        epoch = await self.elector.acquire()
        self.metrics.leader.set(1)
        self.metrics.leader_epoch.set(epoch)
        tasks: list[asyncio.Task[Any]] = [term := asyncio.create_task(self.elector.hold())]
        try:
            self.settings = await self._settings()
            self.prober.unhurried.clear()
            self.poller.start()
            await self.poller.first_round(_FIRST_ROUND)
            if not term.done():
                tasks += self._work(self._reconciler(epoch))
                tasks.append(asyncio.create_task(self._start_late(source)))
            return await term
        except ApiError as error:
            return f"the engine keys cannot be seen to: {error}"
        finally:
            self.metrics.leader.set(0)
            await _cancel(tasks)

    def _work(self, reconciler: Reconciler) -> list[asyncio.Task[Any]]:
        """Everything that a leader does beside holding its Lease."""
        self.waker.begin(self.queue.add)
        for work in self.waker.everything():  # before any is taken up, so that each is looked at once
            self.queue.add(work)
        settings, namespace = reconciler.sources.settings, self.options.namespace
        tending = tend(self._client, namespace, settings.master_key, settings.kept_keys, self._fail)
        passes = [self._guard(reconciler.work()) for _ in range(self.options.workers)]
        return [*passes, *(self._guard(work) for work in (self.recorder.run(), self._resync(), tending))]

    async def _start_late(self, source: WakeSource) -> None:
        """What is not needed for the first look at every deployment must not delay it."""
        await self.queue.caught_up()
        give_back()
        self.prober.unhurried.set()
        source.start()

    async def _settings(self) -> Settings:
        """The installation's settings for this term. Raises ApiError or CannotStartError."""
        options = self.options
        # Read again: it may have been changed while this process stood by.
        key = await master_key(self._client, options.namespace)
        kept = await kept_keys(self._client, self.cache, key)
        await publish(self._client, options.namespace, key, kept)
        return Settings(
            system_namespace=options.namespace,
            gateway_url=options.gateway_url,
            cluster_wide=not options.watch_namespaces,
            poll_interval=options.poll_interval,
            master_key=key,
            kept_keys=kept,
            sim_image=options.sim_image,
            privileged_namespaces=options.privileged_namespaces,
            engine_policies=options.engine_policies,
            engine_tls=bool(options.engine_tls_dir),
            prestop_seconds=options.prestop_seconds,
            hash_version=options.hash_version,
        )

    def _reconciler(self, epoch: int) -> Reconciler:
        return Reconciler(
            Sources(self.cache, self.waker, self.poller, self.prober, self.clock, self.settings),
            self.contents,
            Holders(self._client, self.cache, self.clock.monotonic),
            self.replayer,
            self.executor,
            self.queue,
            self.metrics,
            epoch,
        )

    async def _resync(self) -> None:
        """Everything once in a while, one after the other, so that who has changed does not wait for all of them."""
        while True:
            there = list(self.waker.everything())
            for work in there:
                await asyncio.sleep(self.options.resync / len(there))
                self.queue.add(work)
            if not there:
                await asyncio.sleep(self.options.resync)

    async def _finish_passes(self) -> None:
        """No new passes; those in flight may finish, for a few seconds."""
        self.queue.shut_down()
        try:
            async with asyncio.timeout(_GRACE):
                await self.queue.idle()
        except TimeoutError:
            log.warning("some passes did not finish in %g s", _GRACE)

    def _changed(self, change: Change) -> None:
        self.waker.changed(change)
        if change.after is None:
            self.executor.forget(change.ref)
        if change.ref.resource == MODEL_DEPLOYMENT:
            status = None if change.after is None else change.after.get("status")
            self.metrics.deployments.tell(f"{change.ref.namespace}/{change.ref.name}", status)
        if change.ref.resource != POD or change.ref.namespace != self.options.namespace:
            return
        if any(obj is not None and is_gateway(obj) for obj in (change.before, change.after)):
            self.poller.pods_changed()

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(Work("ModelDeployment", key))

    def _highest_epoch(self) -> int:
        return max((int(t.get("spec", {}).get("epoch") or 0) for t in self.cache.all(ROUTING_TABLE)), default=0)

    def _guard(self, work: Any) -> asyncio.Task[None]:
        """A task whose unforeseen end is the process's end: a part that is missing must not go unnoticed."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.stopping.is_set():
            return
        self._fail(f"a part of the operator ended: {task.exception()!r}")

    def _fail(self, why: str) -> None:
        if not self._end.done():
            self._end.set_result(why)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def stop_on_signals(process: OperatorProcess) -> None:
    """SIGTERM and SIGINT end the process in good order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
