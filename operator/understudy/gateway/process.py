"""The gateway as a process: start from what is known, follow what changes, and leave without dropping anybody."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from understudy.domain.state import DeploymentState, DetectorState, policy_key
from understudy.gateway import pair
from understudy.gateway.admin import Admin, AdminSettings
from understudy.gateway.databases import Databases
from understudy.gateway.follow import Follower
from understudy.gateway.guards import Loader
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.objects import shards_of
from understudy.gateway.outbox import Outbox
from understudy.gateway.players import Players
from understudy.gateway.policy.evidence import Evidence, Taking
from understudy.gateway.policy.gauges import Gauges
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.requestlog import RequestLog
from understudy.gateway.ship import Shipper
from understudy.gateway.snapshot import SnapshotError, read_file
from understudy.gateway.spool import Spool
from understudy.gateway.upstream_tls import UpstreamTls
from understudy.gateway.wire.acceptor import Acceptor
from understudy.gateway.wire.connection import Connection
from understudy.gateway.wire.door import Door
from understudy.gateway.wire.ledger import Ledger
from understudy.gateway.wire.plane import Limits, Plane
from understudy.gateway.world import World
from understudy.telemetry.beside import Beside

LOG: Final = logging.getLogger(__name__)
_BACKLOG: Final = 4096
_KEPT_BYTES: Final = 32 * 1024 * 1024
# Policies that come together, such as those of several deployments, are set aside together.
_TOGETHER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one gateway runs. Times are in seconds.

    `snapshot` alone, without `api`, is enough to serve: nothing then changes. With `api` it is what a restarted
    gateway serves from until the API server answers, and `state_file` is where it is kept.
    `grace_seconds` is how long new requests are still taken after SIGTERM, `shutdown_seconds` how long the open
    ones get after that.
    `gateway_service` is the Service, in `system_namespace`, of all gateways; empty: there is but this one.
    `tls_dir` holds tls.crt and tls.key for clients; None serves them plain HTTP. `engine_tls_dir` holds ca.crt, and
    tls.crt and tls.key where engines ask for them; without it no engine that speaks TLS is trusted.
    `ledger` is where budgets of keys are kept; without, such a key is refused.
    `pairs_dir` is where texts of pairs are kept, in at most `pairs_bytes`, of deployments that have them kept;
    `requests_dir` where the request log is, in at most `requests_bytes`, of `requests_percent` of all requests.
    `records` is where that share is sent; until then it waits in `records_dir`, in at most `records_bytes`.
    With more than one of `workers`, processes of their own carry requests; one that stands still for `hung_seconds` is
    killed.
    """

    host: str = "0.0.0.0"  # noqa: S104  # a gateway in a pod listens on the pod's address
    port: int = 8080
    tls_dir: Path | None = None
    engine_tls_dir: Path | None = None
    admin: AdminSettings = field(default_factory=AdminSettings)
    api: ApiServer | None = None
    ledger: ApiServer | None = None
    system_namespace: str = "understudy-system"
    watch_namespaces: tuple[str, ...] = ()
    gateway_service: str = ""
    snapshot: Path | None = None
    state_file: Path | None = None
    open_access: bool = False
    grace_seconds: float = 10.0
    shutdown_seconds: float = 110.0
    limits: Limits = field(default_factory=Limits)
    pairs_dir: Path | None = None
    pairs_bytes: int = 64 * 1024 * 1024
    requests_dir: Path | None = None
    requests_bytes: int = 64 * 1024 * 1024
    requests_percent: float = 100.0
    records: ApiServer | None = None
    records_dir: Path | None = None
    records_bytes: int = 64 * 1024 * 1024
    workers: int = 1
    hung_seconds: float = 20.0


class Station:
    """What carries requests in one process: the plane, and what keeps it up to date.

    Of several workers each has its `part`, one alone `keeps` what is known in the file for the next start, and each
    tells of new routes by `changed`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        evidence: Evidence | None = None,
        part: Part = WHOLE,
        samples: Taking | None = None,
        lots: Taking | None = None,
        keeps: bool = True,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises OSError, SnapshotError and PairError as `serve`."""
        self.world = World(evidence, part)
        # `ready`: something is known to serve by; `listed`: all is known that there is now.
        self.ready = _read_snapshot(settings, self.world)
        self.listed = settings.api is None
        self.world.compile()
        self._settings = settings
        pairs = None if settings.pairs_dir is None else Spool(settings.pairs_dir / "pairs.jsonl", settings.pairs_bytes)
        told = None
        if settings.requests_dir is not None:
            told = Spool(settings.requests_dir / "requests.jsonl", settings.requests_bytes, rotates=True)
        self._shipper = _shipper(settings, part)
        log = None
        if told is not None or self._shipper is not None:
            outbox = None if self._shipper is None else self._shipper.outbox
            log = RequestLog(told, settings.requests_percent, outbox=outbox)
        self._spools = [spool for spool in (pairs, told) if spool is not None]
        for spool in self._spools:
            spool.check()
        self._pair = None if settings.tls_dir is None else pair.Pair(settings.tls_dir)
        engine_tls = UpstreamTls(settings.engine_tls_dir)
        # All certificates that the process uses, by whom it speaks to.
        self._pairs = {} if self._pair is None else {"clients": self._pair}
        if engine_tls.files is not None:
            self._pairs["engines"] = engine_tls.files
        self._players = None
        if settings.records is not None and self._shipper is not None and settings.records_dir is not None:
            file = settings.records_dir / f"players-{part.index}.json"
            self._players = Players(settings.records, self._shipper.outbox, file, hurry=self._shipper.hurry)
        ledger = None if settings.ledger is None else Ledger(settings.ledger, socket.gethostname())
        self.plane = Plane(
            self.world,
            settings.limits,
            open_access=settings.open_access,
            spool=pairs,
            log=log,
            engine_tls=engine_tls,
            ledger=ledger,
            players=self._players,
            part=part,
            samples=samples,
            lots=lots,
        )
        self._follower: Follower | None = None
        self._changed = changed
        folder = Path(tempfile.gettempdir()) / f"understudy-guards-{os.getuid()}"
        if settings.state_file is not None:
            folder = settings.state_file.parent / "guards"
        fetch = None if settings.api is None else shards_of(settings.api)
        self._loader = Loader(
            self.world.guards, Databases(folder), self.world.wanted, self._guarded, fetch, self.plane.panel.follow
        )
        if settings.api is not None:
            followed = settings if keeps else replace(settings, state_file=None)
            self._follower = Follower(settings.api, self.world, self.plane, followed, self._routed)
        self._known = asyncio.Event()
        self._setting_aside: asyncio.TimerHandle | None = None
        # Who comes before Guardrails are loaded is refused: so nobody is to come.
        self._unsettled = self.ready and bool(self.world.wanted())
        self.ready = self.ready and not self._unsettled
        if self.ready:
            self._known.set()

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to keep up with what changes; the tasks to cancel at the end."""
        running = [tasks.create_task(self.plane.sweep_forever()), tasks.create_task(self.plane.budgets.run())]
        running += [tasks.create_task(each.renew()) for each in self._pairs.values()]
        running.append(tasks.create_task(self._loader.run()))
        if self._unsettled:
            self.plane.spawn(self._settle())
        if self._follower is not None:
            running.append(tasks.create_task(self._follower.run(self.become_ready)))
        running += [tasks.create_task(spool.run()) for spool in self._spools]
        if self._shipper is not None:
            running.append(tasks.create_task(self._shipper.run()))
        if self._players is not None:
            running.append(tasks.create_task(self._players.run()))
        set_aside()
        _keep_memory()
        return running

    def _routed(self) -> None:
        """There are new routes."""
        self._loader.look()
        self._changed()

    def _guarded(self, keys: Iterable[str]) -> None:
        """Guardrails of these deployments have been loaded."""
        if self._setting_aside is None:
            self._setting_aside = asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self._set_aside)
        self.world.guarded(keys)
        if self._follower is not None:
            self._follower.compile()
            return
        self.world.compile()
        self.plane.rerouted()
        self._changed()

    def _set_aside(self) -> None:
        self._setting_aside = None
        set_aside()

    def become_ready(self) -> None:
        """Everything needed is known; a gateway that is leaving stays unready."""
        self.listed = True
        if self.world.wanted() and not self._known.is_set():
            self.plane.spawn(self._settle())
            return
        self.ready = not self.plane.draining
        self._known.set()

    async def _settle(self) -> None:
        """Wait for Guardrails, if they are to be had, before anybody is served."""
        await self._loader.settle()
        self.ready = not self.plane.draining
        self._known.set()

    async def known(self) -> None:
        """Wait until there is something to serve by."""
        await self._known.wait()

    def protocols(self) -> Callable[[], asyncio.Protocol]:
        """What makes a protocol for each client that connects."""
        return protocols(self.plane, self._pair)

    def deployments(
        self, *, only_active: bool = False, names: Collection[str] | None = None
    ) -> dict[str, DeploymentState]:
        """As the admin port's Source."""
        plane = self.plane
        return self.world.state(plane.clock(), plane.queue.waiting(), only_active=only_active, names=names)

    def guards(self) -> dict[str, str]:
        """As the admin port's Source."""
        return self.world.guards.told(self.world.wanted())

    def detectors(self) -> dict[str, DetectorState]:
        """As the admin port's Source."""
        named = {
            policy_key(deployment.partition("/")[0], guard.name, guard.policy)
            for deployment, guards in self.world.wanted().items()
            for guard in guards
        }
        return {**self.plane.panel.told(named), **self.world.guards.portable()}

    def beside(self) -> dict[str, Beside]:
        """As the admin port's Source."""
        return self.world.beside(self.plane.clock())

    def gauges(self) -> Gauges:
        """As the admin port's Source."""
        own = pair.gauges(self._pairs) if self._pairs else {}
        sent = {} if self._shipper is None else self._shipper.gauges()
        played = {} if self._players is None else self._players.gauges()
        return {**self.plane.gauges(), **own, **sent, **played}

    async def drain(self, door: asyncio.Server | Acceptor | None) -> None:
        """Unready at once; take requests a little longer; then close the door and let the open ones end."""
        plane = self.plane
        LOG.info("draining: %d requests open", plane.open_requests())
        self.ready = False
        plane.draining = True
        plane.shadows.stop()
        plane.budgets.begin_to_leave()
        await asyncio.sleep(self._settings.grace_seconds)
        if door is not None:
            door.close()
        plane.close_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await plane.emptied()
        left = plane.open_requests()
        LOG.log(logging.WARNING if left else logging.INFO, "drained: %d requests cut", left)
        for connection in tuple(plane.connections):
            connection.abort()
        plane.pool.close()
        await plane.budgets.leave()
        if self._shipper is not None:
            await self._shipper.flush()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises OSError for a taken port or a folder that cannot be written to, SnapshotError for a bad file,
    PairError for a certificate that cannot be used.
    """
    stop = stop_signal()
    station = Station(settings)
    admin = Admin(
        settings.admin, settings.api, station, start_id=secrets.token_hex(8), clock=asyncio.get_running_loop().time
    )
    await admin.start()
    listener = listen(settings)
    server = await asyncio.get_running_loop().create_server(station.protocols(), sock=listener, backlog=_BACKLOG)
    async with asyncio.TaskGroup() as tasks:
        running = [*station.start(tasks), tasks.create_task(admin.renew())]
        LOG.info("serving on %s:%d", *listener.getsockname()[:2])
        await stop.wait()
        await station.drain(server)
        for task in running:
            task.cancel()
    admin.stop()


def stop_signal() -> asyncio.Event:
    """Set at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def listen(settings: Settings) -> socket.socket:
    """The socket that clients connect to; raises OSError."""
    return socket.create_server((settings.host, settings.port), backlog=_BACKLOG)


def set_aside() -> None:
    """Have the collector leave alone what there is: it lives as long as the process, or as the policies that it is of.

    To look through the thousands of objects that a list of words is made of takes milliseconds, again and again. What
    was set aside before and is of no use any more goes first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _keep_memory() -> None:
    """Let the C library keep what the bodies of some dozens of long prompts take, for the next ones.

    Reading 64 KiB of JSON takes a megabyte for a moment; glibc would give it back to the kernel each time, and have
    it cleared again: a quarter of all time. It keeps twice the largest block that it has seen mapped and freed.
    """
    bytes(_KEPT_BYTES // 2)


def protocols(plane: Plane, shown: pair.Pair | None) -> Callable[[], asyncio.Protocol]:
    """What makes a protocol for each client that connects; `shown` is the certificate for TLS."""
    if shown is None:
        return lambda: Connection(plane)
    return lambda: Door(shown, Connection(plane))


def _shipper(settings: Settings, part: Part) -> Shipper | None:
    """What brings records to where they are kept; each worker has an outbox of its own."""
    if settings.records is None or settings.records_dir is None:
        return None
    settings.records_dir.mkdir(parents=True, exist_ok=True)
    # Fewer workers than before: somebody must send what the others left.
    others = [path for path in settings.records_dir.iterdir() if path.name.isdecimal() and int(path.name) >= part.count]
    folder = settings.records_dir / str(part.index)
    outbox = Outbox(folder, settings.records_bytes // part.count, others if part.index == 0 else ())
    return Shipper(outbox, settings.records)


def _read_snapshot(settings: Settings, world: World) -> bool:
    """Start from the file that there is; whether there was one."""
    if settings.snapshot is not None:
        read_file(settings.snapshot, world)
        return True
    if settings.state_file is None:
        return False
    try:
        read_file(settings.state_file, world)
    except FileNotFoundError:
        return False
    except (OSError, SnapshotError) as error:
        LOG.warning("snapshot %s is of no use: %s", settings.state_file, error)
        return False
    return True
