"""Levels: hours alone only remind, a client can only add to them, and they go down after seven clean days."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.engagement.play import DAY, NOON, events, plays, seen, told, turn
from understudy.guard.engagement.events import CUES, Event, Kind, in_order
from understudy.guard.engagement.history import MINUTE
from understudy.guard.engagement.levels import control_score, held, level_of, time_score
from understudy.guard.engagement.policy import Level, Policy, Thresholds
from understudy.guard.engagement.standing import Standing, judged, stand, step

POLICY = Policy("therapeutic")


def level(log: list[Event], at: float, policy: Policy = POLICY) -> Level:
    now = NOON + at * MINUTE
    return judged(stand([event for event in log if event.at <= now], policy), policy, now).level


@pytest.mark.parametrize(
    ("time", "control", "expected"),
    [
        (0, 0, 0), (1, 0, 0), (2, 0, 1), (4, 0, 1),
        (0, 1, 1), (1, 1, 1), (4, 1, 1),
        (0, 2, 1), (1, 2, 2), (4, 2, 2),
        (0, 3, 2), (4, 3, 2),
        (0, 4, 2), (1, 4, 2), (2, 4, 3), (4, 6, 3),
    ],
)  # fmt: skip
def test_the_level_of_two_scores(time: int, control: int, expected: Level) -> None:
    assert level_of(time, control, lasting=False) == expected
    assert level_of(time, control, lasting=True) == (3 if expected >= 2 else expected)


def test_a_level_never_falls_with_more_signs() -> None:
    for time, control in itertools.product(range(5), range(7)):
        for more in ((time + 1, control), (time, control + 1)):
            assert level_of(*more, lasting=False) >= level_of(time, control, lasting=False)


def test_control_weighs_words_twice() -> None:
    assert time_score(["E1", "E2", "E4", "E8", "E3"]) == 4
    assert control_score(["E3", "E5", "E6", "E7", "E1"]) == 4
    assert control_score(["E9"]) == 2


def eased(day: float) -> list[Event]:
    """Two limits raised and two cues: K = 3."""
    cues = [told("cue", day * DAY, CUES[0]), told("cue", day * DAY + 1, CUES[1])]
    return [told("limit_raised", day * DAY + 2), told("limit_raised", day * DAY + 3), *cues]


def test_a_level_goes_down_after_seven_whole_clean_days() -> None:
    # The cues are signs for seven days, of which this is the last with K = 3; then K = 1 for three weeks.
    log = [*eased(0), *plays(6 * DAY, 10)]
    assert level(log, 6 * DAY + 10) == 2
    assert level(log, 13 * DAY + 11 * 60) == 2
    assert level(log, 14 * DAY) == 1
    assert level(log, 40 * DAY) == 0


def test_the_days_before_hold_a_level_and_no_more() -> None:
    assert held({}, 100) == 0
    assert held({100: 3, 90: 2}, 107) == 3
    assert held({100: 3}, 108) == 0
    assert held({100: 3}, 99) == 0


def stops(day: int, kept: int, failed: int) -> list[Event]:
    """Stops that the player keeps, and others after which they are back ten minutes later."""
    log = []
    for number in range(kept + failed):
        at = day * DAY + number * 60
        log += [turn(at), told("exit_intent", at + 1), *([turn(at + 11)] if number >= kept else [])]
    return log


def test_a_level_that_rises_while_nothing_happens_is_held_for_seven_days_as_well() -> None:
    # Three stops of seven failed, until those that were kept are 28 days old: then it is three of three, for ten days.
    log = [*stops(0, 4, 0), *stops(10, 0, 3)]
    assert level(log, 27 * DAY) == 0
    assert level(log, 28 * DAY) == 1
    assert level(log, 44 * DAY + 11 * 60) == 1
    assert level(log, 45 * DAY) == 0
    # The same where somebody has looked meanwhile, and where something happened that says nothing.
    assert level([*log, told("mood", 40 * DAY)], 44 * DAY) == 1


def test_a_level_that_rises_with_a_stop_that_was_kept_is_held_though_the_next_event_comes_much_later() -> None:
    # Two of two are too few to count; the third, kept, makes them two of three. Nobody plays after that.
    strict = Policy("therapeutic", Thresholds(failed_stop=0.3))
    log = [*stops(0, 0, 2), turn(300), told("exit_intent", 301)]
    assert level(log, 315, strict) == 0
    assert level(log, 330, strict) == 1
    assert level([*log, turn(34 * DAY)], 34 * DAY, strict) == 1
    assert level([*log, turn(36 * DAY)], 36 * DAY, strict) == 0


def moods(day: int, start: int, end: int) -> list[Event]:
    begin = day * DAY
    return [told("mood", begin, mood=start), *plays(begin + 1, 10), told("mood", begin + 12, mood=end)]


def at_risk(days: int) -> list[Event]:
    """At L2 day by day: three signs of control, none of volume."""
    log: list[Event] = []
    for day in range(days):
        log += [told("cue", day * DAY, CUES[0]), told("cue", day * DAY, CUES[1]), told("limit_raised", day * DAY)]
    return log


def test_l2_for_a_fortnight_without_a_gain_of_mood_is_l3() -> None:
    unhappy = [event for day in range(30) for event in moods(day, 1, 1)]
    happy = [event for day in range(30) for event in moods(day, 1, 2)]
    risk = at_risk(30)
    assert level([*risk, *unhappy], 14 * DAY) == 2
    assert level([*risk, *unhappy], 16 * DAY) == 3
    assert level([*risk, *happy], 20 * DAY) == 2
    assert level(risk, 20 * DAY) == 2  # nobody asked


def test_it_is_not_l3_for_what_is_over() -> None:
    unhappy = [event for day in range(30) for event in moods(day, 1, 1)]
    assert level([*at_risk(7), *unhappy], 16 * DAY) <= 2


DAYTIME = st.tuples(st.integers(0, 34), st.integers(0, 7), st.sampled_from((60.0, 240.0, 480.0)))


@settings(max_examples=10)
@given(st.lists(DAYTIME, max_size=6))
def test_hours_alone_never_say_more_than_watch(spells: list[tuple[int, int, float]]) -> None:
    # From noon on, eight hours at most from seven o'clock: no night, and no word of the player.
    log = [event for day, hour, minutes in spells for event in plays(day * DAY + hour * 5, minutes, zone="UTC")]
    standing = stand(log, POLICY)
    assert set(standing.peaks.values()) <= {0, 1}
    assert judged(standing, POLICY, NOON + 36 * DAY * MINUTE).level <= 1


def test_hours_alone_can_say_watch() -> None:
    log = [event for day in range(5) for event in plays(day * DAY, 240)]
    assert level(log, 4 * DAY + 240) == 1


ANY = events(
    ("turn", "exit_intent", "break_shown", "break_accepted", "break_dismissed", "limit_raised", "session_end", "mood",
     "goal_done", "cue")
)  # fmt: skip
CLIENTS: tuple[Kind, ...] = (
    "exit_intent", "break_accepted", "break_dismissed", "limit_raised", "limit_removed", "cue", "crisis_sign",
)  # fmt: skip


@st.composite
def evenings(draw: st.DrawFn) -> list[Event]:
    """Evenings of a player at the edge: stops that are kept or not, reminders, limits, a word or two."""
    log = []
    for day in range(draw(st.integers(3, 5))):
        begin = day * DAY
        log += [*plays(begin, draw(st.sampled_from((20, 185))), 10.0), told("break_shown", begin + 10)]
        for stop in range(draw(st.integers(0, 2))):
            at = begin + 200 + stop * 60
            turns = draw(st.sampled_from(((), (1.0,), (11.0,), (1.0, 2.0, 3.0), (25.0,))))
            log += [turn(at), told("exit_intent", at + 1), *(turn(at + 1 + after) for after in turns)]
        log += [told(kind, begin + 12) for kind in draw(st.lists(st.sampled_from(EDGE), max_size=1))]
    return log


EDGE: tuple[Kind, ...] = ("break_dismissed", "limit_raised", "session_end", "goal_done")


@pytest.mark.slow
@settings(max_examples=40)
@given(evenings(), st.data())
def test_what_a_client_tells_never_lowers_what_levels_are_made_of(log: list[Event], data: st.DataObject) -> None:
    end = (max(event.at for event in log) - NOON) / MINUTE
    nows = (end, end + 30, end + 8 * DAY)
    before = [figure for now in nows for figure in worse_off(log, now)]
    for _ in range(3):
        kind = data.draw(st.sampled_from(CLIENTS))
        at = (data.draw(st.sampled_from(log)).at - NOON) / MINUTE + data.draw(st.sampled_from((0, 0.5, 4, 12, 25)))
        log = [*log, told(kind, at, CUES[0] if kind == "cue" else "", source="client")]
        after = [figure for now in nows for figure in worse_off(log, now)]
        assert all(new >= old for new, old in zip(after, before, strict=True))
        before = after


def worse_off(log: list[Event], now: float) -> list[float]:
    """What signs and so levels grow with; -1 is not evaluated."""
    found = seen(log, now)
    figures = (
        found.daily_minutes, found.escalated_days, found.late_night_share, found.late_nights, found.binges,
        found.failed_stop_at_least, found.reminder_override_at_least, found.limit_easing, found.rapid_return,
        found.sessions, len(found.cues),
    )  # fmt: skip
    return [-1 if figure is None else figure for figure in figures]


@settings(max_examples=15)
@given(st.lists(st.lists(ANY, max_size=8), max_size=3), evenings())
def test_a_level_is_at_most_watch_after_a_week_without_a_sign_of_control(
    parts: list[list[Event]], evenings: list[Event]
) -> None:
    standing, clean_since = Standing(), None
    for event in in_order([*evenings, *(event for part in parts for event in part)]):
        now = (event.at - NOON) / MINUTE
        standing = step(standing, event, POLICY)
        found = judged(standing, POLICY, event.at)
        assert found.present <= 1 or found.control > 0
        clean_since = None if found.control else (now if clean_since is None else clean_since)
        assert found.level <= 1 or clean_since is None or now - clean_since < 8 * DAY
