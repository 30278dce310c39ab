"""The records as a process: open the database, serve, sweep, and leave when told to."""

import asyncio
import functools
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.pair import Pair
from understudy.gateway.reviews import Reviews
from understudy.records.access import Access
from understudy.records.app import make_app
from understudy.records.database import held, open_database
from understudy.records.engagement.folding import Folding
from understudy.records.engagement.routes import Hub, engagement_router, fold_forever, look_forever
from understudy.records.ingest import Ingest
from understudy.records.ledger import Ledger
from understudy.records.policy.subjects import Keys, parse_keys
from understudy.records.read_routes import read_router
from understudy.records.retention import Keep, Retention
from understudy.records.rollouts import Rollouts
from understudy.records.subject_routes import subject_router
from understudy.telemetry.records import RecordsMetrics

LOG: Final = logging.getLogger(__name__)
PORT: Final = 9902
_SWEEP_SECONDS: Final = 10.0
_FORGET_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 60.0
# Questions take milliseconds; what has not been answered by then would be asked again anyway.
_SHUTDOWN_SECONDS: Final = 5


class KeysError(ValueError):
    """Secrets for identifiers that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the process runs. `tls_dir` holds tls.crt and tls.key, None serves plain HTTP.

    Records are kept as `keep` says; with `only_ledger` none are taken. `subject_keys` holds the secrets that
    identifiers are hashed with; None stores none. With `auth` "token" only `admins` may have somebody erased.
    With `auth` "token" only the `subjects` may ask, as the API server `api` names them; `metrics_subjects` may read
    metrics as well, and nothing else. Rollouts are followed there, of `watch_namespaces` or (without any) of all.
    """

    database: str
    host: str = "0.0.0.0"  # noqa: S104  # a process in a pod listens on the pod's address
    port: int = PORT
    tls_dir: Path | None = None
    auth: Literal["token", "none"] = "token"
    subjects: tuple[str, ...] = ()
    metrics_subjects: tuple[str, ...] = ()
    api: ApiServer | None = None
    reset_clock: bool = False
    only_ledger: bool = False
    keep: Keep = field(default_factory=Keep)
    subject_keys: Path | None = None
    admins: tuple[str, ...] = ()
    watch_namespaces: tuple[str, ...] = ()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises OSError for a taken port, PairError for a certificate that cannot be used, DatabaseError for a database,
    KeysError for secrets.
    """
    pair = None if settings.tls_dir is None else Pair(settings.tls_dir)
    keys = _read_keys(settings.subject_keys)
    with held(settings.database):
        await _serve(settings, pair, keys)


async def _serve(settings: Settings, pair: Pair | None, keys: Keys | None) -> None:
    engine = open_database(settings.database)
    ledger = Ledger(engine, time.time)
    if settings.reset_clock:
        ledger.reset_clock()
    reviews = readers = None
    if settings.auth == "token":
        reviews = Reviews(settings.api, settings.subjects)
        readers = Reviews(settings.api, settings.subjects + settings.metrics_subjects)
    ingest = None if settings.only_ledger else Ingest(engine, time.time, keys)
    metrics = RecordsMetrics()
    subjects = engagement = None
    hub, news = Hub(), asyncio.Event()
    folding = None
    if ingest is not None and keys is not None:
        admins = Reviews(settings.api, settings.admins) if settings.auth == "token" else None
        subjects = (subject_router(engine, keys), admins)
        folding = Folding(engine, keys, time.time, metrics)
        engagement = (engagement_router(engine, keys, folding, hub), news.set)
        metrics.listening.set_function(lambda: hub.count)
    reads = None
    if ingest is not None:
        access = Access(settings.api, time.monotonic) if settings.auth == "token" else None
        reads = read_router(engine, ingest, access)
    app = make_app(ledger, metrics, reviews, readers, ingest, subjects, engagement, reads)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        ssl_context_factory=None if pair is None else lambda *_: _front(pair),
    )
    listener = socket.create_server((settings.host, settings.port))
    # The server raises the signal that it stopped by once more; what is to be done by then is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_repeat(_SWEEP_SECONDS, "leases cannot be swept", ledger.sweep))]
            if ingest is not None:
                forget = functools.partial(_forget, Retention(engine, time.time, settings.keep), metrics)
                running.append(tasks.create_task(_repeat(_FORGET_SECONDS, "nothing can be forgotten", forget)))
                if settings.api is not None:
                    rollouts = Rollouts(settings.api, engine, time.time)
                    running.append(tasks.create_task(rollouts.run(settings.watch_namespaces)))
            if folding is not None:
                running.append(tasks.create_task(fold_forever(folding, hub, news)))
                running.append(tasks.create_task(look_forever(folding, hub, _LOOK_SECONDS)))
            if pair is not None:
                running.append(tasks.create_task(pair.renew()))
            LOG.info("serving on %s:%d", *listener.getsockname()[:2])
            await _Server(config, hub).serve(sockets=[listener])
            for task in running:
                task.cancel()
    finally:
        engine.dispose()


class _Server(uvicorn.Server):
    """One that ends its streams first: it would wait for them."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's."""
        self._hub.leave()
        await super().shutdown(sockets)


def _front(pair: Pair) -> ssl.SSLContext:
    """A context that shows the certificate of the moment: the server keeps the one that it was started with."""
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.minimum_version = ssl.TLSVersion.TLSv1_2

    def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = pair.context

    front.sni_callback = show
    return front


def _forget(retention: Retention, metrics: RecordsMetrics) -> None:
    gone = retention.sweep()
    metrics.overdue.set(retention.overdue)
    if gone:
        LOG.info("%d records were kept long enough and are gone", gone)


def _read_keys(folder: Path | None) -> Keys | None:
    if folder is None:
        return None
    # A mounted Secret has folders and links of the kubelet's own beside its files, whose names begin with a dot.
    files = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
    try:
        return parse_keys(files)
    except ValueError as error:
        raise KeysError(f"{folder}: {error}") from error


async def _repeat(seconds: float, complaint: str, task: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(task)
        except SQLAlchemyError as error:
            LOG.warning("%s: %s", complaint, getattr(error, "orig", error))
