"""Three hours of wall time, and nothing that sets them."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.engagement import clock as statutory
from understudy.guard.engagement.clock import Clock, due, shown, turned

HOUR = 3600.0


def after(*turns: float) -> Clock:
    clock = Clock()
    for at in turns:
        clock = turned(clock, at)
    return clock


def test_it_is_due_three_hours_after_the_first_turn_however_little_of_it_was_active() -> None:
    turns = [n * 1800.0 for n in range(7)]
    assert not due(after(*turns[:-1], 10_799.0), 10_799.0)
    assert due(after(*turns), 3 * HOUR)


def test_a_gap_of_more_than_half_an_hour_begins_anew() -> None:
    assert due(after(*(n * 1800.0 for n in range(7))), 3 * HOUR)
    assert not due(after(0, 1801, *(n * 1800.0 for n in range(2, 7))), 3 * HOUR)


def test_a_notice_that_was_shown_begins_anew() -> None:
    turns = after(*(n * 1000.0 for n in range(12)))
    assert due(turns, 11_000)
    told = shown(turns, 11_000)
    assert not due(told, 11_000)
    for n in range(12, 23):
        told = turned(told, n * 1000.0)
    assert due(told, 22_000)


def test_what_was_told_late_takes_nothing_back() -> None:
    told = shown(turned(Clock(), 5_000), 6_000)
    assert shown(told, 100) == told
    assert turned(told, 4_000) == told


def test_nothing_is_due_of_somebody_who_is_gone_or_was_never_there() -> None:
    assert not due(Clock(), 1e9)
    assert not due(after(0, 1800), 4 * HOUR)


@given(st.lists(st.floats(0, 1800), max_size=80))
def test_whoever_goes_on_is_told_in_every_three_hours_by_the_turn_after_them_at_the_latest(gaps: list[float]) -> None:
    clock, at, last_told = turned(Clock(), 0.0), 0.0, 0.0
    for gap in gaps:
        at += gap
        clock = turned(clock, at)
        if due(clock, at):
            clock, last_told = shown(clock, at), at
        assert at - last_told < statutory.NOTICE_EVERY


@pytest.mark.parametrize("function", [turned, shown, due])
def test_no_setting_reaches_it(function: object) -> None:
    assert set(inspect.signature(function).parameters) <= {"clock", "at", "now"}  # type: ignore[arg-type]
