"""What a Guardrail says becomes a policy; a higher level never protects less."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.engagement.policy import LEVELS, Action, CoolDown, Policy, Thresholds, policy_of


def test_what_is_not_said_has_its_default() -> None:
    assert policy_of({}) == Policy()
    assert policy_of({"coolDown": {}, "thresholds": {}, "actions": {}}) == Policy()


def test_what_is_said_holds() -> None:
    said = {
        "profile": "therapeutic",
        "ttl": "90d",
        "thresholds": {
            "dailyMinutes": 1, "escalation": 2, "lateNightShare": 0.3, "binge": 4, "failedStop": 0.5,
            "reminderOverride": 0.6, "limitEasing": 7, "rapidReturn": 0.8, "verbalCues": 3,
        },
        "actions": {"L1": ["Remind"], "L3": ["CoolDown", "Notify"]},
        "coolDown": {"initial": "10m", "factor": 3, "max": "1h30m"},
    }  # fmt: skip
    assert policy_of(said) == Policy(
        "therapeutic",
        Thresholds(1, 2, 0.3, 4, 0.5, 0.6, 7, 0.8, 3),
        {1: frozenset({"Remind"}), 3: frozenset({"CoolDown", "Notify"})},
        CoolDown(600, 3, 5400),
    )


def test_the_defaults_are_those_of_the_literature_that_the_page_cites() -> None:
    assert Thresholds() == Thresholds(180, 1.5, 0.25, 180, 0.5, 0.8, 2, 0.4, 2)
    assert CoolDown() == CoolDown(900, 2, 3600)


@pytest.mark.parametrize(("before", "minutes"), [(0, 15), (1, 30), (2, 60), (3, 60), (10_000, 60)])
def test_breaks_grow_to_the_longest(before: int, minutes: int) -> None:
    assert CoolDown().length(before) == minutes * 60


def test_a_break_is_never_longer_than_the_longest() -> None:
    assert CoolDown(initial=900, longest=600).length(0) == 600
    assert CoolDown(initial=900, factor=1.5, longest=1000).length(1) == 1000


@given(st.dictionaries(st.sampled_from((1, 2, 3)), st.frozensets(st.sampled_from(get_args(Action)))))
def test_a_level_asks_for_all_that_those_below_ask_for(actions: dict[int, frozenset[Action]]) -> None:
    policy = Policy("therapeutic", actions=actions)  # type: ignore[arg-type]
    for low, high in itertools.pairwise(LEVELS):
        assert policy.asked(low) <= policy.asked(high)
        assert actions.get(high, frozenset()) <= policy.asked(high)


def test_the_legal_profile_asks_for_nothing() -> None:
    assert Policy("legal", actions={1: frozenset({"Remind"})}).asked(3) == frozenset()
