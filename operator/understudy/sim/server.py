"""The simulated engine on a socket: paths, delays, failures on demand, and the end by SIGTERM."""

import asyncio
import hmac
import logging
import os
import random
import signal
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from understudy.domain.names import ENGINE_PORT
from understudy.sim.answers import (
    Answer,
    Chunks,
    Endpoint,
    RefusedError,
    Request,
    Served,
    answer,
    models,
    read_request,
    whole,
)
from understudy.sim.behaviour import CRASH_NOW, Behaviour, BehaviourError, changed, described
from understudy.sim.responses import ResponseEvents, whole_response

LOG = logging.getLogger(__name__)
CRASH_STATUS: Final = 3
BODY_LIMIT: Final = 64 * 1024 * 1024

_PREFIXES: Final[dict[Endpoint, str]] = {"chat": "chatcmpl-", "completions": "cmpl-", "responses": "resp_"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _die() -> None:
    # A crash runs no clean-up: connections end by reset, as with a killed engine.
    os._exit(CRASH_STATUS)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this engine is for its whole life; `api_key` empty means that none is asked for."""

    served: Served
    pod: str = "sim"
    api_key: str = ""
    seed: int = 0


@dataclass(slots=True)
class Simulator:
    """One running engine. `die` ends the process; tests give their own."""

    identity: Identity
    behaviour: Behaviour = field(default_factory=Behaviour)
    die: Callable[[], None] = _die
    ready_at: float = 0.0
    arrived: int = 0
    crash_at: int = 0
    active: set["asyncio.Task[Any]"] = field(default_factory=set)
    draw: random.Random = field(default_factory=random.Random)
    started: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.draw.seed(f"{self.identity.seed}:{self.identity.pod}")
        self._behave(self.behaviour, delayed=True)

    def application(self) -> web.Application:
        """The aiohttp application with every path of the engine."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._guard])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_get("/admin/behaviour", self._behaviour)
        app.router.add_post("/admin/behaviour", self._change)
        return app

    async def drain(self, limit: float) -> None:
        """Wait until the requests in progress have ended, at most `limit` seconds, then cut the rest."""
        if self.active and limit > 0:
            await asyncio.wait(tuple(self.active), timeout=limit)
        for task in tuple(self.active):
            task.cancel()

    def _behave(self, behaviour: Behaviour, *, delayed: bool) -> None:
        self.behaviour = behaviour
        if delayed:
            self.ready_at = time.monotonic() + behaviour.start_delay
        self.crash_at = self.arrived + behaviour.crash if isinstance(behaviour.crash, int) and behaviour.crash else 0

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Key, readiness and error shape of every request."""
        try:
            if request.path != "/health":
                self._authorize(request)
            if request.path.startswith("/v1/") and time.monotonic() < self.ready_at:
                raise RefusedError("the model is still loading", status=503, kind="ServiceUnavailableError")
            response = await handler(request)
        except RefusedError as refusal:
            response = self._error(refusal)
        except web.HTTPException as error:
            response = self._error(RefusedError(error.reason, status=error.status, kind="InvalidRequestError"))
        if not response.prepared:
            response.headers["x-sim-pod"] = self.identity.pod
        return response

    def _authorize(self, request: web.Request) -> None:
        key = self.identity.api_key
        given = request.headers.get("Authorization", "")
        if key and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise RefusedError("Unauthorized", status=401, kind="AuthenticationError")

    def _error(self, refusal: RefusedError) -> web.Response:
        error = {"message": str(refusal), "type": refusal.kind, "param": refusal.param, "code": refusal.status}
        return _json({"error": error}, refusal.status)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        del request
        if self.behaviour.hang == "all":
            await _forever()
        loading = time.monotonic() < self.ready_at
        return web.Response(status=503 if loading else 200)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        del request
        served = self.identity.served
        claimed = Served(self.behaviour.identity or served.model_id, served.root, served.max_model_len)
        return _json(models(claimed, self.started))

    async def _behaviour(self, request: web.Request) -> web.StreamResponse:
        del request
        return _json(described(self.behaviour))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        knobs = await _body(request)
        if not isinstance(knobs, dict):
            raise RefusedError("the body must be a JSON object of knobs")
        try:
            behaviour = changed(self.behaviour, knobs)
        except BehaviourError as error:
            raise RefusedError(str(error)) from error
        # A counter that was already running goes on unless this call names it.
        running = self.crash_at
        self._behave(behaviour, delayed="startDelay" in knobs)
        if "crash" not in knobs:
            self.crash_at = running
        LOG.info("behaviour: %s", knobs)
        if behaviour.crash == CRASH_NOW:
            # Late enough for this answer to leave.
            asyncio.get_running_loop().call_later(0.05, self.die)
        return _json(described(behaviour))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._tracked(request, "chat")

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._tracked(request, "completions")

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._tracked(request, "responses")

    async def _tracked(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a handler always runs in a task
            return await self._complete(request, endpoint)
        self.active.add(task)
        try:
            return await self._complete(request, endpoint)
        finally:
            self.active.discard(task)

    async def _complete(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        self.arrived += 1
        if self.crash_at and self.arrived >= self.crash_at:
            self.die()
        behaviour, served = self.behaviour, self.identity.served
        if behaviour.hang in ("requests", "all"):
            await _forever()
        names = [name for name in (served.model_id, behaviour.identity) if name]
        wanted = read_request(endpoint, await _body(request), served, names)
        if self.draw.random() < behaviour.error_rate:
            raise RefusedError("simulated failure", status=500, kind="InternalServerError")
        said = answer(wanted, behaviour, f"{self.identity.seed}:{served.root}")
        number = f"{self.identity.pod}-{self.arrived}"
        head = {
            "id": f"{_PREFIXES[endpoint]}{number}",
            "created": int(time.time()),
            "model": behaviour.identity or served.model_id,
            "system_fingerprint": self.identity.pod,
        }
        await self._pause(behaviour.first_token)
        if wanted.stream:
            return await self._stream(request, wanted, said, head)
        if behaviour.hang == "streams":
            await _forever()
        for _ in said.tokens[1:]:
            await self._pause(behaviour.inter_token)
        return _json(whole_response(wanted, said, head) if endpoint == "responses" else whole(wanted, said, head))

    async def _stream(
        self, request: web.Request, wanted: Request, said: Answer, head: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-sim-pod": self.identity.pod, "Cache-Control": "no-cache"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        chunks = ResponseEvents(wanted, head) if wanted.endpoint == "responses" else Chunks(wanted, head)
        if opening := chunks.opening():
            await response.write(opening)
        for count, token in enumerate(said.tokens, 1):
            if count > 1:
                # Read anew for each token: a knob turned live is felt by the streams that are open.
                if self.behaviour.hang in ("streams", "all"):
                    await _forever()
                await self._pause(self.behaviour.inter_token)
            await response.write(chunks.token(token, count))
        await response.write(chunks.closing(said))
        await response.write_eof()
        return response

    async def _pause(self, seconds: float) -> None:
        jitter = self.behaviour.jitter
        delay = seconds * (1 + jitter * (2 * self.draw.random() - 1))
        if delay > 0:
            await asyncio.sleep(delay)


async def serve(
    simulator: Simulator,
    host: str,
    port: int = ENGINE_PORT,
    shutdown_timeout: float = 0.0,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then take nothing new and let requests end for `shutdown_timeout` seconds.

    Raises OSError if the port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        simulator.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1, keepalive_timeout=300
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024, ssl_context=tls)
    await site.start()
    served = simulator.identity.served
    LOG.info("serving %s from %s on %s", served.model_id, served.root, site.name)
    await stop.wait()
    LOG.info("stopping: %d requests in progress, %.0f s to end", len(simulator.active), shutdown_timeout)
    await site.stop()
    if runner.server is not None:
        runner.server.pre_shutdown()  # idle connections end now, busy ones after their answer
    await simulator.drain(shutdown_timeout)
    await runner.cleanup()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _body(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"the body is not JSON: {error}") from error


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
