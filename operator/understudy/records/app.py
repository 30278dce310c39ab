"""The HTTP API of the records: which routes there are, who may ask there, and what a wrong question is told."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.gateway.kubeapi import ApiError
from understudy.gateway.reviews import Reviews
from understudy.records.bearer import token_of
from understudy.records.database import is_full
from understudy.records.ingest import Ingest
from understudy.records.ingest_routes import MAX_BODY, ingest_router
from understudy.records.ledger import Ledger
from understudy.records.ledger_routes import ledger_router
from understudy.telemetry.records import RecordsMetrics

LOG: Final = logging.getLogger(__name__)
_MAX_BODY: Final = 4096
_NAMES: Final = {401: "no_token", 403: "not_allowed", 404: "unknown_path", 405: "bad_method"}
_SENTENCES: Final = {404: "there is nothing at this path", 405: "this path has another method"}


class Bounded:
    """Refuses bodies that are longer than any question, before they are read: that comes before who asks is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] == "http" and scope["method"] != "GET":
            length = Headers(scope=scope).get("content-length", "")
            if not length.isdecimal():
                await _error(411, "no_length", "send a Content-Length")(scope, receive, send)
                return
            most = MAX_BODY if scope["path"].startswith("/v1/ingest/") else _MAX_BODY
            if int(length) > most:
                text = f"the body has {length} bytes, {most} at most are read"
                await _error(413, "too_long", text)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def make_app(
    ledger: Ledger,
    metrics: RecordsMetrics,
    reviews: Reviews | None,
    readers: Reviews | None,
    ingest: Ingest | None = None,
    subjects: tuple[APIRouter, Reviews | None] | None = None,
    engagement: tuple[APIRouter, Callable[[], None]] | None = None,
    reads: APIRouter | None = None,
) -> FastAPI:
    """The application; `reviews` know who may ask, `readers` who may read metrics, and None of them is everybody.

    Without an `ingest` it keeps the ledger alone.
    `subjects` are the routes by which somebody is erased, and who may ask there: gateways may not.
    `engagement` are the routes by which gateways hear of players, and what is called when events were stored. `reads`
    know by themselves who may read.
    """
    # The framework's own pages would have a browser fetch programs from elsewhere.
    app = FastAPI(title="Understudy records", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Bounded)
    guarded, shown = _guards(reviews), _guards(readers)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    for kind in (DBAPIError, NoConnectionError):
        app.add_exception_handler(kind, _failing(metrics))

    @app.get("/healthz", include_in_schema=False)
    @app.get("/readyz", include_in_schema=False)
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", dependencies=shown, include_in_schema=False)
    async def scrape() -> Response:
        return Response(metrics.render(ledger.behind, ledger.lapsed), media_type="text/plain; version=0.0.4")

    app.include_router(ledger_router(ledger, metrics), dependencies=guarded)
    if ingest is not None:
        players, stored = engagement or (APIRouter(), lambda: None)
        app.include_router(ingest_router(ingest, metrics, stored), dependencies=guarded)
        app.include_router(players, dependencies=guarded)
    if subjects is not None:
        router, who = subjects
        app.include_router(router, dependencies=[Depends(_guard(who))] if who is not None else [])
    if reads is not None:
        app.include_router(reads)
    return app


def _guards(reviews: Reviews | None) -> list[Any]:
    return [] if reviews is None else [Depends(_guard(reviews))]


def _guard(reviews: Reviews) -> Callable[[Request], Awaitable[None]]:
    async def guard(request: Request) -> None:
        token = token_of(request)
        try:
            allowed = await reviews.allow(token, time.monotonic())
        except (OSError, ApiError) as error:
            LOG.warning("token review: %s", error)
            raise HTTPException(503, "the API server cannot be asked about the token", {"Retry-After": "1"}) from error
        if not allowed:
            raise HTTPException(403, "this token's subject may not ask here")

    return guard


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _refused(_request: Request, error: Any) -> JSONResponse:
    message = _SENTENCES.get(error.status_code, error.detail)
    return _error(error.status_code, _NAMES.get(error.status_code, "no_review"), message, error.headers)


async def _invalid(_request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return _error(422, "invalid_request", f"{where}: {first['msg'].removeprefix('Value error, ')}")


def _failing(metrics: RecordsMetrics) -> Callable[[Request, Any], Awaitable[JSONResponse]]:
    async def failing(request: Request, error: Any) -> JSONResponse:
        reason = getattr(error, "orig", error)
        full = is_full(reason)
        code = "disk_full" if full else "unwritable"
        LOG.error("the database: %s", reason)
        if request.method == "GET" and not request.url.path.startswith("/v1/ledger/"):
            return _error(503, "unreadable", "the records' database cannot be read: ask again", {"Retry-After": "5"})
        if request.url.path.startswith("/v1/ledger/"):
            metrics.failures.labels(code).inc()
            whose, nothing = "the ledger's", "nothing was granted"
        else:
            metrics.refusals.labels(code).inc()
            whose, nothing = "the records'", "nothing was stored"
        full_message = f"{whose} disk is full: {nothing}, and nothing is lost; make its volume larger"
        message = full_message if full else f"{whose} database cannot be written: {nothing}"
        return _error(503, code, message, {"Retry-After": "5"})

    return failing
