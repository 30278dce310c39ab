"""What a gateway counts itself: at once, bounded, and giving way to what the records tell."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.climbs import Climbs, whom
from understudy.gateway.policy.players import Who
from understudy.guard.engagement.state import State
from understudy.guard.ladder import Hold, Terms

TERMS = Terms("a" * 16, "default/calm", 0, 3, 600.0, "SwitchModel")
UNKNOWN = State()


def counting(*times: float, told: State = UNKNOWN, climbs: Climbs | None = None) -> Climbs:
    made = Climbs() if climbs is None else climbs
    for at in times:
        made.count("anna", TERMS, at, told)
    return made


def test_the_third_finding_in_ten_minutes_holds_at_once() -> None:
    climbs = counting(0, 1)
    assert climbs.holds("anna", UNKNOWN) == ()
    counting(2, climbs=climbs)
    assert climbs.holds("anna", UNKNOWN) == (Hold(TERMS.rung, 2, 602),)
    assert climbs.holds("berta", UNKNOWN) == ()
    counting(3, 4, 5, climbs=climbs)
    assert climbs.holds("anna", UNKNOWN) == (Hold(TERMS.rung, 2, 605),)
    assert climbs.due == {"SwitchModel": 1}


def test_what_the_records_have_used_up_does_not_count_here() -> None:
    told = State(holds=(Hold(TERMS.rung, 1, 601), Hold("b" * 16, 2, 601)))
    climbs = counting(0, 1)
    counting(2, 3, told=told, climbs=climbs)
    assert climbs.holds("anna", told) == ()
    counting(4, told=told, climbs=climbs)
    assert climbs.holds("anna", told) == (Hold(TERMS.rung, 4, 604),)


def test_who_is_let_off_by_the_records_is_let_off_here() -> None:
    climbs = counting(0, 1, 2, 3, 4)
    told = State(lifted=5)
    assert climbs.holds("anna", told) == ()
    counting(6, 7, told=told, climbs=climbs)
    assert climbs.holds("anna", told) == ()
    counting(8, told=told, climbs=climbs)
    assert climbs.holds("anna", told) == (Hold(TERMS.rung, 8, 608),)
    assert climbs.due == {"SwitchModel": 2}


def test_what_does_not_count_any_more_is_forgotten() -> None:
    climbs = counting(0, 1, 2)
    climbs.count("anna", replace(TERMS, rung="b" * 16), 2, UNKNOWN)
    climbs.count("berta", TERMS, 100, UNKNOWN)
    climbs.tidy(601.9)
    assert len(climbs) == 2
    climbs.tidy(602)
    assert len(climbs) == 1
    climbs.tidy(700)
    assert len(climbs) == 0


@pytest.mark.parametrize(("most", "left"), [(9, ["berta"]), (10, ["anna", "berta"])])
def test_beyond_its_bound_those_are_forgotten_of_whom_nothing_was_found_for_longest(most: int, left: list[str]) -> None:
    climbs = Climbs(most)
    for name in ("anna", "berta", "berta", "anna"):
        climbs.count(name, replace(TERMS, count=1), 0, UNKNOWN)
    climbs.count("berta", TERMS, 1, UNKNOWN)
    climbs.count("berta", TERMS, 2, UNKNOWN)
    assert [name for name in ("anna", "berta") if climbs.holds(name, UNKNOWN)] == left


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xy"), st.integers(0, 2000)), max_size=80))
def test_whatever_comes_it_stays_within_its_bound_and_knows_its_weight(told: list[tuple[str, str, int]]) -> None:
    climbs = Climbs(30)
    for name, rung, at in told:
        climbs.count(name, replace(TERMS, rung=rung, count=9), at, UNKNOWN)
        assert climbs._weight <= 30
        if at % 7 == 0:
            climbs.tidy(at)
        assert climbs._weight == sum(climb.weight for mine in climbs._climbs.values() for climb in mine.values())


def test_it_is_counted_for_the_player_and_where_nobody_knows_one_for_the_session() -> None:
    assert whom("player", Who("t", "anna", "evening")) == ("player", "anna")
    assert whom("player", Who("t", "", "evening")) == ("session", "evening")
    assert whom("session", Who("t", "anna", "evening")) == ("session", "evening")
    assert whom("session", Who("t", "anna", "")) is None
    assert whom("player", Who("t", "", "")) is None
