"""The HTTP API of the records: what a question to the ledger looks like, who may ask, and what a wrong one is told.

Handlers that touch the database are plain functions: FastAPI runs them in threads, so that probes are answered while
the disk is waited for.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.domain.names import ADMIN_AUDIENCE
from understudy.gateway.kubeapi import ApiError
from understudy.gateway.policy.budget import Kind, zone
from understudy.gateway.reviews import Reviews
from understudy.records.database import is_full
from understudy.records.ingest import Ingest
from understudy.records.ingest_routes import MAX_BODY, ingest_router
from understudy.records.ledger import Budget, Ledger
from understudy.records.policy.leases import Ask, Fault
from understudy.telemetry.records import RecordsMetrics

LOG: Final = logging.getLogger(__name__)
_MAX_BODY: Final = 4096
_STATUS: Final = {"lease_unknown": 404, "lease_over": 409, "stale_fence": 409, "bad_keep": 409, "bad_spent": 409}
_NAMES: Final = {401: "no_token", 403: "not_allowed", 404: "unknown_path", 405: "bad_method"}
_SENTENCES: Final = {404: "there is nothing at this path", 405: "this path has another method"}

# The columns have 64 bits: so there is room for sums.
Amount = Annotated[int, Field(ge=0, le=10**18, strict=True)]
LeaseId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="32 hexadecimal digits, drawn by the holder")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LeaseAsk(_Body):
    """What a holder tells of a lease, and wants; policy/leases.py says what each number means."""

    holder: Annotated[str, Field(min_length=1, max_length=128)]
    account: Annotated[str, Field(pattern="^[a-z0-9][-a-z0-9./]{0,319}$")]
    unit: Annotated[str, Field(pattern="^[A-Za-z]{1,16}$")]
    amount: Amount
    period: Kind
    tz: Annotated[str, Field(max_length=64)] = "UTC"
    fence: Amount
    spent: Amount
    held: Amount
    keep: Amount
    need: Amount
    want: Amount

    @field_validator("tz")
    @classmethod
    def _known(cls, name: str) -> str:
        return zone(name).key


class LeaseEnd(_Body):
    """The last word on a lease."""

    spent: Amount


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
) -> FastAPI:
    """The application; `reviews` know who may ask, `readers` who may read metrics, and None of them is everybody.

    Without an `ingest` it keeps the ledger alone.
    `subjects` are the routes by which somebody is erased, and who may ask there: gateways may not.
    `engagement` are the routes by which gateways hear of players, and what is called when events were stored.
    """
    app = FastAPI(title="Understudy records", openapi_url=None, redirect_slashes=False)
    app.add_middleware(Bounded)
    guarded, shown = _guards(reviews), _guards(readers)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    for kind in (DBAPIError, NoConnectionError):
        app.add_exception_handler(kind, _failing(metrics))

    @app.get("/healthz")
    @app.get("/readyz")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", dependencies=shown)
    async def scrape() -> Response:
        return Response(metrics.render(ledger.behind, ledger.lapsed), media_type="text/plain; version=0.0.4")

    @app.post("/v1/ledger/leases/{lease}", dependencies=guarded)
    def ask(lease: LeaseId, said: LeaseAsk) -> JSONResponse:
        budget = Budget(said.account, said.unit, said.amount, said.period, said.tz)
        with metrics.writes.time():
            question = Ask(said.fence, said.spent, said.held, said.keep, said.need, said.want)
            answer = ledger.ask(lease, said.holder, budget, question)
        if isinstance(answer, Fault):
            return _fault(metrics, answer)
        metrics.answers.labels("exhausted" if answer.granted < said.keep + said.need else "granted").inc()
        return JSONResponse(asdict(answer))

    @app.post("/v1/ledger/leases/{lease}/end", dependencies=guarded)
    def end(lease: LeaseId, said: LeaseEnd) -> JSONResponse:
        with metrics.writes.time():
            fault = ledger.end(lease, said.spent)
        if fault is not None:
            return _fault(metrics, fault)
        metrics.answers.labels("ended").inc()
        return JSONResponse({"ended": True})

    @app.get("/v1/ledger/accounts", dependencies=guarded)
    def accounts() -> JSONResponse:
        return JSONResponse({"accounts": [asdict(account) for account in ledger.accounts()]})

    @app.get("/v1/ledger/accounts/{name:path}", dependencies=guarded)
    def account(name: str) -> JSONResponse:
        return JSONResponse({"accounts": [asdict(found) for found in ledger.accounts(name)]})

    if ingest is not None:
        players, stored = engagement or (APIRouter(), lambda: None)
        app.include_router(ingest_router(ingest, metrics, stored), dependencies=guarded)
        app.include_router(players, dependencies=guarded)
    if subjects is not None:
        router, who = subjects
        app.include_router(router, dependencies=[Depends(_guard(who))] if who is not None else [])
    return app


def _guards(reviews: Reviews | None) -> list[Any]:
    return [] if reviews is None else [Depends(_guard(reviews))]


def _guard(reviews: Reviews) -> Callable[[Request], Awaitable[None]]:
    async def guard(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(401, f"send a ServiceAccount token with audience {ADMIN_AUDIENCE}")
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


def _fault(metrics: RecordsMetrics, fault: Fault) -> JSONResponse:
    metrics.answers.labels(fault.code).inc()
    return _error(_STATUS[fault.code], fault.code, fault.message)


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
