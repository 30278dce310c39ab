"""Rollouts in the records: what ModelSnapshots tell of them, followed at the API server and written down once."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, or_, update
from sqlalchemy.exc import SQLAlchemyError

from understudy.domain.names import API_VERSION
from understudy.gateway import kubeapi
from understudy.gateway.reflect import Reflector
from understudy.records.database import insert_missing
from understudy.records.policy.rollouts import Told, told_by
from understudy.records.schema import DECISIONS, HISTORY

LOG: Final = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 5.0


class Rollouts(Reflector):
    """Follows snapshots; `clock` gives Unix seconds.

    It is the `Kind` of their lists itself: what it hears is written in a thread, the latest of each snapshot, and again
    until it is on the disk.
    """

    def __init__(self, server: kubeapi.ApiServer, engine: Engine, clock: Callable[[], float]) -> None:
        super().__init__(server)
        self._engine = engine
        self._clock = clock
        self._waiting: dict[str, Told] = {}
        self._heard = asyncio.Event()

    async def run(self, namespaces: tuple[str, ...]) -> None:
        """Follow those of some namespaces, or (without any) of all, and write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for namespace in namespaces or ("",):
                within = f"/namespaces/{namespace}" if namespace else ""
                tasks.create_task(self._follow(f"/apis/{API_VERSION}{within}/modelsnapshots", {}, self))
            tasks.create_task(self._write())

    def known(self) -> set[tuple[str, str]]:
        """None: what a snapshot has told stays true when it is gone."""
        return set()

    def put(self, item: dict[str, Any]) -> None:
        """A snapshot as it is now."""
        try:
            told = told_by(item)
        except (KeyError, TypeError, ValueError) as error:
            # Others are not kept from being written by it.
            LOG.warning("a ModelSnapshot that cannot be read: %r", error)
            return
        if told.decisions or told.turns:
            self._waiting[told.uid] = told
            self._heard.set()

    def gone(self, namespace: str, name: str) -> None:
        """A snapshot that is no more."""

    async def _write(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            taken, self._waiting = self._waiting, {}
            try:
                await asyncio.to_thread(self.store, tuple(taken.values()))
            except SQLAlchemyError as error:
                LOG.warning("what became of revisions cannot be written: %s", getattr(error, "orig", error))
                # Unless something newer has come of it.
                self._waiting = {**taken, **self._waiting}
                self._heard.set()
                await asyncio.sleep(_RETRY_SECONDS)

    def store(self, told: tuple[Told, ...]) -> None:
        """Write what is not known yet; raises sqlalchemy.exc.SQLAlchemyError."""
        now_ms = int(self._clock() * 1000)
        with self._engine.begin() as connection:
            for one in told:
                _store(connection, one, now_ms)


def _store(connection: Connection, told: Told, now_ms: int) -> None:
    of = {"snapshot_uid": told.uid, "deployment": told.deployment, "revision": told.revision}
    for turn in told.turns:
        why = {"number": turn.number, "failure": turn.failure, "reason": turn.reason, "message": turn.message}
        insert_missing(
            connection, HISTORY, {**of, **why, "at_ms": turn.at_ms, "event": turn.event, "model": told.model}
        )
    d = DECISIONS.c
    for decision in told.decisions:
        said = {"verdict": decision.verdict, "compared": orjson.dumps(decision.compared).decode()}
        step = {"run": decision.run, "step": decision.step}
        if not insert_missing(connection, DECISIONS, {**of, **step, **said, "at_ms": now_ms}):
            # A step that has passed may be judged once more before it ends: what it came to in the end counts.
            this = (d.snapshot_uid == told.uid, d.run == decision.run, d.step == decision.step)
            other = or_(d.verdict != decision.verdict, d.compared != said["compared"])
            connection.execute(update(DECISIONS).where(*this, other).values(said))
