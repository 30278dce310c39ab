"""Where records are read: a page as JSON, or all that is asked for as JSON lines, by whom the API server lets."""

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Engine
from starlette.exceptions import HTTPException

from understudy.gateway.kubeapi import ApiError
from understudy.records.access import Access, Asked
from understudy.records.bearer import token_of
from understudy.records.ingest import Ingest, Totals
from understudy.records.lines import unix_ms
from understudy.records.policy.pages import parse_cursor
from understudy.records.reads import PAGE, Wanted, page, pages
from understudy.records.shown import (
    DECISION_KIND,
    ENGAGEMENT_KIND,
    HISTORY_KIND,
    INTERVENTION_KIND,
    REQUEST_KIND,
    VIOLATION_KIND,
    DecisionRecord,
    EngagementRecord,
    HistoryRecord,
    InterventionRecord,
    Kind,
    RequestRecord,
    Shown,
    ViolationRecord,
)

LOG: Final = logging.getLogger(__name__)
LINES: Final = "application/x-ndjson"
Word = Annotated[str, Field(max_length=320, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
Numbered = Annotated[str, Field(pattern=r"^([0-9]{1,15}\.[0-9]{1,18})?$")]
Row = TypeVar("Row", bound=Shown)


class Page(BaseModel, Generic[Row]):
    """Some records; `next` is where more may be, as `after` of the next question, and null at the end."""

    items: list[Row]
    next: str | None


class Filters(BaseModel):
    """What every list can be asked for."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    since: AwareDatetime | None = None
    """What happened then or later, ISO 8601 with a time zone."""
    until: AwareDatetime | None = None
    """What happened before then."""
    order: Literal["newest", "oldest"] = "newest"
    """Which come first."""
    limit: Annotated[int, Field(ge=1, le=PAGE)] = 100
    """So many in a page; JSON lines have no pages."""
    after: Numbered = ""
    """What `next` of the page before says, or `cursor` of the last record that is known."""

    def wanted(self) -> Wanted:
        """As a question to the database."""
        given = {name: value for name, value in self.model_dump(exclude=set(Filters.model_fields)).items() if value}
        least = {"severity": given.pop("severity")} if "severity" in given else {}
        return Wanted(
            namespace=given.pop("namespace", ""),
            deployment=given.pop("deployment", ""),
            subject=given.pop("subject", ""),
            since_ms=_ms(self.since),
            until_ms=_ms(self.until),
            equal=given,
            least=least,
            after=parse_cursor(self.after) if self.after else None,
            oldest_first=self.order == "oldest",
        )


class OfSomebody(Filters):
    """Of lists that tell of somebody."""

    subject: Annotated[str, Field(pattern="^([0-9a-f]{32})?$")] = ""
    """Number of a player, a session or an access key, as records show it."""


class OfDeployments(Filters):
    """Of lists that tell of deployments."""

    namespace: Name = ""
    """Of deployments in there alone."""
    deployment: Name = ""
    """Of this one alone; wants `namespace`."""
    revision: Word = ""

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.deployment and not self.namespace:
            raise ValueError("a deployment is known by its namespace as well: add namespace=…")
        return self


class RequestFilters(OfDeployments, OfSomebody):
    """Of requests."""

    status: Annotated[int, Field(ge=0, le=599)] = 0
    """Of HTTP."""
    code: Word = ""
    """Of a refusal."""


class ViolationFilters(OfDeployments, OfSomebody):
    """Of findings."""

    guardrail: Word = ""
    category: Word = ""
    severity: Annotated[int, Field(ge=0, le=6)] = 0
    """This much or more."""


class EngagementFilters(OfSomebody):
    """Of what players did."""

    event: Word = ""


class InterventionFilters(OfSomebody):
    """Of what was done for players."""

    rule: Word = ""
    guardrail: Word = ""
    """Whose ladder or rule asked for it, as `<namespace>/<name>`."""


class HistoryFilters(OfDeployments):
    """Of what became of revisions."""

    event: Literal["", "promoted", "failed"] = ""


def read_router(engine: Engine, ingest: Ingest, access: Access | None) -> APIRouter:
    """The routes; without an `access` everybody may read."""
    # Who asks is checked below; this says in the schema how to ask.
    router = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))], tags=["reads"])

    async def check(request: Request, asked: Asked) -> None:
        if access is not None:
            await _check(access, request, asked)

    async def answer(request: Request, kind: Kind, filters: Filters, right: str = "") -> Response:
        wanted = filters.wanted()
        await check(request, Asked(right or kind.name, wanted.namespace, wanted.deployment))
        if LINES in request.headers.get("accept", ""):
            found = pages(engine, kind, wanted)
            # The first page before any answer, so that a database that is away is told as such.
            first: list[dict[str, Any]] = await run_in_threadpool(next, found, [])
            return StreamingResponse(_lines(first, found), media_type=LINES)
        rows = await run_in_threadpool(page, engine, kind, wanted, filters.limit)
        more = rows[-1]["cursor"] if len(rows) == filters.limit else None
        return Response(orjson.dumps({"items": rows, "next": more}), media_type="application/json")

    @router.get("/v1/ingest")
    async def totals(request: Request) -> Totals:
        """The books: how many records gateways have told of, and what became of them; wants the right on requests."""
        await check(request, Asked(REQUEST_KIND.name))
        return await run_in_threadpool(ingest.totals)

    @router.get("/v1/requests", responses=_answers(RequestRecord))
    async def requests(request: Request, filters: Annotated[RequestFilters, Query()]) -> Response:
        """Requests of clients: one for each, and no texts."""
        return await answer(request, REQUEST_KIND, filters)

    @router.get("/v1/violations", responses=_answers(ViolationRecord))
    async def violations(request: Request, filters: Annotated[ViolationFilters, Query()]) -> Response:
        """What guardrails found, and what was done."""
        return await answer(request, VIOLATION_KIND, filters)

    @router.get("/v1/engagement", responses=_answers(EngagementRecord))
    async def engagement(request: Request, filters: Annotated[EngagementFilters, Query()]) -> Response:
        """What players did, or were seen to; wants the right in all namespaces."""
        return await answer(request, ENGAGEMENT_KIND, filters)

    @router.get("/v1/interventions", responses=_answers(InterventionRecord))
    async def interventions(request: Request, filters: Annotated[InterventionFilters, Query()]) -> Response:
        """What was done for players; wants the right on engagement in all namespaces."""
        return await answer(request, INTERVENTION_KIND, filters, ENGAGEMENT_KIND.name)

    @router.get("/v1/decisions", responses=_answers(DecisionRecord))
    async def decisions(request: Request, filters: Annotated[OfDeployments, Query()]) -> Response:
        """How steps of rollouts were judged."""
        return await answer(request, DECISION_KIND, filters)

    @router.get("/v1/history", responses=_answers(HistoryRecord))
    async def history(request: Request, filters: Annotated[HistoryFilters, Query()]) -> Response:
        """Which revisions became stable, and which failed."""
        return await answer(request, HISTORY_KIND, filters)

    return router


async def _check(access: Access, request: Request, asked: Asked) -> None:
    try:
        verdict = await access.verdict(token_of(request), asked)
    except (OSError, ApiError) as error:
        LOG.warning("access review: %s", error)
        raise HTTPException(503, "the API server cannot be asked who may read", {"Retry-After": "1"}) from error
    if not verdict.allowed:
        raise HTTPException(403, f"{verdict.user or 'nobody that is known'} may not {asked.right()}")


def _answers(row: type[Shown]) -> dict[int | str, dict[str, Any]]:
    """What the schema says of answers."""
    said = {LINES: {"schema": {"type": "string", "description": f"a {row.__name__} in each line, without pages"}}}
    return {200: {"model": Page[row], "content": said}}  # type: ignore[valid-type]  # a class of the moment


def _lines(first: list[dict[str, Any]], rest: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    for rows in chain([first], rest):
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else unix_ms(time)
