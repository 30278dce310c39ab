"""Where gateways hear where players stand, as it changes, and where one player's standing is shown."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.state import dump
from understudy.records.engagement import players
from understudy.records.engagement.folding import Folding, Shown
from understudy.records.policy.subjects import Keys
from understudy.records.schema import PROGRESS

LOG: Final = logging.getLogger(__name__)
# A stream says at least so often, in seconds, that it is alive; and looks at least so often whether it should end.
ALIVE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.5
_BATCH: Final = 500
# One for each worker of each gateway.
_MOST_STREAMS: Final = 1000


class Whom(BaseModel):
    """A player, or a session where no player is known, as its tenant calls it."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["player", "session"] = "player"
    tenant: Annotated[str, Field(max_length=320)]
    identifier: Annotated[str, Field(min_length=1, max_length=320)]


class Hub:
    """Those who want to hear of changes."""

    def __init__(self) -> None:
        self.leaving = False
        self._ears: set[asyncio.Event] = set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._ears)

    def tell(self) -> None:
        """Something has changed."""
        for ear in self._ears:
            ear.set()

    def leave(self) -> None:
        """Have all streams end."""
        self.leaving = True
        self.tell()

    async def changes(self, engine: Engine, keys: Keys, after: int, origin: str) -> AsyncIterator[bytes]:
        """Lines of JSON: who gateways call by which key, and all changes after one, as they come."""
        ear = asyncio.Event()
        self._ears.add(ear)
        try:
            own, latest = await run_in_threadpool(_progress, engine)
            # A number of another database, or one that was taken back from a copy, says nothing in this one.
            anew = origin != own or after > latest
            after = 0 if anew else after
            names = {str(version): secret.hex() for version, secret in keys.for_states().secrets}
            yield _line(type="HELLO", origin=own, anew=anew, keys=names)
            clock = asyncio.get_running_loop().time
            spoke = clock()
            ear.set()
            while not self.leaving:
                silent = clock() - spoke >= ALIVE_SECONDS
                if not ear.is_set() and not silent:
                    await _wait(ear)
                    continue
                ear.clear()
                found = await run_in_threadpool(_changes, engine, after)
                for change in found:
                    state = None if change.state is None else dump(change.state)
                    yield _line(type="STATE", change=change.number, who=change.who, state=state)
                    after = change.number
                if len(found) == _BATCH:
                    ear.set()
                elif not found and silent:
                    yield _line(type="ALIVE", change=after)
                if found or silent:
                    spoke = clock()
        except SQLAlchemyError as error:
            # It comes again, and is told then why there is nothing.
            LOG.warning("a stream of states ends: %s", getattr(error, "orig", error))
        finally:
            self._ears.discard(ear)


def engagement_router(engine: Engine, keys: Keys, folding: Folding, hub: Hub) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/v1/engagement/states")
    async def states(
        after: Annotated[int, Query(ge=0, le=10**15)] = 0, origin: Annotated[str, Query(max_length=64)] = ""
    ) -> Any:
        if hub.count >= _MOST_STREAMS:
            return _error(503, "too_many_streams", f"{hub.count} gateways listen already")
        return StreamingResponse(hub.changes(engine, keys, after, origin), media_type="application/x-ndjson")

    # Not in the path, which whoever stands between may write down.
    @router.post("/v1/engagement/show")
    def show(whom: Whom) -> JSONResponse:
        found = folding.show(whom.kind, whom.tenant, whom.identifier)
        if found is None:
            return _error(404, "unknown_player", "nothing is known of this player")
        return JSONResponse(_shown(found))

    return router


async def fold_forever(folding: Folding, hub: Hub, news: asyncio.Event) -> None:
    """Fold what comes until cancelled; `news` says that something has."""
    while True:
        news.clear()
        try:
            while await asyncio.to_thread(folding.step):
                hub.tell()
        except SQLAlchemyError as error:
            LOG.warning("events cannot be folded: %s", getattr(error, "orig", error))
        await _wait(news)


async def look_forever(folding: Folding, hub: Hub, seconds: float) -> None:
    """Judge anew, every so often, whose level may have gone down by itself, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        try:
            if await asyncio.to_thread(folding.look):
                hub.tell()
        except SQLAlchemyError as error:
            LOG.warning("players cannot be judged: %s", getattr(error, "orig", error))


def _shown(found: Shown) -> dict[str, Any]:
    assessment = found.assessment
    figures = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in asdict(assessment.figures).items()
    }
    return {
        "level": assessment.level,
        "present": assessment.present,
        "time": assessment.time,
        "control": assessment.control,
        "signs": sorted(assessment.signs),
        "figures": figures,
        "state": dump(found.state),
        "interventions": [_done(one) for one in found.done],
        "policy": found.policy_hash,
    }


def _done(one: Intervention) -> dict[str, Any]:
    done = {"rule": one.rule, "level": one.level, "at": one.at, "until": one.until}
    if one.terms is None:
        return done
    return {**done, "guardrail": one.terms.guardrail, "ruleNumber" if one.terms.rule else "rung": one.terms.number}


def _changes(engine: Engine, after: int) -> list[players.Change]:
    with engine.begin() as connection:
        return players.changes(connection, after, _BATCH)


def _progress(engine: Engine) -> tuple[str, int]:
    with engine.begin() as connection:
        row = connection.execute(select(PROGRESS)).one()
    return str(row.origin), int(row.change)


async def _wait(news: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await news.wait()


def _line(**said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
