"""Who is spoken of in the records: found and erased on request, and how many are linked by which secret."""

import time
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from understudy.records.policy.subjects import Keys
from understudy.records.subjects import erase, number_of, versions


class Whom(BaseModel):
    """Somebody, as his tenant calls him; an access key has the tenant "", and is called by its hash's first digits."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["player", "session", "key"]
    tenant: Annotated[str, Field(max_length=320)]
    identifier: Annotated[str, Field(min_length=1, max_length=320)]


def subject_router(engine: Engine, keys: Keys) -> APIRouter:
    """The routes."""
    router = APIRouter()

    # Not in the path, which whoever stands between may write down.
    @router.post("/v1/subjects/erase")
    def erase_one(whom: Whom) -> JSONResponse:
        done = erase(engine, keys, whom.kind, whom.tenant, whom.identifier, int(time.time()))
        return JSONResponse(asdict(done))

    @router.post("/v1/subjects/find")
    def find(whom: Whom) -> JSONResponse:
        number = number_of(engine, keys, whom.kind, whom.tenant, whom.identifier)
        if number is None:
            return JSONResponse({"error": {"code": "unknown_subject", "message": "nothing is known of them"}}, 404)
        return JSONResponse({"subject": number})

    @router.get("/v1/subjects")
    def shown() -> JSONResponse:
        return JSONResponse({"versions": {str(version): count for version, count in versions(engine).items()}})

    return router
