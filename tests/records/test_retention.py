"""What has been kept long enough is forgotten, and a clock that is wrong has nothing forgotten at once."""

from typing import Any

from sqlalchemy import Engine, delete

from tests.records.test_ingest import NOON, SEGMENT, at, line
from tests.records.test_subjects import DAY, OLD, event, ingest, rows, violation
from understudy.records.retention import Keep, Retention
from understudy.records.schema import ENGAGEMENT, REQUESTS, RETENTION, SEGMENTS, SUBJECTS, TOMBSTONES, VIOLATIONS
from understudy.records.subjects import erase

HOUR = 3600


def ids(engine: Engine) -> list[str]:
    return sorted(row["request_id"] for row in rows(engine, REQUESTS))


def a_month_passes(engine: Engine) -> None:
    """In sweeps of which each goes a step forward, of which nothing is remembered here."""
    with engine.begin() as connection:
        connection.execute(delete(RETENTION))


def swept(engine: Engine, now: float, keep: Keep | None = None) -> tuple[int, float]:
    """How many were forgotten in one sweep at that time, and how many seconds it was behind."""
    retention = Retention(engine, lambda: now, keep or Keep())
    return retention.sweep(), retention.overdue


def test_what_is_old_is_forgotten_and_counted_all_the_same(engine: Engine) -> None:
    store = ingest(engine, None)
    old = [line(number, time="2026-10-01T00:00:00Z") for number in range(2_100)]
    store.take(SEGMENT, 0, [*old, line(9_999)])
    assert swept(engine, NOON) == (2_100, 0)
    assert (ids(engine), store.totals().stored) == (["id-9999"], 2_101)
    # Who repeats himself is still known; when nobody does any more nothing is left of it.
    assert store.take(SEGMENT, 0, old[:10]).stored == {}
    a_month_passes(engine)
    assert swept(engine, NOON + 31 * DAY, Keep(requests=32 * DAY)) == (0, 0)
    assert store.totals().segments == 1
    a_month_passes(engine)
    assert swept(engine, NOON + 31 * DAY) == (1, 0)
    assert (ids(engine), store.totals().segments) == ([], 0)


def test_each_kind_is_kept_for_a_time_of_its_own(engine: Engine) -> None:
    store = ingest(engine)
    store.take(SEGMENT, 0, [event(1), violation(1), line(1)])
    keep = Keep(requests=1 * DAY, violations=2 * DAY, engagement=3 * DAY)
    left = []
    for days in range(1, 5):
        a_month_passes(engine)
        swept(engine, NOON + days * DAY, keep)
        left.append([len(rows(engine, table)) for table in (REQUESTS, VIOLATIONS, ENGAGEMENT)])
    assert left == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_clock_that_jumps_a_year_ahead_has_an_hour_forgotten_in_each_sweep(engine: Engine) -> None:
    store = ingest(engine)
    hours = [line(hour, time=at(-hour * HOUR - 60)) for hour in range(30 * 24)]
    store.take(SEGMENT, 0, hours)
    store.take(SEGMENT, len(hours), [event(1), violation(1)])
    erase(engine, OLD, "player", "team-a", "berta", int(NOON))
    assert swept(engine, NOON) == (0, 0)
    forgotten = [swept(engine, NOON + 365 * DAY) for _ in range(5)]
    assert [count for count, _ in forgotten] == [1] * 5
    assert forgotten[0][1] == 365 * DAY - HOUR
    # The books, those who are spoken of and who was erased are remembered as well.
    assert len(rows(engine, SEGMENTS)) == 1
    assert (len(rows(engine, SUBJECTS)) > 0, len(rows(engine, TOMBSTONES))) == (True, 1)
    assert ingest(engine, now=NOON + 365 * DAY).take(SEGMENT, 900, [event(2, player="berta")]).erased == 1
    # When it is set right nothing more is forgotten than should be.
    assert swept(engine, NOON + 600) == (0, 0)
    assert len(ids(engine)) == 30 * 24 - 5


def test_a_record_with_a_time_long_past_holds_nothing_up(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [line(1, time=at(-29 * DAY)), line(2, time=at(-30 * DAY - 1))])
    assert swept(engine, NOON)[0] == 1
    ingest(engine).take(SEGMENT, 2, [line(3, time="2001-01-01T00:00:00Z")])
    assert swept(engine, NOON + 300)[0] == 1
    assert ids(engine) == ["id-1"]


def test_who_keeps_less_from_now_on_is_there_after_some_sweeps_and_who_keeps_more_at_once(engine: Engine) -> None:
    ingest(engine).take(SEGMENT, 0, [line(1, time=at(-2 * DAY))])
    swept(engine, NOON)
    assert swept(engine, NOON, Keep(requests=2 * DAY))[1] == 28 * DAY - HOUR
    assert swept(engine, NOON, Keep(requests=60 * DAY)) == (0, 0)
    assert {row["until_ms"] for row in rows(engine, RETENTION) if row["kind"] == "requests"} == {
        int((NOON - 60 * DAY) * 1000)
    }


def test_what_is_kept_of_a_finding_is_forgotten_before_it_is(engine: Engine) -> None:
    told: dict[str, Any] = {"excerpt": "call me", "excerptHash": "00", "evidenceSeconds": 3600}
    ingest(engine).take(SEGMENT, 0, [violation(1, **told), violation(2, excerpt="for long")])
    swept(engine, NOON)
    assert [row["excerpt"] for row in rows(engine, VIOLATIONS)] == ["call me", "for long"]
    swept(engine, NOON + HOUR)
    found = sorted(rows(engine, VIOLATIONS), key=lambda row: str(row["violation_id"]))
    assert [(row["excerpt"], row["excerpt_hash"], row["evidence_until_ms"]) for row in found] == [
        (None, None, None),
        ("for long", "hmac:00", None),
    ]
