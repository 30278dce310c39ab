"""Records as files: whole or not there, what everybody may read and no more, and read by somebody else's Parquet."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.gateway.fakeapi import fake_api
from tests.records.policy.test_rollouts import snapshot
from tests.records.serving import Records, records
from tests.records.test_ingest import NOON, SEGMENT, at, line
from tests.records.test_reads import reader_api
from tests.records.test_subjects import OLD, event, violation
from understudy.cli.main import main
from understudy.gateway import kubeapi
from understudy.gateway.kubeapi import ApiError, ApiServer
from understudy.records import export
from understudy.records.export import Rows, write
from understudy.records.policy.rollouts import told_by
from understudy.records.rollouts import Rollouts
from understudy.records.shown import DECISION_KIND, HISTORY_KIND, REQUEST_KIND


async def exported(r: Records, *words: str) -> int:
    """The command's exit status."""
    return await asyncio.to_thread(main, ["records", "export", *words, f"--url={r.base}"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def table(path: Path, question: str) -> list[tuple[Any, ...]]:
    """What DuckDB finds in a Parquet file, which is called t in the question."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.read_parquet(str(path)).create_view("t")
        return connection.execute(question).fetchall()


@pytest.mark.slow
async def test_both_formats_have_the_same_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with records(tmp_path, time.time, keys=OLD) as r:
        for first in (0, 1000, 2000):
            many = [
                line(number, time=at(number), code=None if number % 2 else "busy")
                for number in range(first, first + 900)
            ]
            await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": first, "records": many})
        for name in ("all.jsonl", "all.parquet"):
            assert await exported(r, "requests", f"--to={tmp_path}/{name}") == 0
        assert f"2700 records in {tmp_path}/all.parquet" in capsys.readouterr().err
        told = lines(tmp_path / "all.jsonl")
        assert [record["requestId"] for record in told] == [f"id-{n}" for n in range(3000) if n % 1000 < 900]
        fields = list(told[0])
        found = table(tmp_path / "all.parquet", "FROM t ORDER BY time")
        for record, row in zip(told, found, strict=True):
            record["time"] = datetime.fromisoformat(record["time"])
            assert dict(zip(fields, row, strict=True)) == record
        types = dict(table(tmp_path / "all.parquet", "SELECT column_name, column_type FROM (DESCRIBE FROM t)"))
        assert (types["time"], types["status"], types["seconds"], types["stream"], types["key"]) == (
            "TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR",
        )  # fmt: skip


async def test_what_is_exported_is_what_was_asked_for_and_goes_on_from_where_it_ended(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    async with records(tmp_path, time.time) as r:
        for first, deployment in ((0, "default/story"), (5, "team-b/story")):
            batch = [line(number, time=at(number), deployment=deployment) for number in range(first, first + 5)]
            await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": first, "records": batch})
        asked = ("requests", "--filter=namespace=team-b", f"--filter=until={at(8)}")
        assert await exported(r, *asked) == 0
        shown = capsysbinary.readouterr()
        told = [json.loads(text) for text in shown.out.splitlines()]
        assert [record["requestId"] for record in told] == ["id-5", "id-6", "id-7"]
        last = told[-1]["cursor"]
        assert f"3 records; --filter after={last} goes on behind them" in shown.err.decode()
        assert await exported(r, "requests", f"--filter=after={last}", f"--to={tmp_path}/rest.jsonl") == 0
        assert [record["requestId"] for record in lines(tmp_path / "rest.jsonl")] == ["id-8", "id-9"]
        assert await exported(r, "violations", f"--to={tmp_path}/none.parquet") == 0
        assert table(tmp_path / "none.parquet", "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.slow
async def test_rollouts_are_exported_with_their_lists(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        assert r.ingest is not None
        report = [
            {"run": 1, "step": "shadow", "verdict": "Pass", "compared": ["errors: 0 of 40", "length: 1.01"]},
            {"run": 1, "step": "5 %", "verdict": "Fail: x"},
        ]
        promoted = [{"number": 3, "at": "2026-11-30T11:00:00Z"}]
        told = told_by(snapshot(report=report, promotions=promoted))
        await asyncio.to_thread(Rollouts(ApiServer(""), r.ingest._engine, lambda: NOON).store, (told,))
        for kind in (DECISION_KIND, HISTORY_KIND):
            assert await exported(r, kind.name, f"--to={tmp_path}/{kind.name}.parquet") == 0
        assert table(tmp_path / "decisions.parquet", "SELECT step, compared FROM t ORDER BY step") == [
            ("5 %", []),
            ("shadow", ["errors: 0 of 40", "length: 1.01"]),
        ]
        assert table(tmp_path / "history.parquet", "SELECT event, number, time, failure FROM t") == [
            ("promoted", 3, datetime(2026, 11, 30, 11, tzinfo=UTC), None)
        ]


async def test_somebody_who_was_erased_is_in_no_file(tmp_path: Path) -> None:
    async with records(tmp_path, time.time, keys=OLD) as r:
        told = [event(1), violation(1, excerpt="I am Anna"), event(2, player="berta", session=None)]
        await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": told})
        await r.ask("POST", "/v1/subjects/erase", {"kind": "player", "tenant": "team-a", "identifier": "anna"})
        for kind in ("engagement", "violations"):
            assert await exported(r, kind, f"--to={tmp_path}/{kind}.parquet") == 0
        assert table(tmp_path / "engagement.parquet", "SELECT eventId FROM t") == [("e-2",)]
        found = "SELECT violationId, player, session, excerpt, excerptHash FROM t"
        assert table(tmp_path / "violations.parquet", found) == [("v-1", None, None, None, None)]


async def test_only_what_somebody_may_read_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("reader\n")
    shown = (f"--token={tmp_path}/token", f"--to={tmp_path}/all.jsonl")
    async with fake_api() as api, records(tmp_path, time.time, api.url) as r:
        reader_api(api)
        assert await exported(r, "requests", "--filter=namespace=team-a", *shown) == 0
        assert await exported(r, "engagement", *shown) == 1
        assert "may not get modeldeployments/engagement.understudy.dev in all namespaces" in capsys.readouterr().err
        assert lines(tmp_path / "all.jsonl") == []


def failing(rows: Rows) -> Iterator[Rows]:
    yield rows
    raise ApiError(503, "gone")


@pytest.mark.parametrize("name", ["all.jsonl", "all.parquet"])
async def test_a_file_is_whole_or_not_there(tmp_path: Path, name: str) -> None:
    async with records(tmp_path, time.time) as r:
        await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": [line(1)]})
        rows = (await r.ask("GET", "/v1/requests"))[1]["items"]
    assert write(REQUEST_KIND, iter([rows]), tmp_path / name) == 1
    before = contents(tmp_path)
    with pytest.raises(ApiError, match="gone"):
        write(REQUEST_KIND, failing(rows), tmp_path / name)
    assert contents(tmp_path) == before


async def test_records_that_are_away_for_a_moment_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "_PAUSE_SECONDS", 0.001)
    asked: list[str] = []
    really = kubeapi.request

    async def away(server: ApiServer, method: str, path: str) -> dict[str, Any]:
        asked.append(path)
        if len(asked) < 3:
            raise ConnectionError("away")
        return await really(server, method, path)

    async with records(tmp_path, time.time) as r:
        with monkeypatch.context() as patch:
            patch.setattr(kubeapi, "request", away)
            assert await exported(r, "requests", f"--to={tmp_path}/all.jsonl") == 0
        assert len(asked) == 3
    assert await exported(r, "requests", f"--to={tmp_path}/none.jsonl") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("understudy records: ")
    assert "none.jsonl" not in contents(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--filter=namespace",), "'namespace': want NAME=VALUE, such as namespace=team-a"),
        (("--to=/nowhere/at/all.jsonl",), "[Errno 2] No such file or directory"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["records", "export", "requests", "--url=http://127.0.0.1:9", *words])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status in (1, 2)
    assert sentence in capsys.readouterr().err
