"""The records for tests: in the test's own process, or as a process of their own."""

import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from local.ports import free_port
from tests.gateway.certificates import NAME
from tests.gateway.gateways import until
from tests.gateway.worlds import noon
from tests.records.ready import ready
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.reviews import Reviews
from understudy.records.access import Access
from understudy.records.app import make_app
from understudy.records.engagement.folding import Folding
from understudy.records.engagement.routes import Hub, engagement_router, fold_forever
from understudy.records.ingest import Ingest
from understudy.records.ledger import Ledger
from understudy.records.policy.subjects import Keys
from understudy.records.read_routes import read_router
from understudy.records.subject_routes import subject_router
from understudy.telemetry.records import RecordsMetrics

ACCOUNT = "understudy-system/team-a"
GATEWAY = "system:serviceaccount:understudy-system:understudy-gateway"
OPERATOR = str(Path(__file__).parents[2] / "operator")


def question(**changed: Any) -> dict[str, Any]:
    """What a gateway asks first, but for what the test says."""
    return {
        "holder": "gateway-1", "account": ACCOUNT, "unit": "tokens", "amount": 100_000, "period": "day", "tz": noon(),
        "fence": 0, "spent": 0, "held": 0, "keep": 0, "need": 0, "want": 1_000, **changed,
    }  # fmt: skip


def lease(number: int) -> str:
    """The path of a lease."""
    return f"/v1/ledger/leases/{number:032x}"


@dataclass
class Records:
    """A server and how to ask it."""

    base: str
    ledger: Ledger | None = None
    ingest: Ingest | None = None
    child: "asyncio.subprocess.Process | None" = None

    async def ask(
        self, method: str, path: str, body: Any = None, token: str = "", tls: ssl.SSLContext | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of one question."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        given: Any = tls if tls is not None else True
        connector = aiohttp.TCPConnector(ssl=given, force_close=True)
        name = NAME if tls is not None else None
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, self.base + path, json=body, headers=headers, server_hostname=name) as answer,
        ):
            return answer.status, await (answer.json() if "json" in answer.content_type else answer.text())


@asynccontextmanager
async def records(
    where: Path | str,
    clock: Callable[[], float],
    api_url: str = "",
    readers: tuple[str, ...] = (),
    keys: Keys | None = None,
    admins: tuple[str, ...] = (),
) -> AsyncIterator[Records]:
    """A server in this process, on the database of a URL or in a folder; with an `api_url` it wants tokens.

    With `keys` it stores who is spoken of, and `admins` may have somebody erased.
    """
    engine = ready(where if isinstance(where, str) else f"sqlite:///{where}/records.db")
    ledger = Ledger(engine, clock)
    reviews = Reviews(ApiServer(api_url), (GATEWAY,)) if api_url else None
    metrics = Reviews(ApiServer(api_url), (GATEWAY, *readers)) if api_url else None
    ingest = Ingest(engine, clock, keys)
    asking = Reviews(ApiServer(api_url), admins) if api_url else None
    erasing = None if keys is None else (subject_router(engine, keys), asking)
    own, hub, news = RecordsMetrics(), Hub(), asyncio.Event()
    engagement, folder = None, None
    if keys is not None:
        folding = Folding(engine, keys, clock, own)
        engagement = (engagement_router(engine, keys, folding, hub), news.set)
        folder = asyncio.ensure_future(fold_forever(folding, hub, news))
    reads = read_router(engine, ingest, Access(ApiServer(api_url), time.monotonic) if api_url else None)
    app = make_app(ledger, own, reviews, metrics, ingest, erasing, engagement, reads)
    server = _Server(uvicorn.Config(app, lifespan="off", log_config=None))
    listener = socket.create_server(("127.0.0.1", free_port()))
    await server.begin(listener)
    try:
        yield Records(f"http://127.0.0.1:{listener.getsockname()[1]}", ledger, ingest)
    finally:
        hub.leave()
        if folder is not None:
            folder.cancel()
        await server.end(listener)
        engine.dispose()


class _Server(uvicorn.Server):
    """Ends as soon as nothing is open: uvicorn's own looks for that only ten times a second, and sleeps in between."""

    async def begin(self, listener: socket.socket) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])
        await self.on_tick(0)

    async def end(self, listener: socket.socket) -> None:
        for server in self.servers:
            server.close()
        listener.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        await until(lambda: not (self.server_state.connections or self.server_state.tasks))
        for server in self.servers:
            await server.wait_closed()


@asynccontextmanager
async def process(
    where: Path | str, *flags: str, port: int = 0, tls: ssl.SSLContext | None = None, within: tuple[str, ...] = ()
) -> AsyncIterator[Records]:
    """A records process that answers, on the database of a URL or in a folder; killed at the end if it still runs.

    `within` are words of a command that becomes the one which follows it.
    """
    port = port or free_port()
    url = where if isinstance(where, str) else f"sqlite:///{where}/records.db"
    listens = (f"--database={url}", "--host=127.0.0.1", f"--port={port}")
    child = await asyncio.create_subprocess_exec(
        *within, sys.executable, "-W", "error", "-m", "understudy.cli.main", "records", *listens, *flags,
        env={**os.environ, "PYTHONPATH": OPERATOR, "KUBERNETES_SERVICE_HOST": ""},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    made = Records(f"{'https' if tls else 'http'}://127.0.0.1:{port}", child=child)
    try:
        while child.returncode is None:
            try:
                await made.ask("GET", "/healthz", tls=tls)
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
        yield made
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()
