"""What snapshots tell of rollouts, in the records: each once, whatever was away meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.gateway.fakeapi import FakeApi, fake_api
from tests.gateway.gateways import until
from tests.records.policy.test_rollouts import snapshot
from tests.records.test_ingest import NOON
from tests.records.test_subjects import rows
from understudy.gateway.kubeapi import ApiServer
from understudy.records.policy.rollouts import told_by
from understudy.records.reads import Wanted, page
from understudy.records.rollouts import Rollouts
from understudy.records.schema import DECISIONS, HISTORY
from understudy.records.shown import DECISION_KIND, HISTORY_KIND

SNAPSHOTS = "/apis/understudy.dev/v1alpha1/modelsnapshots"
PROMOTED = {"promotions": [{"number": 3, "at": "2026-11-30T11:00:00Z"}]}
FAILED = {"failure": {"class": "EngineCrash", "reason": "CrashLoop", "message": "exit 1", "at": "2026-11-30T11:30:00Z"}}


def step(verdict: str, *compared: str, run: int = 2, name: str = "5 %") -> dict[str, Any]:
    return {"run": run, "step": name, "verdict": verdict, "compared": list(compared)}


def decided(engine: Engine) -> list[tuple[int, str, str]]:
    found = sorted(rows(engine, DECISIONS), key=lambda row: int(row["id"]))
    return [(row["run"], row["step"], row["verdict"]) for row in found]


@asynccontextmanager
async def following(api: FakeApi, engine: Engine, *namespaces: str) -> AsyncIterator[Rollouts]:
    made = Rollouts(ApiServer(api.url), engine, lambda: NOON)
    running = asyncio.ensure_future(made.run(namespaces))
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_what_became_of_a_revision_is_written_once(engine: Engine) -> None:
    rollouts = Rollouts(ApiServer(""), engine, lambda: NOON)
    told = told_by(snapshot(report=[step("Pass", "errors: 0 of 40")], **PROMOTED, **FAILED))
    for _ in range(2):
        rollouts.store((told,))
    (decision,) = page(engine, DECISION_KIND, Wanted())
    del decision["cursor"]
    assert decision == {
        "time": "2026-11-30T12:00:00.000Z", "deployment": "team-a/story", "revision": "73cba436", "run": 2,
        "step": "5 %", "verdict": "Pass", "compared": ["errors: 0 of 40"],
    }  # fmt: skip
    promoted, failed = page(engine, HISTORY_KIND, Wanted(oldest_first=True, namespace="team-a", deployment="story"))
    assert (promoted["event"], promoted["time"], promoted["number"], promoted["model"], promoted["failure"]) == (
        "promoted", "2026-11-30T11:00:00.000Z", 3, "tiny-a", None,
    )  # fmt: skip
    assert (failed["event"], failed["failure"], failed["reason"], failed["message"]) == (
        "failed", "EngineCrash", "CrashLoop", "exit 1",
    )  # fmt: skip
    assert page(engine, HISTORY_KIND, Wanted(equal={"event": "failed"})) == [failed]


def test_a_step_that_is_judged_again_before_it_ends_has_its_last_verdict(engine: Engine) -> None:
    rollouts = Rollouts(ApiServer(""), engine, lambda: NOON)
    for verdict in ("Pass", "Fail: TooSlow: 2.4 times as slow"):
        rollouts.store((told_by(snapshot(report=[step(verdict)])),))
    again = snapshot(report=[step("Pass", run=3)])
    rollouts.store((told_by(again),))
    again["metadata"]["uid"] = "u-2"
    rollouts.store((told_by(again),))
    assert decided(engine) == [(2, "5 %", "Fail: TooSlow: 2.4 times as slow"), (3, "5 %", "Pass"), (3, "5 %", "Pass")]


async def test_snapshots_are_followed_through_everything_that_happens_to_the_api_server(engine: Engine) -> None:
    async with fake_api() as api:
        api.put(SNAPSHOTS, snapshot(report=[step("Pass", name="shadow")]))
        other = snapshot(**FAILED)
        other["metadata"] |= {"name": "other", "uid": "u-2"}
        api.put(SNAPSHOTS, other)
        # One that cannot be read keeps the others from nothing.
        broken = {"metadata": {"namespace": "team-a", "name": "a-broken"}, "spec": {}}
        api.put(SNAPSHOTS, broken)
        async with following(api, engine):
            await until(lambda: len(rows(engine, HISTORY)) == 1 and len(decided(engine)) == 1)
            await until(lambda: api.watches(SNAPSHOTS) == 1)
            api.put(SNAPSHOTS, snapshot(report=[step("Pass", name="shadow"), step("Inconclusive: 3 of 40")]))
            api.put(SNAPSHOTS, snapshot(report=[step("Pass", name="shadow"), step("Fail: x")]))
            await until(lambda: len(decided(engine)) == 2)
            port = int(api.url.rpartition(":")[2])
            await api.stop()
            # What is deleted stays as it was told.
            api.forget(SNAPSHOTS, "team-a", "other")
            api.put(SNAPSHOTS, snapshot(report=[step("Pass", name="shadow")], **PROMOTED))
            await api.start(port)
            await until(lambda: len(rows(engine, HISTORY)) == 2)
        # Whoever starts again finds all of it there already.
        async with following(api, engine) as again:
            await until(lambda: api.watches(SNAPSHOTS) == 1 and not again._waiting)
            await asyncio.to_thread(again.store, ())
        assert (decided(engine), len(rows(engine, HISTORY))) == ([(2, "shadow", "Pass"), (2, "5 %", "Fail: x")], 2)


async def test_only_namespaces_that_are_watched_are_followed(engine: Engine) -> None:
    path = "/apis/understudy.dev/v1alpha1/namespaces/team-a/modelsnapshots"
    async with fake_api() as api:
        api.put(path, snapshot(**FAILED))
        async with following(api, engine, "team-a", "team-b"):
            await until(lambda: len(rows(engine, HISTORY)) == 1)
            await until(lambda: {p for _, p, _ in api.requests} == {path, path.replace("team-a", "team-b")})


async def test_what_a_database_does_not_take_is_written_when_it_does(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.records.rollouts._RETRY_SECONDS", 0.01)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE history RENAME TO away")
    async with fake_api() as api:
        api.put(SNAPSHOTS, snapshot(**FAILED))
        async with following(api, engine) as rollouts:
            await until(lambda: bool(rollouts._waiting))
            with engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO history")
            await until(lambda: len(rows(engine, HISTORY)) == 1)
