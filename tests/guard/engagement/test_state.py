"""What gateways are told of a player: enough to act by, and nothing that outlives its time."""

import json
from dataclasses import replace

import pytest

from tests.guard.engagement.play import DAY, NOON, plays
from tests.guard.engagement.play import told as happened
from tests.guard.engagement.test_standing import POLICY, signs_of
from understudy.guard.engagement.clock import Clock
from understudy.guard.engagement.crisis import Crisis
from understudy.guard.engagement.events import Event
from understudy.guard.engagement.history import MINUTE
from understudy.guard.engagement.policy import Policy
from understudy.guard.engagement.standing import stand
from understudy.guard.engagement.state import (
    CALM,
    LEVEL_STAYS,
    Reminder,
    SessionState,
    State,
    dump,
    holding,
    parse,
    told,
)
from understudy.guard.ladder import Hold


def after(log: list[Event], minutes: float, policy: Policy = POLICY) -> State:
    """What gateways are told so many minutes after noon."""
    return told(stand(log, policy), policy, "anna", NOON + minutes * MINUTE)


def now(state: State, minutes: float) -> SessionState:
    return holding([state], NOON + minutes * MINUTE)


def test_of_somebody_well_nothing_follows() -> None:
    assert now(after(plays(0, 30), 30), 31) == CALM
    assert holding([], NOON) == CALM


def test_what_a_level_asks_for_holds_while_it_is_confirmed() -> None:
    both = replace(POLICY, actions={2: frozenset({"SuppressHooks", "SwitchModel"})})
    state = after([*signs_of(2), *plays(0, 10)], 10, both)
    assert now(state, 11) == SessionState(level=2, suppress_hooks=True, switch_model=True)
    assert now(state, 10 + LEVEL_STAYS / MINUTE - 1).level == 2
    assert now(state, 10 + LEVEL_STAYS / MINUTE + 1) == CALM
    assert now(replace(state, break_until=NOON + 9 * DAY * MINUTE), 3 * DAY).suppress_hooks is False


def test_a_break_is_on_until_it_is_over() -> None:
    state = after([*signs_of(3), *plays(0, 185)], 186)
    assert now(state, 186).cool_down_until == NOON + 200 * MINUTE
    assert now(state, 200).cool_down_until is None


def test_in_a_crisis_there_is_no_break_whoever_tells_of_it() -> None:
    state = after([*signs_of(3), *plays(0, 185)], 186)
    crisis = State(crisis=Crisis(signed=NOON + 100 * MINUTE))
    together = holding([state, crisis], NOON + 187 * MINUTE)
    assert (together.crisis, together.cool_down_until, together.level) == (True, None, 3)
    assert now(crisis, 100 + DAY - 1).crisis
    assert not now(crisis, 100 + DAY).crisis
    assert not now(State(crisis=Crisis(NOON, NOON + 1)), 1).crisis


def test_a_reminder_waits_for_as_long_as_it_is_of_use() -> None:
    state = after([*signs_of(1), *plays(0, 60)], 60)
    (reminder,) = now(state, 61).reminders
    assert reminder.until == NOON + 75 * MINUTE
    assert len(reminder.key) == 32
    assert now(state, 75).reminders == ()


def test_the_notice_is_due_three_hours_after_the_first_turn_while_the_interaction_lasts() -> None:
    state = after(plays(0, 170), 170)
    assert not now(state, 179).notice
    assert now(state, 180).notice
    assert not now(state, 201).notice
    shown = after([*plays(0, 185), happened("notice_shown", 185)], 186)
    assert not now(shown, 190).notice


def test_it_says_nothing_any_more_when_all_of_it_is_over() -> None:
    assert State().until == float("-inf")
    assert State(break_until=5.0).until == 5.0
    assert State(level=1, level_until=7.0, break_until=5.0).until == 7.0
    assert State(reminder=Reminder("k", 9.0)).until == 9.0
    assert State(crisis=Crisis(signed=10.0)).until == 10.0 + 24 * 3600
    assert State(clock=Clock(0.0, 10.0)).until == 3610.0


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(
            3, 1.0, True, True, 2.0, Crisis(3.0, 4.0), Reminder("k", 5.0), Clock(6.0, 7.0), (Hold("r", 8.0, 9.0),), 10.0
        ),
    ],
)
def test_it_crosses_as_json(state: State) -> None:
    assert parse(json.loads(json.dumps(dump(state), allow_nan=False))) == state


def test_what_is_none_is_refused() -> None:
    assert dump(State()) == {}
    with pytest.raises(ValueError, match="level: 4 is none"):
        parse({"level": 4})
