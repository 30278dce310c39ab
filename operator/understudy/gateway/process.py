"""The gateway as a process: start from what is known, follow what changes, and leave without dropping anybody."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from understudy.gateway.admin import Admin, AdminSettings
from understudy.gateway.follow import Follower
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.pair import Pair
from understudy.gateway.snapshot import SnapshotError, read_file
from understudy.gateway.spool import Spool
from understudy.gateway.wire.connection import Connection
from understudy.gateway.wire.door import Door
from understudy.gateway.wire.plane import Limits, Plane
from understudy.gateway.world import World

LOG: Final = logging.getLogger(__name__)
_BACKLOG: Final = 4096
_KEPT_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """How one gateway runs. Times are in seconds.

    `snapshot` alone, without `api`, is enough to serve: nothing then changes. With `api` it is what a restarted
    gateway serves from until the API server answers, and `state_file` is where it is kept.
    `grace_seconds` is how long new requests are still taken after SIGTERM, `shutdown_seconds` how long the open
    ones get after that.
    `tls_dir` holds tls.crt and tls.key for clients; None serves them plain HTTP.
    `pairs_dir` is where texts of pairs are kept, in at most `pairs_bytes`, of deployments that have them kept.
    """

    host: str = "0.0.0.0"  # noqa: S104  # a gateway in a pod listens on the pod's address
    port: int = 8080
    tls_dir: Path | None = None
    admin: AdminSettings = field(default_factory=AdminSettings)
    api: ApiServer | None = None
    system_namespace: str = "understudy-system"
    watch_namespaces: tuple[str, ...] = ()
    snapshot: Path | None = None
    state_file: Path | None = None
    open_access: bool = False
    grace_seconds: float = 10.0
    shutdown_seconds: float = 110.0
    limits: Limits = field(default_factory=Limits)
    pairs_dir: Path | None = None
    pairs_bytes: int = 64 * 1024 * 1024


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises OSError for a taken port or a folder that cannot be written to, SnapshotError for a bad file,
    PairError for a certificate that cannot be used.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    world = World()
    known = _read_snapshot(settings, world)
    world.compile()
    spool = None if settings.pairs_dir is None else Spool(settings.pairs_dir / "pairs.jsonl", settings.pairs_bytes)
    if spool is not None:
        spool.check()
    pair = None if settings.tls_dir is None else Pair(settings.tls_dir)
    plane = Plane(world, settings.limits, open_access=settings.open_access, spool=spool)
    follower = Follower(settings.api, world, plane, settings) if settings.api is not None else None
    admin = Admin(settings.admin, settings.api, plane, start_id=secrets.token_hex(8), ready=known, clients=pair)
    await admin.start()
    listener = socket.create_server((settings.host, settings.port), backlog=_BACKLOG)
    server = await loop.create_server(protocols(plane, pair), sock=listener, backlog=_BACKLOG)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(plane.sweep_forever()), tasks.create_task(admin.renew())]
        if follower is not None:
            running.append(tasks.create_task(follower.run(admin.become_ready)))
        if spool is not None:
            running.append(tasks.create_task(spool.run()))
        # What start-up made lives as long as the process: no use in scanning it again and again.
        gc.collect()
        gc.freeze()
        _keep_memory()
        LOG.info("serving on %s:%d", *listener.getsockname()[:2])
        await stop.wait()
        await _drain(plane, admin, server, settings)
        for task in running:
            task.cancel()
    admin.stop()


def _keep_memory() -> None:
    """Let the C library keep what the bodies of some dozens of long prompts take, for the next ones.

    Reading 64 KiB of JSON takes a megabyte for a moment; glibc would give it back to the kernel each time, and have
    it cleared again: a quarter of all time. It keeps twice the largest block that it has seen mapped and freed.
    """
    bytes(_KEPT_BYTES // 2)


def protocols(plane: Plane, pair: Pair | None) -> Callable[[], asyncio.Protocol]:
    """What makes a protocol for each client that connects."""
    if pair is None:
        return lambda: Connection(plane)
    return lambda: Door(pair, Connection(plane))


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


async def _drain(plane: Plane, admin: Admin, server: asyncio.Server, settings: Settings) -> None:
    """Unready at once; take requests a little longer; then let the open ones end."""
    LOG.info("draining: %d requests open", plane.open_requests())
    admin.ready = False
    plane.draining = True
    plane.shadows.stop()
    await asyncio.sleep(settings.grace_seconds)
    server.close()
    plane.close_idle()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.shutdown_seconds):
            await plane.emptied()
    left = plane.open_requests()
    LOG.log(logging.WARNING if left else logging.INFO, "drained: %d requests cut", left)
    for connection in tuple(plane.connections):
        connection.abort()
    plane.pool.close()
