"""A gateway inside the test's own process, on loopback, with every time limit in the test's hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from understudy.domain.state import RevisionState
from understudy.gateway.pair import Pair
from understudy.gateway.players import Players
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.process import protocols
from understudy.gateway.snapshot import load
from understudy.gateway.spool import Spool
from understudy.gateway.upstream_tls import UpstreamTls
from understudy.gateway.wire import plane as plane_module
from understudy.gateway.wire.ledger import Ledger
from understudy.gateway.wire.plane import Limits, Plane
from understudy.gateway.world import World

DEPLOYMENT = "default/story"


@dataclass
class Gateway:
    """A gateway that serves on `port`."""

    port: int
    plane: Plane
    world: World
    server: asyncio.Server

    def state(self, revision: str, deployment: str = DEPLOYMENT) -> RevisionState:
        """Evidence of one revision."""
        return self.world.state(self.plane.clock())[deployment].revisions[revision]

    def change(self, document: Mapping[str, Any]) -> None:
        """Tell it more, as a watch would."""
        load(document, self.world)
        self.world.compile()
        self.plane.rerouted()

    def later(self, seconds: float) -> None:
        """So much time goes by, as far as its limits are concerned; at once, however busy the machine is."""
        clock = self.plane.clock
        self.plane.clock = lambda: clock() + seconds

    async def quiet(self) -> None:
        """Wait until nothing is open."""
        by_deployment = self.world.evidence.by_deployment
        await until(lambda: not any(c.open for revisions in by_deployment.values() for c in revisions.values()))

    async def waits(self, number: int = 1) -> None:
        """Wait until exactly so many requests wait for an engine."""
        await until(lambda: len(self.plane.queue) == number)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something that tells nobody when it happens."""
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.005)


@asynccontextmanager
async def gateway(
    document: Mapping[str, Any],
    *,
    open_access: bool = False,
    spool: Spool | None = None,
    pair: Pair | None = None,
    engine_tls: UpstreamTls | None = None,
    part: Part = WHOLE,
    ledger: Ledger | None = None,
    players: Players | None = None,
    **limits: Any,
) -> AsyncIterator[Gateway]:
    """A gateway that knows `document`, and speaks TLS if it has a `pair`; `limits` are fields of Limits.

    `part` is which of several workers it is, `engine_tls` how it speaks to engines, `ledger` whom it asks of budgets,
    `players` what it knows of where they stand.
    """
    world = World()
    load(document, world)
    world.compile()
    plane = Plane(
        world,
        Limits(**limits),
        open_access=open_access,
        spool=spool,
        part=part,
        engine_tls=engine_tls,
        ledger=ledger,
        players=players,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocols(plane, pair), "127.0.0.1", 0)
    running = [asyncio.ensure_future(_sweep(plane)), asyncio.ensure_future(plane.budgets.run())]
    try:
        yield Gateway(server.sockets[0].getsockname()[1], plane, world, server)
    finally:
        for task in running:
            task.cancel()
        server.close()
        for connection in tuple(plane.connections):
            connection.abort()
        plane.shadows.stop()
        plane.pool.close()
        await asyncio.sleep(0)


async def _sweep(plane: Plane) -> None:
    while True:
        await asyncio.sleep(plane_module.SWEEP_SECONDS / 10)
        plane.sweep()
