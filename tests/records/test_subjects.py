"""Who is spoken of in the records: called by numbers that say nothing, seen again, and erased."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, select

from tests.gateway.fakeapi import fake_api
from tests.records.serving import GATEWAY, process, records
from tests.records.test_ingest import NOON, OTHER, SEGMENT, line
from understudy.records.ingest import Ingest
from understudy.records.policy.subjects import Keys
from understudy.records.schema import ENGAGEMENT, METADATA, REQUESTS, SUBJECTS, TOMBSTONES, VIOLATIONS
from understudy.records.subjects import Erased, erase, forget, number_of, versions

OLD = Keys(((1, b"1" * 32),))
BOTH = Keys(((2, b"2" * 32), (1, b"1" * 32)))
NEW = Keys(((2, b"2" * 32),))
DAY = 86_400


def event(number: int, **changed: Any) -> dict[str, Any]:
    """Something that a player did."""
    return {
        "kind": "engagement", "time": "2026-11-30T11:59:00+00:00", "tenant": "team-a", "player": "anna",
        "session": "evening", "eventId": f"e-{number}", "event": "mood", "source": "asserted", "mood": 1,
        "zone": "Europe/Berlin", "marks": ["late"], **changed,
    }  # fmt: skip


def violation(number: int, **changed: Any) -> dict[str, Any]:
    """Something that a rule found."""
    return {
        "kind": "violation", "time": "2026-11-30T11:59:00+00:00", "violationId": f"v-{number}", "requestId": "id-1",
        "deployment": "default/story", "guardrail": "default/safety", "policyHash": "sha256:00", "revision": "73cba436",
        "track": "stable", "tenant": "team-a", "player": "anna", "session": "evening", "direction": "output",
        "category": "pii", "severity": 4, "score": 0.75, "detector": "pii", "detectorVersion": "1",
        "detectorStatus": "ok", "start": 10, "end": 26, "excerptHash": "hmac:00", "action": "Redact",
        "actionResult": "done", "charsReleasedBefore": 9, "holdSeconds": 0.002, "upstreamCancelled": False, **changed,
    }  # fmt: skip


def ingest(engine: Engine, keys: Keys | None = OLD, now: float = NOON) -> Ingest:
    return Ingest(engine, lambda: now, keys)


def rows(engine: Engine, table: Table) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def everything(engine: Engine) -> str:
    """All that the database holds."""
    return str([rows(engine, table) for table in METADATA.sorted_tables])


def test_what_is_told_of_somebody_is_kept_without_his_name(engine: Engine) -> None:
    taken = ingest(engine).take(SEGMENT, 0, [event(1), violation(1), line(1, key="feedbeef")])
    assert taken.stored == {"engagement": 1, "violation": 1, "request": 1}
    (did,), (found,), (asked,) = rows(engine, ENGAGEMENT), rows(engine, VIOLATIONS), rows(engine, REQUESTS)
    assert found["player"] == did["subject"]
    assert len({did["subject"], found["session"], asked["key_subject"]} | {None}) == 4
    assert (did["event"], did["source"], did["mood"], did["zone"], did["marks"]) == (
        "mood", "asserted", 1, "Europe/Berlin", "late",
    )  # fmt: skip
    assert (found["start_at"], found["end_at"], found["released_before"], found["hold_us"]) == (10, 26, 9, 2000)
    for secret in ("anna", "evening", "feedbeef", "team-a"):
        assert secret not in everything(engine)


def test_the_same_one_has_the_same_number_and_one_of_another_tenant_another(engine: Engine) -> None:
    told = [event(1), event(2), event(3, tenant="team-b"), event(4, player="berta")]
    ingest(engine).take(SEGMENT, 0, told)
    first, again, other, berta = (row["subject"] for row in rows(engine, ENGAGEMENT))
    assert first == again
    assert len({first, other, berta}) == 3


def test_an_event_that_is_told_of_twice_is_kept_once(engine: Engine) -> None:
    store = ingest(engine)
    assert store.take(SEGMENT, 0, [event(1), event(1)]).stored == {"engagement": 1}
    taken = store.take(OTHER, 0, [event(1), event(1, player="berta")])
    assert (taken.stored, taken.repeated) == ({"engagement": 1}, 1)
    # The books are even all the same: four lines came, and none is missing.
    assert store.totals().stored == 4
    # Whoever else takes the id of it changes nothing; and a day later it is still known.
    taken = store.take(OTHER, 2, [event(1, event="cue", name="prefers_bot", mood=0, source="client")])
    assert taken.stored == {"engagement": 1}
    assert store.take(OTHER, 3, [event(1, time="2026-12-01T12:05:01+00:00")]).repeated == 1


def test_of_somebody_without_a_name_the_session_is_spoken_of(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [event(1, player=None), event(2, player=None), event(3)])
    first, again, anna = (row["subject"] for row in rows(engine, ENGAGEMENT))
    assert first == again != anna


@pytest.mark.parametrize(
    "wrong",
    [
        {"player": None, "session": None},
        {"event": "session_start"},
        {"mood": 3},
        {"eventId": "no id"},
        {"policy": {"thresholds": {"luck": 1}}},
        {"policy": {"coolDown": {"initial": 15}}},
        {"policy": {"actions": 1}},
        {"policy": {"ttl": "long"}},
        {"policy": {"ttl": 7}},
    ],
)
def test_what_is_no_event_is_rejected(engine: Engine, wrong: dict[str, Any]) -> None:
    assert ingest(engine).take(SEGMENT, 0, [event(1, **wrong), event(2)]).rejected == 1


def test_without_secrets_nobody_is_spoken_of(engine: Engine) -> None:
    taken = ingest(engine, None).take(SEGMENT, 0, [event(1), violation(1), line(1)])
    assert (taken.stored, taken.rejected) == ({"violation": 1, "request": 1}, 1)
    assert (rows(engine, SUBJECTS), rows(engine, VIOLATIONS)[0]["player"]) == ([], None)


def test_who_is_seen_again_is_linked_by_the_newer_secret(engine: Engine) -> None:
    ingest(engine, OLD).take(SEGMENT, 0, [event(1), event(2, player="berta", session=None)])
    assert versions(engine) == {1: 2}
    ingest(engine, BOTH).take(SEGMENT, 2, [event(3)])
    assert versions(engine) == {1: 1, 2: 1}
    # With the older one thrown away she has the same number as ever.
    ingest(engine, NEW).take(SEGMENT, 3, [event(4)])
    anna = {row["subject"] for row in rows(engine, ENGAGEMENT) if row["event_id"] != "e-2"}
    assert len(anna) == 1


def test_an_erased_player_leaves_nothing_that_leads_to_him(engine: Engine) -> None:
    store = ingest(engine)
    store.take(SEGMENT, 0, [event(1), event(2), violation(1), event(3, player="berta")])
    number = rows(engine, VIOLATIONS)[0]["player"]
    assert number_of(engine, BOTH, "player", "team-a", "anna") == number
    done = erase(engine, OLD, "player", "team-a", "anna", int(NOON))
    assert (number in done.subjects, done.engagement) == (True, 2)
    assert number_of(engine, BOTH, "player", "team-a", "anna") is None
    assert [row["event_id"] for row in rows(engine, ENGAGEMENT)] == ["e-3"]
    assert rows(engine, VIOLATIONS)[0]["player"] not in {row["id"] for row in rows(engine, SUBJECTS)}
    assert erase(engine, OLD, "player", "team-a", "nobody", int(NOON)) == Erased(subjects=(), engagement=0)


def test_what_comes_late_of_an_erased_player_is_not_kept_and_is_counted(engine: Engine) -> None:
    erase(engine, BOTH, "player", "team-a", "anna", int(NOON))
    for number, keys in enumerate((OLD, BOTH, NEW)):
        taken = ingest(engine, keys, NOON + 29 * DAY).take(SEGMENT, 2 * number, [event(number), violation(number)])
        assert (taken.stored, taken.erased) == ({"violation": 1}, 1)
    assert {row["player"] for row in rows(engine, VIOLATIONS)} == {None}
    assert rows(engine, ENGAGEMENT) == []
    assert ingest(engine).totals().erased == 3
    # What he does afterwards is told of somebody new, and what he did before is not, whichever comes first.
    later = datetime.fromtimestamp(NOON + 60, UTC).isoformat()
    taken = ingest(engine, NEW).take(SEGMENT, 6, [event(7), event(8, time=later), event(9)])
    assert (taken.stored, taken.erased) == ({"engagement": 1}, 2)


def test_erasing_somebody_twice_holds_from_the_later_time_on(engine: Engine) -> None:
    for now in (NOON, NOON + 3600):
        erase(engine, OLD, "player", "team-a", "anna", int(now))
    between = datetime.fromtimestamp(NOON + 60, UTC).isoformat()
    assert ingest(engine).take(SEGMENT, 0, [event(1, time=between)]).erased == 1
    (stone,) = rows(engine, TOMBSTONES)
    assert stone["ends_at"] == NOON + 3600 + 30 * DAY


def test_links_and_tombstones_end(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [event(1)])
    erase(engine, OLD, "player", "team-a", "berta", int(NOON))
    forget(engine, int(NOON), int(NOON) + 30 * DAY - 1)
    assert (len(rows(engine, SUBJECTS)), len(rows(engine, TOMBSTONES))) == (1, 1)
    forget(engine, int(NOON) + 1, int(NOON) + 30 * DAY)
    assert (rows(engine, SUBJECTS), rows(engine, TOMBSTONES)) == ([], [])


def test_who_is_erased_while_events_come_is_erased(engine: Engine) -> None:
    """However the two meet, nothing from before is there afterwards."""
    failed: list[Exception] = []

    def send(segment: str) -> None:
        try:
            for number in range(10):
                ingest(engine).take(segment, number, [event(number, eventId=f"{segment}-{number}")])
        except Exception as error:  # noqa: BLE001  # told below, in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=send, args=(name,)) for name in (SEGMENT, OTHER)]
    for thread in threads:
        thread.start()
    erase(engine, OLD, "player", "team-a", "anna", int(NOON))
    for thread in threads:
        thread.join()
    assert (failed, rows(engine, ENGAGEMENT)) == ([], [])


def test_the_sessions_of_an_erased_player_lead_to_nobody_either(engine: Engine) -> None:
    store = ingest(engine)
    told = {"excerpt": "I am Anna", "evidenceSeconds": 3600}
    store.take(SEGMENT, 0, [event(1), violation(1, **told), violation(2, player=None, **told)])
    store.take(SEGMENT, 3, [violation(3, player="berta", session="morning", **told)])
    erase(engine, OLD, "player", "team-a", "anna", int(NOON))
    assert len(rows(engine, SUBJECTS)) == 2
    found = sorted(rows(engine, VIOLATIONS), key=lambda row: str(row["violation_id"]))
    assert [(row["excerpt"], row["excerpt_hash"]) for row in found] == [
        (None, None),
        (None, None),
        ("I am Anna", "hmac:00"),
    ]
    # Nor does what comes late of that session.
    store.take(SEGMENT, 4, [violation(4, player=None)])
    assert {row["session"] for row in rows(engine, VIOLATIONS) if row["violation_id"] == "v-4"} == {None}


def test_of_an_erased_key_nothing_that_was_found_is_kept(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [violation(1, key="feedbeef", excerpt="x"), line(1, key="feedbeef")])
    assert rows(engine, REQUESTS)[0]["key_subject"] == rows(engine, VIOLATIONS)[0]["key_subject"]
    assert erase(engine, OLD, "key", "", "feedbeef", int(NOON)).subjects
    assert [row["excerpt"] for row in rows(engine, VIOLATIONS)] == [None]


@pytest.mark.slow
async def test_somebody_is_erased_by_http(url: str, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "1").write_bytes(b"1" * 32)
    (tmp_path / "keys" / "..data").mkdir()
    whom = {"kind": "player", "tenant": "team-a", "identifier": "anna"}
    async with process(url, "--auth=none", f"--subject-keys={tmp_path}/keys") as r:
        await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": [event(1)]})
        assert await r.ask("GET", "/v1/subjects") == (200, {"versions": {"1": 1}})
        status, found = await r.ask("POST", "/v1/subjects/find", whom)
        assert (status, found["subject"]) == (200, (await r.ask("GET", "/v1/engagement"))[1]["items"][0]["subject"])
        done = {"subjects": [found["subject"]], "engagement": 1}
        assert await r.ask("POST", "/v1/subjects/erase", whom) == (200, done)
        status, answer = await r.ask("POST", "/v1/subjects/find", whom)
        assert (status, answer["error"]["code"]) == (404, "unknown_subject")
        status, answer = await r.ask("POST", "/v1/subjects/erase", {**whom, "kind": "pet"})
        assert (status, answer["error"]["code"]) == (422, "invalid_request")
        assert "understudy_records_erased_total 0.0" in (await r.ask("GET", "/metrics"))[1]


async def test_without_secrets_there_is_nobody_to_erase(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        assert (await r.ask("POST", "/v1/subjects/erase", {}))[0] == 404


async def test_a_gateway_may_bring_records_and_erase_nobody(tmp_path: Path) -> None:
    admin = "system:serviceaccount:understudy-system:privacy"
    whom = {"kind": "player", "tenant": "team-a", "identifier": "anna"}
    async with fake_api() as api, records(tmp_path, time.time, api.url, keys=OLD, admins=(admin,)) as r:
        api.users = {"gateway": GATEWAY, "admin": admin}
        batch = {"first": 0, "records": [event(1)]}
        for token, may in (("gateway", (200, 403, 403)), ("admin", (403, 200, 200))):
            assert (await r.ask("POST", f"/v1/ingest/{SEGMENT}", batch, token))[0] == may[0]
            assert (await r.ask("GET", "/v1/subjects", None, token))[0] == may[1]
            assert (await r.ask("POST", "/v1/subjects/find", whom, token))[0] == may[2]
            assert (await r.ask("POST", "/v1/subjects/erase", whom, token))[0] == may[2]
