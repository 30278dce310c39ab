"""One worker of several: it carries requests as a gateway alone does, and counts where its parent can read it.

It listens on its parent's socket and has no admin port.
"""

import asyncio
import logging
import mmap
import os
import socket
import sys
from dataclasses import dataclass
from typing import Final

from understudy.gateway.policy import seen
from understudy.gateway.policy.books import Notice, dump_notice
from understudy.gateway.policy.cells import twin
from understudy.gateway.policy.evidence import Counters, Evidence
from understudy.gateway.policy.part import Part
from understudy.gateway.process import Settings, Station, stop_signal
from understudy.gateway.slot import Slot
from understudy.gateway.wire.acceptor import Acceptor, Crowd

LOG: Final = logging.getLogger(__name__)
NOTICE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Task:
    """Which worker a process is, and the file descriptors that it got from its parent.

    `listener` is the socket that clients connect to, `slot` this worker's memory, `shared` that of all workers.
    """

    index: int
    count: int
    listener: int
    slot: int
    shared: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}:{self.listener}:{self.slot}:{self.shared}"

    @classmethod
    def parse(cls, text: str) -> "Task":
        """What `str` made of one; raises ValueError."""
        numbers = text.replace("/", ":").split(":")
        index, count, listener, slot, shared = (int(number) for number in numbers)
        return cls(index, count, listener, slot, shared)


class Shared:
    """Memory that all of `count` workers write to: which conversations gave a sample, and which a pair, and how many
    connections each worker has.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        self.descriptor = descriptor
        memory = memoryview(mmap.mmap(descriptor, 2 * seen.BYTES + 8 * count))
        self.samples = seen.Seen(memory[: seen.BYTES])
        self.lots = seen.Seen(memory[seen.BYTES : 2 * seen.BYTES])
        self.crowds = [Crowd(memory[2 * seen.BYTES :], index) for index in range(count)]

    @classmethod
    def make(cls, count: int) -> "Shared":
        """A new one, in which nobody takes connections yet."""
        descriptor = os.memfd_create("understudy-workers")
        os.ftruncate(descriptor, 2 * seen.BYTES + 8 * count)
        shared = cls(descriptor, count)
        for crowd in shared.crowds:
            crowd.leave()
        return shared


class Reporter:
    """Has this worker's counters in its slot, and says there what it serves by."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._rows: dict[str, dict[str, int]] = {}
        self.accepting = False
        self.evidence = Evidence(self._count)

    def report(self, station: Station) -> None:
        """Say how things stand.

        It must be done in the turn of the loop in which the routes changed: a row is named before anything is counted
        in it.
        """
        world, plane = station.world, station.plane
        kept = self.evidence.by_deployment
        self._rows = {key: {revision: self._rows[key][revision] for revision in kept[key]} for key in kept}
        notice = Notice(
            ready=self.accepting and station.ready,
            listed=station.listed,
            standings=world.standings(plane.clock(), plane.queue.waiting()),
            rows=self._rows,
            gauges=station.gauges(),
            guards=station.guards(),
            detectors=station.detectors(),
        )
        self._slot.say(dump_notice(notice))

    async def run(self, station: Station) -> None:
        """Say it again and again until cancelled: numbers change, and the parent sees that the loop turns."""
        while True:
            self.report(station)
            await asyncio.sleep(NOTICE_SECONDS)

    def _count(self, deployment: str, revision: str) -> Counters:
        row, cells = self._slot.row()
        self._rows.setdefault(deployment, {})[revision] = row
        return twin(cells)


async def serve(settings: Settings, task: Task) -> None:
    """Serve until SIGTERM or SIGINT, then drain; end at once if the parent is gone. Raises as `process.serve`."""
    stop = stop_signal()
    # The parent holds the other end of standard input and never writes.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: os._exit(1))
    reporter = Reporter(Slot(task.slot))
    shared = Shared(task.shared, task.count)
    station = Station(
        settings,
        evidence=reporter.evidence,
        part=Part(task.index, task.count),
        samples=shared.samples,
        lots=shared.lots,
        # One writes what is known to the disk; all read it when they begin.
        keeps=task.index == 0,
        changed=lambda: reporter.report(station),
    )
    door: Acceptor | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [*station.start(tasks), tasks.create_task(reporter.run(station))]
        stopping = tasks.create_task(stop.wait())
        knowing = tasks.create_task(station.known())
        await asyncio.wait((stopping, knowing), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            listener = socket.socket(fileno=task.listener)
            crowd = shared.crowds[task.index]
            door = Acceptor(listener, station.protocols(), crowd, lambda: len(station.plane.connections))
            reporter.accepting = True
            reporter.report(station)
            LOG.info("worker %d of %d serves", task.index, task.count)
            await stopping
        await station.drain(door)
        reporter.report(station)
        for each in (*running, knowing):
            each.cancel()
