"""Where gateways bring their records."""

from collections.abc import Callable
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.records.ingest import Ingest, Taken
from understudy.telemetry.records import RecordsMetrics

MAX_BODY: Final = 1024 * 1024
SegmentName = Annotated[
    str, Path(pattern="^[0-9a-f]{16}-[ck][0-9]{8}$", description="a file of lines that a gateway has appended to")
]


class Batch(BaseModel):
    """Lines of a segment, from the line number `first` (0 is the first one) on."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[int, Field(ge=0, le=10**9, strict=True)]
    records: Annotated[list[Any], Field(min_length=1, max_length=1000)]


def ingest_router(ingest: Ingest, metrics: RecordsMetrics, stored: Callable[[], None]) -> APIRouter:
    """The routes; `stored` is called when something has been."""
    router = APIRouter()
    body = {"content": {"application/json": {"schema": Batch.model_json_schema()}}, "required": True}

    # The body is read here and not by the framework, which would read it before it knows who asks.
    @router.post("/v1/ingest/{segment}", openapi_extra={"requestBody": body})
    async def take(segment: SegmentName, request: Request) -> JSONResponse:
        batch = _parse(await request.body())
        with metrics.stores.time():
            taken = await run_in_threadpool(ingest.take, segment, batch.first, batch.records)
        _count(metrics, taken)
        stored()
        return JSONResponse({"next": taken.next, "stored": sum(taken.stored.values()), "rejected": taken.rejected})

    return router


def _parse(body: bytes) -> Batch:
    try:
        return Batch.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise RequestValidationError([{"loc": ("body",), "msg": f"no JSON: {error}"}]) from error
    except ValidationError as error:
        found = error.errors()[0]
        raise RequestValidationError([{"loc": ("body", *found["loc"]), "msg": found["msg"]}]) from error


def _count(metrics: RecordsMetrics, taken: Taken) -> None:
    for kind, count in taken.stored.items():
        metrics.stored.labels(kind).inc(count)
    metrics.erased.inc(taken.erased)
    metrics.repeated.inc(taken.repeated)
    metrics.rejected.inc(taken.rejected)
    for seconds in taken.late:
        metrics.late.observe(seconds)
    for kind, count in taken.lost.items():
        metrics.lost.labels(kind).inc(count)
