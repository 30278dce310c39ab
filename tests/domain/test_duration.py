import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.duration import instant, retention, seconds, stamp, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", 0.0),
        ("500ms", 0.5),
        ("90s", 90.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1h30m15s", 5415.0),
        ("1m1m", 120.0),
    ],
)
def test_parts_are_added_up(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("30d", 2_592_000.0), ("12h", 43_200.0), ("1d", 86_400.0)])
def test_records_are_kept_for_days_or_hours(text: str, expected: float) -> None:
    assert retention(text) == expected


@pytest.mark.parametrize("text", ["", "d", "1d12h", "-1d", "\u0665d"])
def test_no_other_time_is_one_that_records_are_kept_for(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        retention(text)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "1.5h", "5 m", "5m ", "5min", "1h30", "\u0665s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (605, "10 min"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_people_see_at_most_two_units(amount: float, text: str) -> None:
    assert words(amount) == text


@given(st.integers(0, 4_000_000_000))
def test_an_instant_is_read_back(wall: int) -> None:
    assert instant(stamp(wall)) == wall


def test_an_instant_may_have_fractions_and_another_zone() -> None:
    assert instant("2026-01-01T02:00:00.5+02:00") == instant("2026-01-01T00:00:00Z") + 0.5


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        instant("2026-01-01T00:00:00")
