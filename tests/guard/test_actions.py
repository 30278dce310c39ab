"""Actions on axes that do not know of each other; a crisis overrides."""

import itertools
from collections.abc import Mapping

import pytest

from understudy.guard.actions import Content, Decision, Rollout, Rule, Session, combine, decision
from understudy.guard.findings import Finding, Severity


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([], Decision()),
        (["Log", "Redact"], Decision(Content.REDACT)),
        (["Block", "Replace"], Decision(Content.BLOCK)),
        (["Annotate", "Remind", "SuppressHooks"], Decision(Content.ANNOTATE, Session.SUPPRESS_HOOKS)),
        (["SwitchModel", "CoolDown"], Decision(session=Session.SWITCH_MODEL)),
        (["Rollback", "PauseRollout"], Decision(rollout=Rollout.ROLLBACK)),
        (["Quarantine"], Decision(rollout=Rollout.QUARANTINE)),
        (["Log", "Notify", "CrisisBanner"], Decision(Content.LOG, notify=True, banner=True)),
        (["CrisisFlow"], Decision(crisis=True)),
    ],
)  # fmt: skip
def test_actions_are_told_by_name(actions: list[str], said: Decision) -> None:
    assert decision(actions) == said


def test_on_each_axis_the_strictest_holds_and_notices_add_up() -> None:
    said = [
        decision(["Redact", "Remind", "Quarantine"]),
        decision(["Log", "CoolDown", "Notify"]),
        decision(["CrisisBanner"]),
    ]
    together = Decision(Content.REDACT, Session.COOL_DOWN, Rollout.QUARANTINE, notify=True, banner=True)
    for order in itertools.permutations(said):
        assert combine(order) == together
    assert combine([]) == Decision()


def test_together_is_at_least_as_strict_as_each_without_a_crisis() -> None:
    names = ["Log", "Block", "Remind", "CoolDown", "Rollback", "Notify"]
    for pair in itertools.combinations([decision([name]) for name in names], 2):
        both = combine(pair)
        assert all(both.content >= each.content and both.session >= each.session for each in pair)


def test_in_a_crisis_nobody_is_sent_away_or_gets_an_error() -> None:
    crisis, block = decision(["CrisisFlow", "CoolDown"]), decision(["Block", "CoolDown", "SwitchModel", "Notify"])
    assert combine([crisis, block]) == Decision(Content.REPLACE, Session.NOTHING, notify=True, crisis=True)
    assert combine([crisis]).content == Content.REPLACE


def test_what_a_crisis_rule_asks_of_the_session_holds_and_nothing_else() -> None:
    crisis = decision(["CrisisFlow", "SuppressHooks"])
    assert combine([crisis, decision(["SwitchModel"])]).session == Session.SUPPRESS_HOOKS
    assert combine([decision(["CrisisFlow", "SwitchModel"])]).session == Session.SWITCH_MODEL


def test_who_is_in_a_crisis_already_is_not_sent_away_for_something_else() -> None:
    assert combine([decision(["Block", "CoolDown"])], in_crisis=True) == Decision(Content.BLOCK)


def rule(thresholds: Mapping[int, float], allowance: int = 0) -> Rule:
    actions = {2: decision(["Log"]), 6: decision(["Block"])}
    return Rule("violence", frozenset({"output"}), actions, thresholds, {"adult": allowance})


def finding(severity: Severity = 6, score: float | None = None) -> Finding:
    return Finding("d", "n", "violence", severity, score, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("severity", "score", "content"),
    [(2, None, Content.LOG), (4, None, Content.LOG), (6, None, Content.BLOCK),
     # A score counts where the rule has thresholds; what has none is as grave as it says.
     (2, 0.95, Content.BLOCK), (6, 0.5, Content.LOG), (6, 0.1, Content.NOTHING), (6, 0.3, Content.LOG)],
)  # fmt: skip
def test_a_severity_without_actions_of_its_own_does_what_the_next_lower_one_does(
    severity: Severity, score: float | None, content: Content
) -> None:
    assert rule({2: 0.3, 4: 0.5, 6: 0.9}).decide(finding(severity, score)).content == content


def test_without_thresholds_the_detector_says_how_grave_it_is() -> None:
    assert rule({}).decide(finding(6, 0.1)).content == Content.BLOCK


@pytest.mark.parametrize(("allowance", "content"), [(0, Content.BLOCK), (1, Content.LOG), (2, Content.LOG)])
def test_fiction_is_less_grave_by_so_many_levels(allowance: int, content: Content) -> None:
    lenient = rule({}, allowance)
    assert lenient.decide(finding(6), fiction="adult").content == content
    assert lenient.severity(finding(6), fiction="adult") == 6 - 2 * allowance
    # What nobody has said, or a word that does not count here, changes nothing.
    assert lenient.decide(finding(6)).content == lenient.decide(finding(6), fiction="fiction").content == Content.BLOCK
    assert rule({}, 1).decide(finding(2), fiction="adult").content == Content.NOTHING
    assert rule({}, 2).severity(finding(2), fiction="adult") == 0
    assert rule({2: 0.3, 4: 0.5, 6: 0.9}, 1).severity(finding(2, 0.95), fiction="adult") == 4


def test_the_strictest_that_a_rule_can_do_is_known() -> None:
    assert [rule({}).strictest(severity) for severity in (0, 2, 4, 6)] == [
        Content.NOTHING, Content.LOG, Content.LOG, Content.BLOCK,
    ]  # fmt: skip
    assert Rule("c", frozenset(), {2: decision(["CrisisFlow"])}, {}).strictest() == Content.REPLACE
