"""Each figure and each sign, at its threshold and beside it."""

from datetime import datetime
from statistics import NormalDist
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.engagement.play import DAY, NOON, events, flagged, history, plays, seen, spells, told, turn
from understudy.guard.engagement.events import CUES, Event
from understudy.guard.engagement.history import MINUTE, Averages
from understudy.guard.engagement.policy import Thresholds
from understudy.guard.engagement.signs import at_least, personal_binge


def test_of_a_player_of_whom_nothing_is_known_nothing_is_said() -> None:
    found = seen([])
    assert found.daily_minutes == found.binges == found.limit_easing == found.sessions == 0
    assert found.escalation is found.late_night_share is found.failed_stop is found.reminder_override is None
    assert found.voluntary_end is found.mood_gain is found.goals_per_hour is found.cues_per_100 is None
    assert flagged([]) == frozenset()


def test_minutes_are_those_from_turn_to_turn_but_five_at_most_and_none_across_sessions() -> None:
    log = [turn(0), turn(3), turn(10, "assistant"), turn(40), turn(71)]
    assert seen(log).daily_minutes == 3 + 5 + 5
    assert seen(log).sessions == 2


def test_e1_more_than_180_minutes_on_a_day() -> None:
    halves = [*plays(0, 90), *plays(125, 90)]
    assert "E1" not in flagged(halves)
    assert "E1" in flagged([*halves, turn(216)])
    assert "E1" not in flagged([*halves, turn(216)], DAY)


def test_e2_the_week_far_above_the_month_on_three_days() -> None:
    quiet = [event for day in range(28) for event in plays(day * DAY, 30)]
    loud = [event for day in range(28, 34) for event in plays(day * DAY, 170, 4)]
    assert "E2" not in flagged([*quiet, *loud], 29 * DAY)
    found = seen([*quiet, *loud], 34 * DAY)
    assert found.escalation is not None
    assert found.escalation > 1.5
    assert found.escalated_days >= 3
    assert "E2" in flagged([*quiet, *loud], 34 * DAY)
    # Long after, none of the last seven days is one of them.
    assert "E2" not in flagged([*quiet, *loud], 60 * DAY)


def test_e2_a_new_player_has_not_escalated() -> None:
    log = [*plays(-DAY, 10), *(event for day in range(9) for event in plays(day * DAY, 170))]
    assert [seen(log, day * DAY).escalated_days for day in (2, 5, 9)] == [0, 0, 0]


def test_e2_the_means_weigh_the_days_that_there_were() -> None:
    one = Averages().after(600.0)
    assert one.week / one.week_weight == one.month / one.month_weight == 600.0
    two = one.after(0.0)
    # Span n: weight 2 / (n + 1) for the newest day.
    assert two.week / two.week_weight == pytest.approx(600 * 0.75 / 1.75)
    assert two.month / two.month_weight == pytest.approx(600 * (27 / 29) / (1 + 27 / 29))


def night(day: int, minutes: float, zone: str = "UTC") -> list[Event]:
    return plays(day * DAY + 13 * 60, minutes, zone=zone)


def test_e3_a_quarter_of_the_minutes_and_three_nights_a_week() -> None:
    nights = [event for day in range(6) for event in night(day, 30)]
    days = [event for day in range(6) for event in plays(day * DAY, 90, zone="UTC")]
    found = seen([*nights, *days])
    assert (found.late_night_share, found.late_nights) == (0.25, 3.0)
    assert "E3" not in flagged([*nights, *days])
    assert "E3" in flagged([*nights, *days, *night(6, 5)])
    assert "E3" not in flagged(nights[7:])  # five nights of fourteen
    assert "E3" not in flagged([*nights, *days, *night(6, 5)], 21 * DAY)


def test_e3_is_not_evaluated_where_the_zone_is_not_known() -> None:
    unknown = [event for day in range(8) for event in night(day, 60, zone="")]
    assert seen(unknown).late_night_share is None
    assert "E3" not in flagged(unknown)


def test_e3_the_same_minutes_are_no_night_elsewhere() -> None:
    log = [event for day in range(8) for event in night(day, 60, zone="Asia/Tokyo")]
    assert seen(log).late_night_share == 0.0
    assert "E3" not in flagged(log)


def test_e3_the_last_zone_that_was_told_holds_on() -> None:
    log = [told("limit_set", 0, zone="UTC", source="asserted"), *night(0, 60, zone="")]
    assert seen(log).late_night_share == 1.0


@pytest.mark.parametrize(("day", "minutes"), [("2026-03-29", 240), ("2026-10-25", 360)])
def test_a_night_on_which_the_clock_changes_has_the_minutes_that_it_has(day: str, minutes: float) -> None:
    where = ZoneInfo("Europe/Berlin")
    midnight = (datetime.fromisoformat(day).replace(tzinfo=where).timestamp() - NOON) / MINUTE
    past = history(plays(midnight, 12 * 60, zone="Europe/Berlin"))
    (found,) = past.days.values()
    assert (found.night / MINUTE, found.active / MINUTE) == (minutes, 12 * 60)


def test_e4_four_stretches_of_three_hours_in_four_weeks() -> None:
    binges = [event for day in (0, 7, 14) for event in plays(day * DAY, 180)]
    almost = plays(21 * DAY, 179, 1)
    assert seen([*binges, *almost]).binges == 3
    # The fourth counts while it lasts, and after it has ended.
    assert "E4" in flagged([*binges, *almost, turn(21 * DAY + 180)])
    assert "E4" in flagged([*binges, *almost, turn(21 * DAY + 180)], 22 * DAY)
    assert "E4" not in flagged([*binges, *almost, turn(21 * DAY + 180)], 28 * DAY)


def test_e4_a_break_of_15_minutes_begins_the_stretch_anew() -> None:
    whole = [*plays(0, 90), *plays(90 + 14, 90)]
    broken = [*plays(0, 90), *plays(90 + 15, 90)]
    assert seen(whole).continuous_minutes == 90 + 5 + 90
    assert seen(broken).continuous_minutes == 90
    assert seen(broken, 195 + 15).continuous_minutes == 0


def test_a_session_that_is_unusual_for_this_player_is_told() -> None:
    usual = [event for day in range(30) for event in plays(day * DAY, 20 + day % 3 * 5)]
    assert not personal_binge(history(usual))
    assert not personal_binge(history([*usual, *plays(30 * DAY, 20)]))
    assert personal_binge(history([*usual, *plays(30 * DAY, 50)]))
    assert not personal_binge(history([*usual, *plays(30 * DAY, 50)], 30 * DAY + 90))


def stops(*afterwards: list[float]) -> list[Event]:
    """Days of half an hour, each with an announced stop at its end and these turns, minutes after it."""
    log = []
    for day, turns in enumerate(afterwards):
        log += [*plays(day * DAY, 30), told("exit_intent", day * DAY + 30)]
        log += [turn(day * DAY + 30 + after) for after in turns]
    return log


def test_e5_surely_half_of_at_least_three_stops_not_kept() -> None:
    kept: list[float] = []
    returned, went_on = [10.0], [1.0, 2.0, 3.0]
    assert seen(stops(returned, went_on), 5 * DAY).failed_stop is None
    assert seen(stops(returned, went_on, kept), 5 * DAY).failed_stop == 2 / 3
    assert "E5" in flagged(stops(returned, went_on, returned), 5 * DAY)
    assert "E5" not in flagged(stops(returned, went_on, kept), 5 * DAY)
    assert "E5" in flagged(stops(*[returned] * 7, kept, kept), 10 * DAY)
    assert "E5" not in flagged(stops(*[returned] * 7, kept, kept, kept, kept), 12 * DAY)
    assert "E5" not in flagged(stops(returned, went_on, returned), 40 * DAY)


@pytest.mark.parametrize(("part", "whole"), [(3, 3), (1, 5), (13, 26), (18, 20), (90, 100)])
def test_of_a_share_that_is_no_more_than_that_so_many_come_once_in_ten_times(part: int, whole: int) -> None:
    # Where the normal law says that: Wilson's bound is the share of which the sample lies so many deviations above.
    least = at_least(part, whole)
    assert least is not None
    deviation = (whole * least * (1 - least)) ** 0.5
    assert (part - whole * least) / deviation == pytest.approx(NormalDist().inv_cdf(0.9))


def test_of_none_nothing_is_sure() -> None:
    assert at_least(0, 5) == 0


def test_of_two_no_share_is_known() -> None:
    assert at_least(2, 2) is None


@given(st.integers(3, 200), st.data())
def test_one_more_that_failed_never_makes_a_share_surely_less(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    before, after, other = at_least(part, whole), at_least(part + 1, whole + 1), at_least(part, whole + 1)
    assert before is not None
    assert after is not None
    assert other is not None
    assert other <= before <= after
    assert before <= part / whole


@pytest.mark.parametrize(
    ("turns", "failed"),
    [
        ([], 0), ([1.0, 2.0], 0), ([1.0, 2.0, 22.0], 0), ([20.0], 0), ([1.0, 21.0], 0),
        ([19.0], 1), ([5.5], 1), ([1.0, 20.5], 1), ([5.0, 10.0, 15.0], 1),
    ],
)  # fmt: skip
def test_a_farewell_is_no_return(turns: list[float], failed: int) -> None:
    found = history(stops(turns), 2 * DAY)
    day = next(iter(found.days.values()))
    assert (day.stops_failed, day.stops_kept) == (failed, 1 - failed)


def test_a_stop_is_neither_kept_nor_broken_while_it_may_still_be_either() -> None:
    assert not any(day.stops_kept or day.stops_failed for day in history(stops([1.0]), 40).days.values())


def test_a_stop_that_is_announced_twice_is_one() -> None:
    log = [*plays(0, 30), told("break_accepted", 30), told("exit_intent", 31)]
    assert [day.stops_kept for day in history(log, DAY).days.values()] == [1]


def test_nothing_stops_where_nothing_was_going_on() -> None:
    log = [told("exit_intent", 0), told("session_end", 1), told("goal_done", 2), turn(3), turn(4), turn(5), turn(6)]
    assert [(day.stops_failed, day.goals) for day in history(log, DAY).days.values()] == [(0, 1)]


def test_a_stop_that_a_client_tells_counts_only_if_it_is_broken() -> None:
    def client(*turns: float) -> list[Event]:
        return [*plays(0, 30), told("exit_intent", 30, source="client"), *(turn(30 + after) for after in turns)]

    (kept,) = history(client(), DAY).days.values()
    assert (kept.stops_kept, kept.stops_failed) == (0, 0)
    (broken,) = history(client(10), DAY).days.values()
    assert (broken.stops_kept, broken.stops_failed) == (0, 1)
    # Nor does it stand in for one that the application told.
    for order in ((30.0, 31.0), (31.0, 30.0)):
        both = [*plays(0, 30), told("exit_intent", order[0], source="client"), told("exit_intent", order[1])]
        (day,) = history(both, DAY).days.values()
        assert day.stops_kept == 1


def test_e6_surely_four_of_five_reminders_dismissed() -> None:
    shown = [told("break_shown", 10 * n) for n in range(7)]
    dismissed = [told("break_dismissed", 10 * n + 1) for n in range(7)]
    assert "E6" in flagged([*shown, *dismissed])
    assert "E6" not in flagged([*shown, *dismissed[1:]])
    assert "E6" not in flagged([*shown[:6], *dismissed[:6]])
    assert seen([*shown[:2], *dismissed[:2]]).reminder_override is None
    # One that was dismissed was shown, whoever forgot to tell.
    assert seen([*shown[:2], *dismissed]).reminder_override == 1.0
    assert "E6" in flagged(dismissed)
    assert "E6" not in flagged([*shown, *dismissed], 28 * DAY)


def test_e7_a_limit_eased_twice_in_four_weeks() -> None:
    eased = [told("limit_raised", 0), told("limit_removed", 27 * DAY)]
    assert "E7" in flagged(eased)
    assert "E7" not in flagged(eased, 28 * DAY)
    assert "E7" not in flagged([eased[0], told("limit_set", 10)])


def rapid(sessions: int, pause: float) -> list[Event]:
    log = []
    for n in range(sessions):
        begin = n * (10 + pause)
        log += [*plays(begin, 10), told("session_end", begin + 10)]
    return log


def test_e8_two_of_five_sessions_begun_in_less_than_20_minutes() -> None:
    assert "E8" in flagged(rapid(5, 19))
    assert "E8" not in flagged(rapid(5, 20))
    assert "E8" not in flagged(rapid(4, 19))
    slow = [event for n in range(3) for event in plays(300 + n * 60, 10)]
    assert seen([*rapid(3, 19), *slow]).rapid_return == 2 / 6
    assert "E8" not in flagged([*rapid(3, 19), *slow])


def test_a_session_that_was_declared_over_ends_only_if_the_player_stops() -> None:
    declared = [*plays(0, 10), told("session_end", 10)]
    assert seen([*declared, turn(15)]).sessions == 1
    assert seen([*declared, turn(15.1)]).sessions == 2
    # Who played on has begun again: a later pause of some minutes is one within the session.
    assert seen([*declared, turn(11), turn(12), turn(13), turn(20)]).sessions == 1


def test_e9_two_different_cues_in_a_week() -> None:
    one, other = told("cue", 0, CUES[0]), told("cue", 6 * DAY, CUES[3])
    assert "E9" in flagged([one, other])
    assert "E9" not in flagged([one, told("cue", 6 * DAY, CUES[0])])
    assert "E9" not in flagged([one, other], 7 * DAY)
    assert seen([*plays(0, 95), one]).cues_per_100 == 5.0


def test_p1_sessions_that_the_player_ended_by_intention_or_with_a_goal() -> None:
    log = [
        *plays(0, 10), told("exit_intent", 10), turn(11),
        *plays(100, 10), told("goal_done", 110),
        *plays(200, 20), told("goal_done", 200), *plays(300, 10),
    ]  # fmt: skip
    assert seen(log, 400).voluntary_end == 0.5


def test_p2_mood_at_the_end_less_mood_at_the_start() -> None:
    asked = [told("mood", 0, mood=-1), *plays(1, 10), told("mood", 12, mood=1)]
    during = [*plays(100, 10), told("mood", 105, mood=2), told("mood", 120, mood=1)]
    once = [*plays(200, 10), told("mood", 211, mood=2)]
    stale = [told("mood", 300, mood=-2), *plays(331, 10), told("mood", 342, mood=2)]
    assert seen([*asked, *during, *once, *stale], 500).mood_gain == ((1 + 1) + (1 - 2)) / 2
    assert seen(once, 500).mood_gain is None


def test_p3_goals_in_an_hour_of_play() -> None:
    assert seen([*plays(0, 30), told("goal_done", 30), told("goal_done", 31)]).goals_per_hour == 4.0


def test_thresholds_are_the_policys() -> None:
    strict = Thresholds(daily_minutes=5, binge=10, verbal_cues=1)
    assert flagged([*plays(0, 10), told("cue", 0, CUES[0])], None, strict) == {"E1", "E9"}
    assert seen(plays(0, 10), None, strict).binges == 1


def test_who_travels_west_has_no_day_twice() -> None:
    log = [*plays(0, 60, zone="Pacific/Auckland"), *plays(120, 60, zone="Pacific/Honolulu")]
    past = history(log)
    assert [day.active / MINUTE for day in past.days.values()] == [60, 60]
    assert seen(log).daily_minutes == 60


@settings(max_examples=25)
@given(st.lists(st.one_of(spells(), events(("turn", "exit_intent", "session_end")).map(lambda e: [e])), max_size=4))
def test_minutes_are_the_same_by_day_and_by_session_wherever_the_player_is(parts: list[list[Event]]) -> None:
    log = [event for part in parts for event in part if event.at < NOON + 27 * DAY * MINUTE]
    totals = set()
    for zone in ("UTC", "Pacific/Kiritimati", "America/St_Johns"):
        past = history([told("limit_set", 0, zone=zone), *log])
        by_day = sum(day.active for day in past.days.values())
        if len(past.lengths) < 30:
            running = past.session.active if past.session else 0.0
            assert by_day == pytest.approx(sum(past.lengths) + running)
        totals.add(round(by_day, 6))
    assert len(totals) == 1
