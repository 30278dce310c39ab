"""Lines of gateways in a database: each once, and what cannot be stored is counted."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError

from tests.gateway.fakeapi import fake_api
from tests.records.serving import GATEWAY, records
from understudy.records.ingest import Ingest, Taken, Totals
from understudy.records.schema import REQUESTS

SEGMENT = "0123456789abcdef-c00000001"
OTHER = "0123456789abcdef-k00000002"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


def at(seconds: float) -> str:
    """So long after noon, as a line says it."""
    return datetime.fromtimestamp(NOON + seconds, UTC).isoformat()


def line(number: int, **changed: Any) -> dict[str, Any]:
    """A request, as a gateway tells it."""
    return {
        "kind": "request", "time": "2026-11-30T11:59:50.250+00:00", "requestId": f"id-{number}",
        "deployment": "default/story", "servedName": "storyteller", "fallback": None,
        "operation": "/v1/chat/completions", "stream": True, "revision": "73cba436", "track": "stable", "status": 200,
        "code": None, "attempts": 1, "retries": 0, "firstTokenSeconds": 0.25, "seconds": 1.5, "tokensIn": 12,
        "tokensOut": 34, "finishReason": "stop", "conversation": "header", "sampled": False, "key": "01234567",
        **changed,
    }  # fmt: skip


@pytest.fixture
def ingest(engine: Engine) -> Ingest:
    return Ingest(engine, lambda: NOON)


def ids(engine: Engine) -> list[str]:
    with engine.begin() as connection:
        return list(connection.execute(select(REQUESTS.c.request_id).order_by(REQUESTS.c.id)).scalars())


def test_a_request_is_kept_as_it_was_told(ingest: Ingest, engine: Engine) -> None:
    assert ingest.take(SEGMENT, 0, [line(1)]) == Taken(1, {"request": 1}, 0, 0, 0, (9.75,), {})
    with engine.begin() as connection:
        (row,) = connection.execute(select(REQUESTS)).mappings()
    assert {name: value for name, value in row.items() if name not in ("id", "segment")} == {
        "seq": 0, "at_ms": int(NOON * 1000) - 9_750, "request_id": "id-1", "deployment": "default/story",
        "served_name": "storyteller", "fallback": None, "operation": "/v1/chat/completions", "stream": True,
        "revision": "73cba436", "track": "stable", "status": 200, "code": None, "attempts": 1,
        "first_token_us": 250_000, "total_us": 1_500_000, "tokens_in": 12, "tokens_out": 34, "finish": "stop",
        "conversation": "header", "sampled": False, "key_subject": None,
    }  # fmt: skip


def test_what_comes_again_is_not_stored_again(ingest: Ingest, engine: Engine) -> None:
    batch = [line(number) for number in range(5)]
    assert ingest.take(SEGMENT, 0, batch[:3]).next == 3
    assert ingest.take(SEGMENT, 0, batch[:3]) == Taken(3, {}, 3, 0, 0, (), {})
    assert ingest.take(SEGMENT, 1, batch[1:]) == Taken(5, {"request": 2}, 2, 0, 0, (9.75, 9.75), {})
    # One that was under way for long changes nothing.
    assert ingest.take(SEGMENT, 0, batch[:3]).next == 5
    assert ids(engine) == [f"id-{number}" for number in range(5)]


def test_what_never_came_is_missing(ingest: Ingest) -> None:
    ingest.take(SEGMENT, 4, [line(4)])
    assert ingest.totals() == Totals(segments=1, stored=1, rejected=0, missing=4, lost=0, erased=0)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "text",
        {},
        {"kind": "nothing"},
        line(1, tokensIn=-1),
        line(1, tokensIn=10**30),
        line(1, seconds=float("nan")),
        line(1, time="yesterday"),
        line(1, time="0001-01-01T00:00:00Z"),
        line(1, time="1970-01-01T00:00:10Z"),
        line(1, time="2100-01-01T00:00:00Z"),
        line(1, time="9999-12-31T23:59:59.999999-12:00"),
        line(1, time="2026-11-30T12:00:00"),
        line(1, deployment="x" * 321),
        line(1, servedName="a\x00b"),
        line(1, status=42),
        {"kind": "ended", "segment": "x", "lines": 1},
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_no_hindrance(ingest: Ingest, engine: Engine, wrong: Any) -> None:
    assert ingest.take(SEGMENT, 0, [line(0), wrong, line(2)]) == Taken(3, {"request": 2}, 0, 1, 0, (9.75, 9.75), {})
    assert ids(engine) == ["id-0", "id-2"]


def test_what_a_newer_gateway_tells_besides_is_no_hindrance(ingest: Ingest) -> None:
    assert ingest.take(SEGMENT, 0, [line(0, colour="red")]).stored == {"request": 1}


def test_what_made_way_is_lost_but_for_what_had_come(ingest: Ingest) -> None:
    ingest.take(SEGMENT, 0, [line(0), line(1)])
    gone = {"kind": "ended", "segment": SEGMENT, "lines": 10}
    unheard = {"kind": "ended", "segment": "0123456789abcdef-c00000009", "lines": 5}
    for _ in range(2):
        ingest.take(OTHER, 0, [gone, unheard])
        assert ingest.totals() == Totals(segments=3, stored=2, rejected=0, missing=0, lost=13, erased=0)
    # What was under way when it made way has come after all.
    ingest.take(SEGMENT, 2, [line(2)])
    assert ingest.totals().lost == 12


def test_records_that_no_disk_had_room_for_are_counted_once(ingest: Ingest) -> None:
    lost = {"kind": "lost", "of": "request", "count": 7}
    assert ingest.take(OTHER, 0, [lost]).lost == {"request": 7}
    assert ingest.take(OTHER, 0, [lost]).lost == {}
    assert ingest.totals() == Totals(segments=1, stored=0, rejected=0, missing=0, lost=7, erased=0)


def test_a_batch_is_stored_wholly_or_not_at_all(ingest: Ingest, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE requests RENAME TO away"))
    with pytest.raises(DBAPIError):
        ingest.take(SEGMENT, 0, [line(0)])
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO requests"))
    assert ingest.totals().segments == 0
    assert ingest.take(SEGMENT, 0, [line(0)]).next == 1


def test_one_batch_that_comes_several_times_at_once_is_stored_once(ingest: Ingest, engine: Engine) -> None:
    batch = [line(number) for number in range(50)]
    failed: list[Exception] = []

    def send() -> None:
        try:
            ingest.take(SEGMENT, 0, batch)
        except Exception as error:  # noqa: BLE001  # told below, in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, len(ids(engine)), ingest.totals().stored) == ([], 50, 50)


async def test_a_batch_comes_by_http_and_is_told_how_far_it_has_come(url: str) -> None:
    async with records(url, time.time) as r:
        path = f"/v1/ingest/{SEGMENT}"
        assert await r.ask("POST", path, {"first": 0, "records": [line(0), {}]}) == (
            200,
            {"next": 2, "stored": 1, "rejected": 1},
        )
        assert await r.ask("GET", "/v1/ingest") == (
            200,
            {"segments": 1, "stored": 1, "rejected": 1, "missing": 0, "lost": 0, "erased": 0},
        )
        shown = (await r.ask("GET", "/metrics"))[1]
        assert "understudy_records_rejected_total 1.0" in shown
        assert "understudy_records_late_seconds_count 1.0" in shown


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/v1/ingest/short", {"first": 0, "records": [{}]}, 422, "path.segment: String should match pattern"),
        (f"/v1/ingest/{SEGMENT}", {"first": -1, "records": [{}]}, 422, "body.first: Input should be greater than"),
        (f"/v1/ingest/{SEGMENT}", {"first": 0, "records": []}, 422, "body.records: List should have at least 1 item"),
        (f"/v1/ingest/{SEGMENT}", {"first": 0, "records": [{}] * 1001}, 422, "body.records: List should have at most"),
        (f"/v1/ingest/{SEGMENT}", {"records": [{}], "x": 1}, 422, "body.first: Field required"),
        (f"/v1/ingest/{SEGMENT}", [], 422, "body: Input should be a valid dictionary"),
    ],
)
async def test_what_is_no_batch_is_told_why(tmp_path: Path, path: str, body: Any, status: int, sentence: str) -> None:
    async with records(tmp_path, time.time) as r:
        answered = await r.ask("POST", path, body)
        assert (answered[0], answered[1]["error"]["message"][: len(sentence)]) == (status, sentence)


@pytest.mark.parametrize(
    ("length", "status", "sentence"),
    [(3, 422, "body: no JSON: "), (2**20 + 1, 413, "the body has 1048577 bytes, 1048576 at most are read")],
)
async def test_what_is_no_json_or_too_long_is_told_so(tmp_path: Path, length: int, status: int, sentence: str) -> None:
    async with records(tmp_path, time.time) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(r.base.rpartition(":")[2]))
        fields = f"Host: x\r\nContent-Length: {length}\r\nConnection: close"
        writer.write(f"POST /v1/ingest/{SEGMENT} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + b"{x}")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(f"HTTP/1.1 {status}".encode())
        assert json.loads(body)["error"]["message"].startswith(sentence)


async def test_only_a_gateway_that_the_api_server_vouches_for_may_bring_records(tmp_path: Path) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url) as r:
        api.users = {"good": GATEWAY, "other": "system:serviceaccount:x:y"}
        batch = {"first": 0, "records": [line(0)]}
        for token, status in (("", 401), ("other", 403), ("good", 200)):
            assert (await r.ask("POST", f"/v1/ingest/{SEGMENT}", batch, token))[0] == status


async def test_a_database_that_takes_nothing_is_told_of(url: str) -> None:
    async with records(url, time.time) as r:
        assert r.ingest is not None
        with r.ingest._engine.begin() as connection:
            connection.execute(text("DROP TABLE requests"))
        status, answer = await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": [line(0)]})
        assert (status, answer["error"]["code"]) == (503, "unwritable")
        assert answer["error"]["message"] == "the records' database cannot be written: nothing was stored"
        assert 'understudy_records_failures_total{why="unwritable"} 1.0' in (await r.ask("GET", "/metrics"))[1]
