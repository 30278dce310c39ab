"""The parent of several workers: it holds the port, starts who has died again, and answers for all on the admin port.

Nothing that a client says passes here. The listening socket is made once and inherited: connections that a dead worker
had not taken yet are taken by another one.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from understudy.domain.state import DeploymentState, DetectorState
from understudy.gateway.admin import Admin
from understudy.gateway.policy.books import Books, parse_notice
from understudy.gateway.policy.cells import Cells
from understudy.gateway.policy.gauges import Gauges, joined
from understudy.gateway.process import Settings, listen, stop_signal
from understudy.gateway.slot import Slot
from understudy.gateway.worker import Shared, Task
from understudy.telemetry.beside import Beside

LOG: Final = logging.getLogger(__name__)
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
# Who has lived for so long has not died of how it was started.
_STEADY_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
# Before its first word a worker may stand still for so long: a busy machine takes its time to start a process.
_START_SECONDS: Final = 60.0
# What a worker may need beyond the times that it was given to leave.
_LEAVE_SECONDS: Final = 8.0
DEATHS: Final = ("exited", "killed", "hung")


@dataclass(frozen=True, slots=True)
class _End:
    """How a worker ended: `kind` is of DEATHS, `status` what its parent would end with. `spoke`: it had begun."""

    kind: str
    how: str
    status: int
    spoke: bool


class WorkerError(RuntimeError):
    """The first worker of a place could not begin; `status` is to be the exit status."""

    def __init__(self, index: int, end: _End) -> None:
        self.status = end.status
        super().__init__(f"worker {index} could not start ({end.how}); what it said itself is above")


@dataclass(slots=True)
class _Worker:
    """One process and its memory.

    `heard` is how many notices there were at the last one heard, `seen` at the last look; `silent` is how many looks
    in a row found no new one.
    """

    process: asyncio.subprocess.Process
    slot: Slot
    heard: int = 0
    seen: int = 0
    silent: int = 0
    hung: bool = False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is gone by itself."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Workers:
    """All workers of one gateway; the admin port's Source. `command` starts this process once more."""

    def __init__(self, settings: Settings, command: Sequence[str], listener: socket.socket) -> None:
        self._settings = settings
        self._command = command
        self._listener = listener
        self._shared = Shared.make(settings.workers)
        self._living: dict[int, _Worker] = {}
        self._books = Books(settings.workers)
        self._deaths: dict[str, float] = dict.fromkeys(DEATHS, 0)
        self._leaving = asyncio.Event()
        self._failed: WorkerError | None = None

    @property
    def ready(self) -> bool:
        """As Source's."""
        self._hear()
        return self._books.ready and not self._leaving.is_set()

    def deployments(
        self, *, only_active: bool = False, names: Collection[str] | None = None
    ) -> Mapping[str, DeploymentState]:
        """As Source's."""
        self._hear()
        return self._books.deployments(self._read, only_active=only_active, names=names)

    def guards(self) -> Mapping[str, str]:
        """As Source's."""
        self._hear()
        return self._books.guards()

    def detectors(self) -> Mapping[str, DetectorState]:
        """As Source's."""
        self._hear()
        return self._books.detectors()

    def beside(self) -> Mapping[str, Beside]:
        """As Source's."""
        self._hear()
        return self._books.beside(self._read)

    def gauges(self) -> Gauges:
        """As Source's."""
        self._hear()
        own = {
            "understudy_workers": ("Processes that carry requests", {"": float(len(self._living))}),
            "understudy_worker_deaths_total": ("Workers that ended unasked, by how", dict(self._deaths)),
        }
        return joined((self._books.gauges(), own))

    async def run(self, stop: asyncio.Event) -> None:
        """Keep all workers until `stop`, then let them drain; raises WorkerError if one cannot begin."""
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [tasks.create_task(self._keep(index, stop)) for index in range(self._settings.workers)]
                watching = tasks.create_task(self._watch())
                await stop.wait()
                await self._leave(keeping)
                watching.cancel()
        finally:
            self._send(signal.SIGKILL)
        if self._failed is not None:
            raise self._failed

    async def _keep(self, index: int, stop: asyncio.Event) -> None:
        """Have a worker in the place `index` until the gateway leaves."""
        clock = asyncio.get_running_loop().time
        begun = False
        backoff = _FIRST_BACKOFF
        while not self._leaving.is_set():
            began = clock()
            end = await self._life(index)
            if self._leaving.is_set():
                break
            begun = begun or end.spoke
            if not begun:
                self._failed = WorkerError(index, end)
                stop.set()
                break
            self._deaths[end.kind] += 1
            if clock() - began >= _STEADY_SECONDS:
                backoff = _FIRST_BACKOFF
            LOG.error("worker %d is gone (%s); the next one starts in %.1f s", index, end.how, backoff)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._leaving.wait()
            backoff = min(2 * backoff, _LONGEST_BACKOFF)

    async def _life(self, index: int) -> _End:
        """Start a worker, wait until it has ended, and take over what it has counted."""
        try:
            worker = self._living[index] = await self._start(index)
        except OSError as error:
            return _End("exited", f"no process for it: {error}", 1, spoke=False)
        if self._leaving.is_set():
            worker.send(signal.SIGTERM)
        returned = await worker.process.wait()
        self._hear_one(index)
        spoke = self._books.died(index, worker.slot.read)
        del self._living[index]
        worker.slot.close()
        self._shared.crowds[index].leave()
        if worker.hung:
            return _End("hung", "it stood still", 1, spoke)
        if returned < 0:
            return _End("killed", f"signal {signal.Signals(-returned).name}", 1, spoke)
        return _End("exited", f"exit status {returned}", returned or 1, spoke)

    async def _start(self, index: int) -> _Worker:
        slot = Slot.make()
        descriptors = (self._listener.fileno(), slot.descriptor, self._shared.descriptor)
        task = Task(index, self._settings.workers, *descriptors)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, f"--worker={task}", stdin=asyncio.subprocess.PIPE, pass_fds=descriptors
            )
        except OSError:
            slot.close()
            raise
        return _Worker(process, slot)

    def _read(self, index: int, row: int) -> Cells:
        return self._living[index].slot.read(row)

    def _hear(self) -> None:
        for index in self._living:
            self._hear_one(index)

    def _hear_one(self, index: int) -> None:
        worker = self._living[index]
        said = worker.slot.said
        if said != worker.heard:
            worker.heard = said
            self._books.hear(index, parse_notice(worker.slot.heard()))

    async def _watch(self) -> None:
        """Kill whoever stands still: it holds its connections and serves none of them.

        Looks are counted and not seconds, so that a machine that stood still altogether kills nobody.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for worker in self._living.values():
                said = worker.slot.said
                worker.silent = worker.silent + 1 if said == worker.seen else 0
                worker.seen = said
                most = self._settings.hung_seconds if said else max(self._settings.hung_seconds, _START_SECONDS)
                if worker.silent * _LOOK_SECONDS >= most:
                    worker.hung = True
                    worker.send(signal.SIGKILL)

    async def _leave(self, keeping: list[asyncio.Task[None]]) -> None:
        """Let all workers drain, each as one alone would; who has failed to start is not waited for."""
        self._leaving.set()
        # Once the last worker closes its own, nobody is let in to wait for nobody.
        self._listener.close()
        self._send(signal.SIGTERM if self._failed is None else signal.SIGKILL)
        times = self._settings.grace_seconds + self._settings.shutdown_seconds + _LEAVE_SECONDS
        _, late = await asyncio.wait(keeping, timeout=times)
        if late:
            LOG.warning("%d workers did not leave in time; they are killed", len(late))
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._living.values():
            worker.send(number)


async def serve(settings: Settings, command: Sequence[str]) -> None:
    """Serve by workers until SIGTERM or SIGINT, then let them drain.

    `command` is what this process was started by. Raises what `process.serve` does, and WorkerError.
    """
    stop = stop_signal()
    listener = listen(settings)
    workers = Workers(settings, command, listener)
    clock = asyncio.get_running_loop().time
    admin = Admin(settings.admin, settings.api, workers, start_id=secrets.token_hex(8), clock=clock)
    await admin.start()
    LOG.info("serving on %s:%d by %d workers", *listener.getsockname()[:2], settings.workers)
    renewing = asyncio.create_task(admin.renew())
    try:
        await workers.run(stop)
    finally:
        renewing.cancel()
        admin.stop()
