"""/healthz, /readyz and /metrics of the operator, on one plain HTTP port.

Liveness is the event loop's own lag and the age of the watches: a loop that is stuck answers
nothing, a loop that is starved or blind says so. Readiness is that the cache is complete; a standby
is ready without leading, so that an update of the Deployment can go on.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from aiohttp import web

from understudy.kube.reflector import Reflector
from understudy.telemetry.operator import OperatorMetrics

# An API server that restarts takes a minute; killing the operator for it would help nobody.
_MAX_WATCH_AGE = 300.0
_MAX_LAG = 10.0
_TICK = 0.5


class Health:
    """What the probes are answered from."""

    def __init__(self, reflectors: Iterable[Reflector], metrics: OperatorMetrics) -> None:
        self._reflectors = list(reflectors)
        self._metrics = metrics
        self._lag = 0.0
        self.leading: Callable[[], bool] = lambda: False

    async def watch_loop(self) -> None:
        """Measure how late the event loop runs, until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_TICK)
            self._lag = max(0.0, time.monotonic() - began - _TICK)
            self._metrics.loop_lag.set(self._lag)
            for resource, age in self._ages().items():
                self._metrics.watch_age.labels(resource).set(age)

    def _ages(self) -> dict[str, float]:
        """By resource, the longest of those that it is watched in."""
        ages: dict[str, float] = {}
        for reflector in self._reflectors:
            resource = reflector.scope.resource.plural
            ages[resource] = max(ages.get(resource, 0.0), reflector.age)
        return ages

    def sick(self) -> str:
        """Why the process should be restarted; empty if it should not."""
        if self._lag > _MAX_LAG:
            return f"the event loop runs {self._lag:.1f} s late"
        blind = [r for r in self._reflectors if r.synced.is_set() and r.age > _MAX_WATCH_AGE]
        return f"nothing heard about {blind[0].scope.resource.plural} for {blind[0].age:.0f} s" if blind else ""

    def unready(self) -> str:
        """Why the process cannot work yet; empty if it can."""
        missing = sorted({r.scope.resource.plural for r in self._reflectors if not r.synced.is_set()})
        return f"still listing {', '.join(missing)}" if missing else ""


async def serve(health: Health, metrics: OperatorMetrics, port: int) -> web.AppRunner:
    """Listen on `port` (0 = any free one) of every address; the caller cleans the runner up."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.sick(), "ok")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.unready(), "leading" if health.leading() else "standing by")

    async def exposition(request: web.Request) -> web.Response:
        # In a thread: the series of thousands of deployments take a while to write down.
        body = await asyncio.to_thread(metrics.render, request.query.getall("name[]", []))
        return web.Response(body=body, content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)],
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - kubelet and Prometheus come from outside the pod
    return runner


def _answer(trouble: str, well: str) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or well}\n")
