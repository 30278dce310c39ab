"""Whatever the order in which events come, it is as if the whole log had been there at once."""

import itertools
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.engagement.play import DAY, NOON, events, plays, told, turn
from tests.guard.engagement.test_standing import POLICY, signs_of
from understudy.guard.engagement.events import Event, Kind
from understudy.guard.engagement.history import MINUTE
from understudy.guard.engagement.player import LATENESS, Advance, Player, advance, anew
from understudy.guard.engagement.policy import Policy
from understudy.guard.engagement.standing import stand

ANY: Final[tuple[Kind, ...]] = (
    "turn", "turn", "exit_intent", "break_shown", "break_dismissed", "limit_raised", "session_end", "mood",
    "goal_done", "cue", "notice_shown", "crisis_sign", "crisis_cleared",
)  # fmt: skip


def arrived(told: list[Event], policy: Policy = POLICY) -> Advance:
    """One by one, each at the time of the latest."""
    last = Advance(Player(), (), ())
    for event in told:
        last = advance(last.player, [event], policy, event.at)
    return last


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Event]]:
    """A log in batches as it may come in: each event late by up to what is allowed, some of them twice."""
    log = draw(st.lists(events(ANY, ("gateway", "client")), max_size=25))
    log += plays(draw(st.integers(0, 100)) * 10.0, 100, 10)
    by_arrival = []
    for event in log:
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            delay = draw(st.sampled_from((0.0, 0.0, 1.0, 3_600.0, 40_000.0, LATENESS)))
            by_arrival.append((event.at + delay, event))
    ordered = [event for _, event in sorted(by_arrival, key=lambda pair: pair[0])]
    cuts = sorted({0, len(ordered), *draw(st.lists(st.integers(0, len(ordered)), max_size=12))})
    return [ordered[begin:end] for begin, end in itertools.pairwise(cuts)]


@pytest.mark.slow
@settings(max_examples=60)
@given(arrivals())
def test_a_player_stands_where_their_whole_log_leads(batches: list[list[Event]]) -> None:
    player, issued, now = Player(), list[str](), 0.0
    for batch in batches:
        now = max(now, *(event.at for event in batch))
        got = advance(player, batch, POLICY, now)
        # Only what is older than all that may still come was not taken: a repetition.
        assert {event.key for event in got.refused} <= {event.key for event in batch if event.at < player.horizon}
        player = got.player
        issued += [one.key("player") for one in got.interventions]
    whole = stand([event for batch in batches for event in batch], POLICY)
    assert player.standing == whole
    assert len(issued) == len(set(issued))
    assert {one.key("player") for one in whole.due if one.until > now} <= set(issued)


def test_in_order_or_backwards_within_the_bound_is_the_same() -> None:
    log = [*signs_of(2), *plays(0, 120)]
    assert arrived(log[::-1]).player.standing == arrived(log).player.standing == stand(log, POLICY)


def test_an_event_that_comes_twice_counts_once() -> None:
    shown = told("limit_raised", 0)
    assert arrived([shown, shown]).player == arrived([shown]).player


def test_what_is_older_than_the_bound_is_refused_and_folded_anew() -> None:
    late, bound = turn(-1), turn(0)
    log = [turn(LATENESS / MINUTE), bound]
    player = arrived(log).player
    got = advance(player, [late], POLICY, NOON)
    assert (got.refused, got.player) == ((late,), player)
    again = anew(player, [*log, late], POLICY, NOON)
    assert again.refused == ()
    assert again.player.standing == stand([*log, late], POLICY)


def test_no_more_events_are_kept_than_may_be_overtaken() -> None:
    log = [event for day in range(10) for event in plays(day * DAY, 60)]
    player = arrived(log).player
    bound = log[-1].at - LATENESS
    assert player.recent == tuple(event for event in log if event.at >= bound)
    assert player.settled == stand([event for event in log if event.at < bound], POLICY)


def test_an_intervention_is_handed_out_once_and_only_while_it_is_of_use() -> None:
    log = [*signs_of(1), *plays(0, 60)]
    before = arrived(log[:-1]).player
    at = log[-1].at
    got = advance(before, log[-1:], POLICY, at)
    assert [one.rule for one in got.interventions] == ["Remind"]
    assert advance(got.player, log, POLICY, at).interventions == ()
    # A late event that changes when it was due does not bring it again.
    shifted = advance(got.player, [turn(-3)], POLICY, at)
    assert shifted.player.standing != got.player.standing
    assert shifted.interventions == ()
    assert advance(before, log[-1:], POLICY, at + 15 * MINUTE).interventions == ()


def test_what_was_handed_out_is_remembered_when_the_log_is_folded_anew() -> None:
    log = [*signs_of(1), *plays(0, 60)]
    player = arrived(log).player
    assert anew(player, log, POLICY, log[-1].at).interventions == ()
    assert anew(Player(), log, POLICY, log[-1].at).interventions != ()
    long_after = advance(player, [turn(5 * DAY)], POLICY, NOON + 5 * DAY * MINUTE)
    assert long_after.player.issued == {}


def test_another_policy_is_another_fold() -> None:
    log = [*signs_of(3), *plays(0, 200)]
    player = arrived(log).player
    legal = Policy("legal")
    assert anew(player, log, legal, log[-1].at).player.standing == stand(log, legal)


@pytest.mark.parametrize("told", [[], [turn(0)]])
def test_a_new_player_has_no_horizon(told: list[Event]) -> None:
    assert advance(Player(), told, POLICY, NOON).refused == ()
