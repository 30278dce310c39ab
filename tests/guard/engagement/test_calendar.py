"""Days and nights by the wall clock, sums by what went by."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.engagement.calendar import Piece, day_of, midnight, pieces

ZONES = ("", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana")


def local(text: str, name: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name)).timestamp()


def hours(day: date, name: str) -> float:
    start = local(day.isoformat(), name) - 7200
    found = pieces(start, start + 30 * 3600, name)
    return sum(piece.seconds for piece in found if piece.day == day.toordinal()) / 3600


@pytest.mark.parametrize(
    ("day", "name", "length"),
    [
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 7, 1), "Europe/Berlin", 24),
        (date(2026, 3, 8), "America/Havana", 23),  # where there is no midnight
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
    ],
)
def test_a_day_has_the_hours_that_it_has(day: date, name: str, length: float) -> None:
    assert hours(day, name) == length


@pytest.mark.parametrize(("day", "length"), [("2026-03-29", 4), ("2026-10-25", 6), ("2026-07-01", 5)])
def test_a_night_is_what_the_wall_clock_calls_one(day: str, length: int) -> None:
    start = local(day, "Europe/Berlin")
    found = pieces(start, start + 12 * 3600, "Europe/Berlin")
    assert sum(piece.seconds for piece in found if piece.night) == length * 3600


def test_where_nobody_says_what_the_clock_shows_days_are_those_of_utc_and_no_night_is_known() -> None:
    midnight = datetime(2026, 1, 6, tzinfo=UTC).timestamp()
    day = date(2026, 1, 6).toordinal()
    for unknown in ("", "Atlantis/Poseidonis"):
        assert list(pieces(midnight - 60, midnight + 60, unknown)) == [Piece(day - 1, 60, None), Piece(day, 60, None)]
        assert day_of(midnight, unknown) == day


@given(st.integers(0, 4_000_000_000), st.integers(0, 20_000), st.sampled_from(ZONES))
def test_nothing_is_lost_in_cutting(start: int, length: int, name: str) -> None:
    found = list(pieces(float(start), float(start + length), name))
    assert sum(piece.seconds for piece in found) == length
    assert all(0 < piece.seconds <= 900 for piece in found)


@given(st.dates(date(2025, 1, 1), date(2027, 1, 1)), st.sampled_from(ZONES))
def test_a_day_begins_at_its_midnight(day: date, name: str) -> None:
    begins = midnight(day.toordinal(), name)
    assert day_of(begins, name) == day.toordinal()
    assert day_of(begins - 1, name) == day.toordinal() - 1


def test_where_the_clock_leaves_midnight_out_a_day_begins_with_the_leap() -> None:
    assert midnight(date(2026, 3, 8).toordinal(), "America/Havana") == local("2026-03-08T01:00:00", "America/Havana")
