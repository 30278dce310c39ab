"""Records that are read: what is shown of them, which of them, in which order, and to whom."""

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Engine

from tests.gateway.fakeapi import ACCESS, REVIEWS, FakeApi, fake_api
from tests.records.serving import GATEWAY, Records, records
from tests.records.test_ingest import NOON, OTHER, SEGMENT, at, line
from tests.records.test_subjects import OLD, event, ingest, rows, violation
from understudy.cli.main import main
from understudy.gateway.kubeapi import ApiServer
from understudy.records.access import Access, Asked
from understudy.records.policy.pages import Cursor
from understudy.records.reads import PAGE, Wanted, page, pages
from understudy.records.schema import REQUESTS, VIOLATIONS
from understudy.records.shown import (
    DECISION_KIND,
    ENGAGEMENT_KIND,
    HISTORY_KIND,
    REQUEST_KIND,
    VIOLATION_KIND,
    Kind,
)
from understudy.records.subjects import erase

READER = "system:serviceaccount:team-a:auditor"


def shown(engine: Engine, kind: Kind = REQUEST_KIND, **wanted: Any) -> list[dict[str, Any]]:
    return page(engine, kind, Wanted(**wanted))


def named(engine: Engine, kind: Kind = REQUEST_KIND, name: str = "requestId", **wanted: Any) -> list[str]:
    return [str(record[name]) for record in shown(engine, kind, **wanted)]


def test_a_record_is_shown_as_it_was_told(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [line(1), violation(1, rule=2, channel="content", length=16), event(1)])
    (request,), (found,), (did,) = (shown(engine, kind) for kind in (REQUEST_KIND, VIOLATION_KIND, ENGAGEMENT_KIND))
    told = line(1)
    del told["kind"], told["retries"]
    key = rows(engine, REQUESTS)[0]["key_subject"]
    cursor = request.pop("cursor")
    assert request == {**told, "time": "2026-11-30T11:59:50.250Z", "key": key}
    assert (cursor, len(key)) == (f"{int(NOON * 1000) - 9750}.1", 32)
    told = violation(1, rule=2, channel="content", length=16, entity=None, excerpt=None, key=None)
    del told["kind"], told["tenant"], found["cursor"]
    row = rows(engine, VIOLATIONS)[0]
    who = {"player": row["player"], "session": row["session"]}
    assert found == {**told, "time": "2026-11-30T11:59:00.000Z", **who}
    told = event(1, name="", revision="", policy=None)
    del told["kind"], told["tenant"], told["player"], told["session"], did["cursor"]
    assert did == {**told, "time": "2026-11-30T11:59:00.000Z", "subject": row["player"]}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "1234"),
        ({"namespace": "default"}, "12"),
        ({"namespace": "default", "deployment": "story"}, "1"),
        ({"namespace": "def"}, ""),
        ({"namespace": "d%"}, ""),
        ({"equal": {"revision": "aaaaaaaa"}}, "24"),
        ({"equal": {"category": "self_harm"}}, "3"),
        ({"equal": {"guardrail": "default/safety"}}, "124"),
        ({"least": {"severity": 4}}, "134"),
        ({"least": {"severity": 6}}, "3"),
        ({"since_ms": int(NOON * 1000) + 2000}, "234"),
        ({"until_ms": int(NOON * 1000) + 2000}, "1"),
        ({"since_ms": int(NOON * 1000) + 2000, "until_ms": int(NOON * 1000) + 3000}, "2"),
        ({"namespace": "other", "least": {"severity": 5}, "equal": {"category": "self_harm"}}, "3"),
    ],
)
def test_what_is_asked_for_is_found_and_nothing_else(engine: Engine, wanted: dict[str, Any], found: str) -> None:
    told = [
        violation(1),
        violation(2, deployment="default/tale", revision="aaaaaaaa", severity=2),
        violation(3, deployment="other/story", category="self_harm", severity=6, guardrail="other/x", kind="crisis"),
        violation(4, deployment="defaults/story", revision="aaaaaaaa", player="berta", session=None),
    ]
    ingest(engine).take(SEGMENT, 0, [{**one, "time": at(number)} for number, one in enumerate(told, 1)])
    assert "".join(named(engine, VIOLATION_KIND, "violationId", **wanted, oldest_first=True)) == "".join(
        f"v-{number}" for number in found
    )


def test_who_is_asked_for_is_found_by_his_number(engine: Engine) -> None:
    told = [violation(1), violation(2, player="berta"), violation(3, player="berta", session="morning", key="feedbeef")]
    ingest(engine).take(SEGMENT, 0, [*told, event(1), event(2, player="berta")])
    anna, berta, _ = (row["player"] for row in rows(engine, VIOLATIONS))
    evening, key = rows(engine, VIOLATIONS)[0]["session"], rows(engine, VIOLATIONS)[2]["key_subject"]
    for subject, found, did in (
        (anna, ["v-1"], ["e-1"]), (berta, ["v-3", "v-2"], ["e-2"]), (evening, ["v-2", "v-1"], []),
        (key, ["v-3"], []), ("0" * 32, [], []),
    ):  # fmt: skip
        assert named(engine, VIOLATION_KIND, "violationId", subject=subject) == found
        assert named(engine, ENGAGEMENT_KIND, "eventId", subject=subject) == did


def test_somebody_who_was_erased_is_in_nothing_that_is_read(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [violation(1, excerpt="I am Anna"), event(1), line(1)])
    player, key = rows(engine, VIOLATIONS)[0]["player"], rows(engine, REQUESTS)[0]["key_subject"]
    erase(engine, OLD, "player", "team-a", "anna", int(NOON))
    erase(engine, OLD, "key", "", "01234567", int(NOON))
    (found,) = shown(engine, VIOLATION_KIND)
    assert (found["player"], found["session"], found["excerpt"], found["excerptHash"]) == (None, None, None, None)
    assert (shown(engine, ENGAGEMENT_KIND), [record["key"] for record in shown(engine)]) == ([], [None])
    assert (shown(engine, VIOLATION_KIND, subject=player), shown(engine, subject=key)) == ([], [])


@pytest.mark.parametrize("oldest_first", [True, False])
def test_what_comes_while_somebody_reads_neither_repeats_a_record_nor_leaves_one_out(
    engine: Engine, *, oldest_first: bool
) -> None:
    store = ingest(engine)
    # Several of one moment, so that a page ends between them.
    store.take(SEGMENT, 0, [line(number, time=at(number // 3)) for number in range(20)])
    read: list[str] = []
    after: Cursor | None = None
    number = 20
    while found := page(engine, REQUEST_KIND, Wanted(after=after, oldest_first=oldest_first), limit=3):
        read += [record["requestId"] for record in found]
        at_ms, _, row = found[-1]["cursor"].partition(".")
        after = Cursor(int(at_ms), int(row))
        if len(read) < 30:
            more = [line(number, time=at(-1)), line(number + 1, time=at(3)), line(number + 2, time=at(99))]
            store.take(SEGMENT, number, more)
            number += 3
    assert len(set(read)) == len(read)
    assert [name for name in read if int(name[3:]) < 20] == (
        [f"id-{n}" for n in range(20)] if oldest_first else [f"id-{n}" for n in reversed(range(20))]
    )


def test_the_longest_list_is_read_a_page_at_a_time(engine: Engine) -> None:
    many = 2 * PAGE + 500
    ingest(engine, None).take(SEGMENT, 0, [line(number, time=at(number // 7)) for number in range(many)])
    sizes, read = [], []
    for found in pages(engine, REQUEST_KIND, Wanted(oldest_first=True)):
        sizes.append(len(found))
        read += [record["requestId"] for record in found]
    assert (sizes, read) == ([PAGE, PAGE, 500], [f"id-{number}" for number in range(many)])


def test_who_reads_waits_for_nobody_who_writes(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [line(1)])
    with engine.begin() as writing:
        writing.execute(REQUESTS.delete())
        # In a file the one who writes has it for himself.
        assert named(engine) == ["id-1"]
    assert named(engine) == []


async def test_pages_follow_each_other_by_http(url: str) -> None:
    async with records(url, time.time) as r:
        batch = {"first": 0, "records": [line(number, time=at(number)) for number in range(5)]}
        await r.ask("POST", f"/v1/ingest/{SEGMENT}", batch)
        read: list[list[str]] = []
        after: str | None = ""
        while after is not None:
            status, answer = await r.ask("GET", f"/v1/requests?limit=2&after={after}")
            assert status == 200
            read.append([record["requestId"] for record in answer["items"]])
            after = answer["next"]
        assert read == [["id-4", "id-3"], ["id-2", "id-1"], ["id-0"]]
        since = "2026-11-30T13:00:02%2B01:00"
        status, answer = await r.ask("GET", f"/v1/requests?namespace=default&since={since}&order=oldest&status=200")
        assert [record["requestId"] for record in answer["items"]] == ["id-2", "id-3", "id-4"]
        assert (await r.ask("GET", "/v1/requests?status=404"))[1] == {"items": [], "next": None}


async def test_all_that_is_asked_for_comes_as_json_lines(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        for first in (0, 1000):
            batch = {
                "first": first,
                "records": [line(number, time=at(number)) for number in range(first, first + 1000)],
            }
            await r.ask("POST", f"/v1/ingest/{SEGMENT}", batch)
        asking = {"Accept": "application/x-ndjson"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{r.base}/v1/requests?order=oldest", headers=asking) as answer,
        ):
            assert answer.content_type == "application/x-ndjson"
            lines = [json.loads(text) async for text in answer.content]
        assert [record["requestId"] for record in lines] == [f"id-{number}" for number in range(2000)]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("requests?colour=red", "query.colour: Extra inputs are not permitted"),
        ("requests?deployment=story", "query: a deployment is known by its namespace as well: add namespace=…"),
        ("requests?since=yesterday", "query.since: "),
        ("requests?since=2026-11-30T12:00:00", "query.since: Input should have timezone info"),
        ("requests?limit=1001", "query.limit: Input should be less than or equal to 1000"),
        ("requests?after=7", "query.after: String should match pattern"),
        ("violations?severity=7", "query.severity: Input should be less than or equal to 6"),
        ("engagement?namespace=team-a", "query.namespace: Extra inputs are not permitted"),
        ("engagement?subject=anna", "query.subject: String should match pattern"),
    ],
)
async def test_what_cannot_be_asked_is_told_why(tmp_path: Path, query: str, sentence: str) -> None:
    async with records(tmp_path, time.time) as r:
        status, answer = await r.ask("GET", f"/v1/{query}")
        assert (status, answer["error"]["code"]) == (422, "invalid_request")
        assert answer["error"]["message"].startswith(sentence)


async def test_a_database_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        assert r.ingest is not None
        with r.ingest._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE violations")
        for accept in ("application/json", "application/x-ndjson"):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{r.base}/v1/violations", headers={"Accept": accept}) as answer,
            ):
                assert (answer.status, (await answer.json())["error"]["code"]) == (503, "unreadable")


async def refusal(r: Records, path: str, token: str) -> tuple[int, str]:
    status, answer = await r.ask("GET", path, token=token)
    return status, "" if status == 200 else answer["error"]["message"]


def reader_api(api: FakeApi) -> None:
    """One who may read requests of his namespace and findings of all, and one who may nothing."""
    api.users = {"reader": READER, "other": "system:serviceaccount:x:y", "gateway": GATEWAY}
    api.rights = {(READER, "modeldeployments/requests", "team-a"), (READER, "modeldeployments/violations", "")}


async def test_who_may_read_what_is_asked_of_the_api_server(tmp_path: Path) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url) as r:
        reader_api(api)
        assert await refusal(r, "/v1/requests?namespace=team-a", "reader") == (200, "")
        assert await refusal(r, "/v1/requests?namespace=team-a&deployment=story", "reader") == (200, "")
        assert await refusal(r, "/v1/violations", "reader") == (200, "")
        assert await refusal(r, "/v1/violations?namespace=team-b", "reader") == (200, "")
        right = "get modeldeployments/{}.understudy.dev in {}"
        for path, token, who, kind, where in (
            ("requests", "reader", READER, "requests", "all namespaces"),
            ("requests?namespace=team-b", "reader", READER, "requests", "namespace team-b"),
            ("engagement", "reader", READER, "engagement", "all namespaces"),
            ("interventions", "reader", READER, "engagement", "all namespaces"),
            ("requests?namespace=team-a", "other", "system:serviceaccount:x:y", "requests", "namespace team-a"),
            ("requests?namespace=team-a", "nobody", "nobody that is known", "requests", "namespace team-a"),
            # A gateway brings records and reads none.
            ("requests", "gateway", GATEWAY, "requests", "all namespaces"),
        ):
            assert await refusal(r, f"/v1/{path}", token) == (403, f"{who} may not {right.format(kind, where)}")
        status, answer = await r.ask("GET", "/v1/requests")
        assert (status, answer["error"]["code"]) == (401, "no_token")
        # The books are of all namespaces.
        assert (await r.ask("GET", "/v1/ingest", token="reader"))[0] == 403
        api.rights.add((READER, "modeldeployments/requests", ""))
        # What was refused is refused for some seconds more, to the same token.
        api.users["again"] = READER
        assert (await r.ask("GET", "/v1/ingest", token="again"))[1]["stored"] == 0
        # And who reads brings none.
        assert (await r.ask("POST", f"/v1/ingest/{OTHER}", {"first": 0, "records": [line(1)]}, "reader"))[0] == 403


@pytest.mark.slow
async def test_the_api_server_is_told_all_that_it_knows_of_the_caller_and_asked_again_after_seconds() -> None:
    now = [0.0]
    async with fake_api() as api:
        reader_api(api)
        access = Access(ApiServer(api.url), lambda: now[0])
        asked = Asked("requests", "team-a", "story")
        assert (await access.verdict("reader", asked)).allowed
        assert api.reviewed[-1] == {
            "user": READER, "uid": f"uid of {READER}", "groups": ["system:serviceaccounts"],
            "extra": {"authentication.kubernetes.io/pod-name": ["pod"]},
            "resourceAttributes": {
                "group": "understudy.dev", "resource": "modeldeployments", "subresource": "requests", "verb": "get",
                "namespace": "team-a", "name": "story",
            },
        }  # fmt: skip
        api.rights.clear()
        for second, allowed in ((9.9, True), (10.0, False)):
            now[0] = second
            assert (await access.verdict("reader", asked)).allowed is allowed
        for number in range(1_001):
            await access.verdict("reader", Asked("requests", f"n{number}"))
        assert len(access._known) <= 1_000


@pytest.mark.parametrize("away", [REVIEWS, ACCESS])
async def test_while_the_api_server_cannot_be_asked_nobody_reads(tmp_path: Path, away: str) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url) as r:
        reader_api(api)
        api.fail[away] = 500
        assert await refusal(r, "/v1/violations", "reader") == (503, "the API server cannot be asked who may read")


async def test_the_schema_tells_what_can_be_asked_and_what_is_answered(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        status, schema = await r.ask("GET", "/openapi.json")
        assert status == 200
        for kind in (REQUEST_KIND, VIOLATION_KIND, ENGAGEMENT_KIND, DECISION_KIND, HISTORY_KIND):
            route = schema["paths"][f"/v1/{kind.name}"]["get"]
            assert route["description"]
            assert route["security"]
            names = {parameter["name"] for parameter in route["parameters"]}
            assert {"since", "until", "order", "limit", "after"} <= names
            assert ("subject" in names) is bool(kind.subjects)
            content = route["responses"]["200"]["content"]
            assert set(content) == {"application/json", "application/x-ndjson"}
            model = schema["components"]["schemas"][kind.shown.__name__]
            assert set(model["properties"]) == {"cursor", *kind.names()}
        # What has no route of its own on the page is the framework's, and is not offered.
        assert (await r.ask("GET", "/docs"))[0] == 404


def test_who_is_not_asked_for_a_token_can_be_reached_from_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("understudy.cli.records.configure", lambda _level: None)
    for host in ("0.0.0.0", "::", "records.example"):
        flags = ["--auth=none", f"--host={host}", f"--database=sqlite:///{tmp_path}/records.db"]
        assert main(["records", *flags]) == 2
        sentence = "--auth none answers everybody who reaches it: add --host 127.0.0.1, or have tokens asked for"
        assert capsys.readouterr().err == f"understudy records: {sentence}\n"
