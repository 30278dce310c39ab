"""Findings that rungs of ladders count are events: what follows is a function of the log, as everything else is."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.engagement.play import DAY, NOON, plays
from tests.guard.engagement.play import told as happened
from tests.guard.engagement.test_standing import POLICY, signs_of
from understudy.guard.engagement.events import Event, posted
from understudy.guard.engagement.history import MINUTE
from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.player import Player, advance
from understudy.guard.engagement.policy import CoolDown, Policy
from understudy.guard.engagement.standing import protection, stand
from understudy.guard.engagement.state import SessionState, State, holding, told
from understudy.guard.ladder import Hold, Terms, window

LEGAL = Policy()
SWITCH = Terms("a" * 16, "default/calm", 0, 3, 600.0, "SwitchModel")
BREAK = Terms("b" * 16, "default/calm", 1, 2, 600.0, "CoolDown", CoolDown(300.0, 2.0, 900.0))


def found(at: float, terms: Terms = SWITCH, number: int = 0) -> Event:
    """A finding so many minutes after noon."""
    return Event(f"f{at}-{number}/{terms.rung}", "finding", NOON + at * MINUTE, terms=terms)


def state(log: list[Event], at: float, policy: Policy = LEGAL) -> State:
    return told(stand(log, policy), policy, "anna", NOON + at * MINUTE)


def now(log: list[Event], at: float) -> SessionState:
    return holding([state(log, at)], NOON + at * MINUTE)


def holds(log: list[Event], at: float) -> list[tuple[str, float, float]]:
    """Which rungs hold, since when and up to when, in minutes after noon."""
    return [
        (hold.rung[0], round((hold.since - NOON) / MINUTE, 6), round((hold.until - NOON) / MINUTE, 6))
        for hold in now(log, at).holds
    ]


def test_the_third_finding_in_ten_minutes_has_another_model_answer_for_ten() -> None:
    log = [found(0), found(4), found(8)]
    assert holds(log[:2], 5) == []
    assert holds(log, 8) == [("a", 8, 18)]
    assert holds(log, 18) == []


def test_three_more_have_it_go_on_and_it_is_one_thing_that_was_done() -> None:
    log = [found(0), found(4), found(8), found(10), found(11), found(12)]
    assert holds(log, 13) == [("a", 8, 22)]
    standing = stand(log, LEGAL)
    assert [(one.rule, one.window, one.terms) for one in standing.due] == [
        ("SwitchModel", window(SWITCH, NOON + 8 * MINUTE), SWITCH)
    ]


def test_breaks_of_a_day_grow_and_none_begins_while_one_lasts() -> None:
    log = [found(at, BREAK) for at in (0, 1, 2, 3, 8, 9, 30, 31, 60, 61)]
    breaks = [(one.at, one.until - one.at) for one in stand(log, LEGAL).due]
    assert [((at - NOON) / MINUTE, long / MINUTE) for at, long in breaks] == [(1, 5), (9, 10), (31, 15), (61, 15)]
    assert now(log, 62).cool_down_until is None
    assert holds(log, 62) == [("b", 61, 76)]


def test_breaks_of_a_level_and_of_a_ladder_know_of_each_other() -> None:
    level = [*signs_of(3), *plays(0, 185)]
    began = 185 * MINUTE + NOON
    (first,) = [one for one in stand(level, POLICY).due if one.rule == "CoolDown"]
    assert first.at == began
    during = stand([*level, found(186, BREAK), found(187, BREAK)], POLICY)
    assert [one for one in during.due if one.rule == "CoolDown"] == [first]
    after = stand([*level, found(201, BREAK), found(202, BREAK)], POLICY)
    assert [one.until - one.at for one in after.due if one.rule == "CoolDown"] == [900.0, 600.0]
    # What a ladder asks for holds for those deployments alone that have it.
    treated = protection(stand([found(0, BREAK), found(1, BREAK)], LEGAL), LEGAL, NOON + 2 * MINUTE)
    assert treated.break_until is None


def test_in_a_crisis_no_break_begins() -> None:
    log = [happened("crisis_sign", -5), found(0, BREAK), found(1, BREAK)]
    assert stand(log, LEGAL).due == ()
    assert holds([happened("crisis_sign", -5), found(0), found(1), found(2)], 3) == [("a", 2, 12)]


def test_who_is_let_off_begins_anew() -> None:
    log = [found(0), found(1), found(2), found(3), found(4), happened("ladder_lifted", 5, source="asserted")]
    assert holds(log, 5) == []
    assert now(log, 5) == SessionState()
    assert holds([*log, found(6), found(7)], 7) == []
    assert holds([*log, found(6), found(7), found(8)], 8) == [("a", 8, 18)]
    assert state(log, 5).lifted == NOON + 5 * MINUTE


def test_of_what_is_only_told_nothing_holds() -> None:
    notify = replace(SWITCH, action="Notify", count=1)
    log = [found(0, notify), found(5, notify), found(20, notify)]
    assert holds(log, 6) == []
    assert [(one.rule, (one.at - NOON) / MINUTE) for one in stand(log, LEGAL).due] == [("Notify", 0), ("Notify", 20)]


def test_a_reminder_of_a_ladder_is_no_reminder_of_a_level() -> None:
    remind = replace(SWITCH, action="Remind", count=1)
    assert state([found(0, remind)], 1).reminder is None
    assert holds([found(0, remind)], 1) == [("a", 0, 15)]


def test_a_reminder_that_was_shown_waits_no_more_and_comes_once_in_its_window() -> None:
    remind = replace(SWITCH, action="Remind", count=1)
    log = [found(0, remind), Event(window(remind, NOON), "break_shown", NOON + 60)]
    assert holds(log, 1) == []
    assert holds([*log, found(2, remind)], 2) == []
    assert holds([*log, found(16, remind)], 16) == [("a", 16, 31)]
    # That of a level, or another one, says nothing of it.
    assert holds([log[0], happened("break_shown", 1)], 2) == [("a", 0, 15)]


def test_what_does_not_count_any_more_is_forgotten() -> None:
    other = replace(SWITCH, rung="c" * 16)
    assert set(stand([found(0), found(1, other)], LEGAL).tallies) == {"a" * 16, "c" * 16}
    assert set(stand([found(0), found(11, other)], LEGAL).tallies) == {"c" * 16}
    assert stand([found(0), found(1), found(2)], LEGAL).tallies == {}


def test_what_holds_for_days_is_kept_though_other_things_are_forgotten() -> None:
    week = replace(SWITCH, within=7 * 86_400.0)
    log = [found(0, week), found(1, week), found(2, week), *plays(3 * DAY, 60)]
    assert holds(log, 3 * DAY + 61) == [("a", 2, 7 * DAY + 2)]


def test_what_a_gateway_did_while_the_records_were_away_is_told_though_it_is_over() -> None:
    log = [found(0), found(1), found(2)]
    later = advance(Player(), log, LEGAL, NOON + 3 * 60 * MINUTE)
    assert [one.rule for one in later.interventions] == ["SwitchModel"]
    again = advance(later.player, [found(181)], LEGAL, NOON + 182 * MINUTE)
    assert again.interventions == ()
    # So late that it may have been told before.
    assert advance(Player(), log, LEGAL, NOON + 2 * DAY * MINUTE).interventions == ()


def test_one_that_is_heard_of_late_has_nothing_done_twice() -> None:
    first = advance(Player(), [found(0), found(1), found(2.001)], LEGAL, NOON + 2.1 * MINUTE)
    (done,) = first.interventions
    late = advance(first.player, [found(1.999)], LEGAL, NOON + 2.2 * MINUTE)
    assert late.interventions == ()
    assert late.player.standing.due[0].key("anna") == done.key("anna")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from((SWITCH, BREAK))), max_size=25), st.randoms())
def test_in_whatever_order_they_come_they_lead_to_the_same(told_of: list[tuple[int, Terms]], order: Any) -> None:
    log = [found(at, terms, number) for number, (at, terms) in enumerate(told_of)]
    whole = stand(log, LEGAL)
    order.shuffle(log)
    player = Player()
    for event in log:
        player = advance(player, [event], LEGAL, NOON + 121 * MINUTE).player
    assert player.standing == whole


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from((SWITCH, BREAK))), max_size=60))
def test_no_two_that_are_done_share_a_key_and_none_of_a_rung_overlap(told_of: list[tuple[int, Terms]]) -> None:
    due = stand([found(at, terms, number) for number, (at, terms) in enumerate(told_of)], LEGAL).due
    assert len({one.key("anna") for one in due}) == len(due)
    spans: dict[str, list[Intervention]] = {}
    for one in due:
        assert one.terms is not None
        spans.setdefault(one.terms.rung, []).append(one)
    for each in spans.values():
        assert all(one.until <= other.at for one, other in itertools.pairwise(each))


@pytest.mark.parametrize(
    "wrong", [{"kind": "finding"}, {"kind": "turn", "name": "user", "terms": SWITCH}, {"kind": "mood", "terms": SWITCH}]
)
def test_a_finding_has_the_terms_of_a_rung_and_nothing_else_has(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="terms: write those of a rung with kind finding, and with no other"):
        Event("e", at=NOON, **wrong)


def test_findings_are_told_by_gateways_alone_and_who_is_let_off_by_whom_it_is_asserted() -> None:
    with pytest.raises(ValueError, match="finding is told by gateways alone"):
        posted({"event_id": "e", "kind": "finding", "at": "2026-01-05T12:00:00Z"}, "asserted", NOON)
    lifted = {"event_id": "e", "kind": "ladder_lifted", "at": "2026-01-05T12:00:00Z"}
    with pytest.raises(ValueError, match="ladder_lifted may lower protection"):
        posted(lifted, "client", NOON)
    assert posted(lifted, "asserted", NOON).kind == "ladder_lifted"


def test_a_state_is_of_use_as_long_as_something_holds() -> None:
    assert State(holds=(Hold("a", 1.0, 5.0), Hold("b", 1.0, 7.0))).until == 7.0
