"""Rungs for sessions and players: so many findings in some time, each used up once, whatever the clock does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.actions import Session
from understudy.guard.engagement.policy import CoolDown
from understudy.guard.ladder import (
    NOTHING,
    Hold,
    Rung,
    Tally,
    Terms,
    counted,
    dump_terms,
    lasts,
    parse_terms,
    renewed,
    ruling,
    rungs_of,
    window,
)

RAW = {"per": "session", "count": 3, "within": "10m", "severityAtLeast": 4, "action": "SwitchModel", "to": "safe"}
TERMS = Terms("0123456789abcdef", "default/calm", 0, 3, 600.0, "SwitchModel")


def rungs(*raw: dict[str, Any], **spec: Any) -> tuple[Rung, ...]:
    return rungs_of("default", "calm", {"ladder": list(raw), **spec})


def test_a_guardrails_rungs_for_sessions_and_players_are_read_and_those_for_revisions_left_to_the_operator() -> None:
    revision = {"per": "revision", "rate": 0.1, "minTurns": 100, "action": "Rollback"}
    (rung,) = rungs(revision, RAW)
    assert (rung.per, rung.category, rung.severity, rung.to, rung.passes) == ("session", "", 4, "safe", False)
    assert replace(rung.terms, rung="") == Terms("", "default/calm", 1, 3, 600.0, "SwitchModel")
    assert rungs() == rungs_of("default", "calm", {}) == ()
    assert rungs(RAW, failurePolicy="Open")[0].passes


def test_breaks_are_as_long_as_the_guardrail_has_them() -> None:
    (rung,) = rungs({"per": "player", "count": 1, "within": "1h", "action": "CoolDown"})
    assert rung.terms.cool_down == CoolDown()
    (rung,) = rungs(
        {"per": "player", "count": 1, "within": "1h", "action": "CoolDown"},
        engagement={"coolDown": {"initial": "1m", "factor": 3, "max": "5m"}},
    )
    assert [lasts(rung.terms, before) for before in range(4)] == [60, 180, 300, 300]


def test_a_guardrail_that_only_counts_has_it_told_alone() -> None:
    (rung,) = rungs(RAW, mode="monitor")
    assert (rung.terms.action, rung.to) == ("Notify", "")


def asks(category: str = "hate", **actions: list[str]) -> dict[str, Any]:
    return {"category": category, "actions": actions}


def test_what_rules_ask_of_the_session_are_rungs_of_one_finding() -> None:
    rules = [asks(low=["Log"], high=["Block", "CoolDown"]), asks("pii", low=["SuppressHooks"], medium=["Remind"])]
    found = rungs(rules=rules, engagement={"coolDown": {"initial": "1m"}})
    assert [(r.category, r.asked, r.terms.action, r.terms.number) for r in found] == [
        ("hate", Session.COOL_DOWN, "CoolDown", 0),
        ("pii", Session.REMIND, "Remind", 1),
        ("pii", Session.SUPPRESS_HOOKS, "SuppressHooks", 1),
    ]
    assert {(r.terms.guardrail, r.per, r.terms.count, r.terms.rule) for r in found} == {
        ("default/calm", "player", 1, True)
    }
    assert [lasts(r.terms, 0) for r in found] == [60, 900, 3600]
    (told,) = rungs(rules=rules[:1], mode="monitor")
    assert (told.terms.action, told.asked) == ("Notify", Session.COOL_DOWN)


def test_a_rung_of_a_rule_counts_what_the_rule_asks_it_for_and_no_other_does() -> None:
    cool, climbed = rungs(RAW, rules=[asks(low=["CoolDown"])])[::-1]
    assert cool.counts("calm", "hate", 2, Session.COOL_DOWN)
    assert not cool.counts("calm", "hate", 6, Session.REMIND)
    assert not cool.counts("calm", "hate", 6)
    assert not cool.counts("calm", "pii", 6, Session.COOL_DOWN)
    assert not cool.counts("other", "hate", 6, Session.COOL_DOWN)
    assert climbed.counts("calm", "hate", 4, Session.COOL_DOWN)
    assert not climbed.counts("calm", "hate", 2, Session.COOL_DOWN)


def test_of_rules_of_one_category_the_first_that_asks_is_named_and_its_place_changes_nothing() -> None:
    rules = [asks(low=["Log"]), asks(high=["CoolDown"]), asks(low=["CoolDown"])]
    (one,) = rungs(rules=rules)
    assert one.terms.number == 1
    (moved,) = rungs(rules=rules[1:])
    assert (moved.terms.number, moved.terms.rung) == (0, one.terms.rung)
    (other,) = rungs(rules=[asks(low=["Remind"])])
    assert other.terms.rung != one.terms.rung


@pytest.mark.parametrize(
    "change",
    [{"per": "player"}, {"category": "rude"}, {"severityAtLeast": 6}, {"count": 4}, {"within": "9m"}, {"to": "other"}],
)
def test_a_rung_that_says_something_else_is_another(change: dict[str, Any]) -> None:
    one, other = rungs(RAW, {**RAW, **change})
    assert one.terms.rung != other.terms.rung
    assert len(one.terms.rung) == 16


def test_rungs_of_two_namespaces_or_guardrails_are_others() -> None:
    spec = {"ladder": [RAW]}
    keys = {rungs_of(*whose, spec)[0].terms.rung for whose in (("a", "b"), ("a", "c"), ("b", "b"))}
    assert len(keys) == 3


def test_it_counts_what_its_guardrail_finds_of_its_category_from_its_severity_on() -> None:
    every, rude = rungs(RAW, {**RAW, "category": "rude"})
    assert every.counts("calm", "pii", 4)
    assert not every.counts("calm", "pii", 2)
    assert not every.counts("other", "pii", 6)
    assert rude.counts("calm", "rude", 6)
    assert not rude.counts("calm", "pii", 6)


def fires(times: list[float], terms: Terms = TERMS) -> list[float]:
    """When it falls due."""
    tally, found = Tally(), []
    for at in times:
        tally, too_many = counted(tally, terms, at)
        if too_many:
            found.append(at)
    return found


def test_three_in_ten_minutes_are_one_too_many_and_then_three_others() -> None:
    assert fires([0, 300, 599]) == [599]
    assert fires([0, 300, 600]) == []
    assert fires([0, 300, 600, 700]) == [700]
    assert fires([0, 1, 2, 3, 4, 5]) == [2, 5]
    assert fires([0, 1], replace(TERMS, count=1)) == [0, 1]


def test_what_lies_in_the_future_of_a_clock_that_was_set_back_does_not_count() -> None:
    assert fires([5000, 5001, 1000, 1001]) == []
    assert fires([5000, 5001, 1000, 1001, 1002]) == [1002]
    assert fires([0, 1, 9000]) == []


@given(st.lists(st.integers(0, 3000), max_size=40).map(sorted), st.integers(1, 5), st.integers(1, 1000))
def test_it_falls_due_where_a_count_by_hand_says_so(times: list[int], count: int, within: int) -> None:
    expected, left = [], list[int]()
    for at in times:
        left = [time for time in left if at - time < within] + [at]
        if len(left) == count:
            expected.append(float(at))
            left = []
    assert fires([float(at) for at in times], replace(TERMS, count=count, within=float(within))) == expected


@given(st.lists(st.integers(0, 10_000), max_size=60), st.integers(1, 4))
def test_whatever_the_clock_does_little_is_kept_and_none_is_used_twice(times: list[int], count: int) -> None:
    terms, tally, due = replace(TERMS, count=count), Tally(), 0
    for at in times:
        tally, too_many = counted(tally, terms, float(at))
        due += too_many
        assert len(tally.times) < count
        assert all(at - terms.within < time <= at for time in tally.times)
        assert not tally.times or tally.ends == at + terms.within
    assert due <= len(times) // count


def test_findings_up_to_a_moment_can_be_let_go() -> None:
    assert Tally((1.0, 2.0, 3.0), 9.0).after(2.0) == Tally((3.0,), 9.0)


def test_what_holds_goes_on_for_longer_and_a_break_does_not() -> None:
    never = Hold(TERMS.rung, float("-inf"), float("-inf"))
    hold = renewed(never, TERMS, 100.0, 0)
    assert hold == Hold(TERMS.rung, 100.0, 700.0)
    assert renewed(hold, TERMS, 200.0, 0) == Hold(TERMS.rung, 100.0, 800.0)
    assert renewed(hold, TERMS, 700.0, 0) == Hold(TERMS.rung, 700.0, 1300.0)
    pause = replace(TERMS, action="CoolDown")
    first = renewed(never, pause, 100.0, 0)
    assert first.until == 1000.0
    assert renewed(first, pause, 200.0, 5) == first
    assert renewed(first, pause, 1000.0, 1) == Hold(TERMS.rung, 1000.0, 2800.0)
    assert lasts(replace(TERMS, action="Remind"), 0) == 900.0


@given(st.floats(1, 1e9), st.floats(0, 1e6), st.sampled_from(("Remind", "SuppressHooks", "CoolDown", "SwitchModel")))
def test_no_two_beginnings_share_a_window(since: float, later: float, action: Any) -> None:
    terms = replace(TERMS, action=action)
    shortest = lasts(terms, 0)
    assert window(terms, since) != window(terms, since + shortest + later)
    assert len(window(terms, since)) <= 32


def ladder(*actions: str) -> dict[str, Rung]:
    """A rung for each, known by what it asks for."""
    return {
        action: Rung(replace(TERMS, rung=action, action=action), "session", "", 2, "safe")  # type: ignore[arg-type]
        for action in actions
    }


def held(*actions: str, until: float = 10.0) -> list[Hold]:
    return [Hold(action, 0.0, until) for action in actions]


ALL = ("Notify", "Remind", "SuppressHooks", "CoolDown", "SwitchModel")


def test_of_several_the_strictest_holds_alone() -> None:
    for number, action in enumerate(ALL[1:], 1):
        found = ruling(held(*ALL[: number + 1]), ladder(*ALL), in_crisis=False)
        assert found.rung is not None
        assert [each for each in ALL if found.says(each)] == [action]  # type: ignore[arg-type]


def test_in_a_crisis_there_is_no_break_and_another_model_stays() -> None:
    assert ruling(held("Remind", "CoolDown"), ladder(*ALL), in_crisis=True).says("Remind")
    assert ruling(held("CoolDown"), ladder(*ALL), in_crisis=True) == NOTHING
    assert ruling(held("CoolDown", "SwitchModel"), ladder(*ALL), in_crisis=True).says("SwitchModel")


def test_what_no_rung_of_the_deployment_asks_for_does_not_hold_there() -> None:
    assert ruling(held("CoolDown"), ladder("SwitchModel"), in_crisis=False) == NOTHING
    assert not NOTHING.says("CoolDown")


def test_of_two_that_ask_for_the_same_the_one_that_holds_longer_is_told() -> None:
    holds = [*held("CoolDown", until=5.0), *held("CoolDown", until=9.0), *held("CoolDown", until=7.0)]
    assert ruling(holds, ladder("CoolDown"), in_crisis=False).hold.until == 9.0


@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, action="CoolDown", cool_down=CoolDown(1.0, 2.0, 3.0))])
def test_terms_cross_as_json(terms: Terms) -> None:
    assert parse_terms(dump_terms(terms)) == terms


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"action": "Rollback"}, "action: 'Rollback' is none of Remind, SuppressHooks"),
        ({"count": 0}, "count, within: write numbers above 0"),
        ({"within": 0}, "count, within: write numbers above 0"),
        ({"within": float("inf")}, "count, within: write numbers above 0"),
        ({"rung": "short"}, "rung, guardrail: write a key of 16 digits"),
        ({"guardrail": "g" * 321}, "at most 320 characters"),
    ],
)
def test_terms_that_are_none_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_terms({**dump_terms(TERMS), **change})
