"""What a question to the ledger looks like, and its answers.

Handlers that touch the database are plain functions: FastAPI runs them in threads, so that probes are answered while
the disk is waited for.
"""

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from understudy.gateway.policy.budget import Kind, zone
from understudy.records.ledger import Budget, Ledger
from understudy.records.policy.leases import Ask, Fault
from understudy.telemetry.records import RecordsMetrics

_STATUS: Final = {"lease_unknown": 404, "lease_over": 409, "stale_fence": 409, "bad_keep": 409, "bad_spent": 409}

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


def ledger_router(ledger: Ledger, metrics: RecordsMetrics) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def refused(fault: Fault) -> JSONResponse:
        metrics.answers.labels(fault.code).inc()
        return JSONResponse({"error": {"code": fault.code, "message": fault.message}}, _STATUS[fault.code])

    @router.post("/v1/ledger/leases/{lease}")
    def ask(lease: LeaseId, said: LeaseAsk) -> JSONResponse:
        budget = Budget(said.account, said.unit, said.amount, said.period, said.tz)
        with metrics.writes.time():
            question = Ask(said.fence, said.spent, said.held, said.keep, said.need, said.want)
            answer = ledger.ask(lease, said.holder, budget, question)
        if isinstance(answer, Fault):
            return refused(answer)
        metrics.answers.labels("exhausted" if answer.granted < said.keep + said.need else "granted").inc()
        return JSONResponse(asdict(answer))

    @router.post("/v1/ledger/leases/{lease}/end")
    def end(lease: LeaseId, said: LeaseEnd) -> JSONResponse:
        with metrics.writes.time():
            fault = ledger.end(lease, said.spent)
        if fault is not None:
            return refused(fault)
        metrics.answers.labels("ended").inc()
        return JSONResponse({"ended": True})

    @router.get("/v1/ledger/accounts")
    def accounts() -> JSONResponse:
        return JSONResponse({"accounts": [asdict(account) for account in ledger.accounts()]})

    @router.get("/v1/ledger/accounts/{name:path}")
    def account(name: str) -> JSONResponse:
        return JSONResponse({"accounts": [asdict(found) for found in ledger.accounts(name)]})

    return router
