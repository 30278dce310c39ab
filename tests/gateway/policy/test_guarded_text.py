"""An answer that is one text goes through a gate as others do."""

from typing import Any

import pytest

from tests.gateway.policy.judging import asking, usual, verdicts, whole
from understudy.gateway.policy.guarded_text import GuardedText
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.verdicts import Facts
from understudy.guard.findings import Finding


def guard(holds: Guarding, facts: Facts | None = None) -> GuardedText:
    return GuardedText(verdicts(holds, facts))


def through(judge: GuardedText, text: Any) -> dict[str, Any]:
    answer = {"prompt": text, "odd": "darn"}
    return judge.together(answer, whole(judge, answer))


@pytest.mark.parametrize(
    ("action", "text", "out"),
    [
        ("Block", "well", "well"),
        ("Block", "so darn it", "so "),
        ("Block", "so darn", "so "),
        ("Redact", "so darn it", "so [rude] it"),
        ("Replace", "so darn it", "so [removed]"),
        ("CrisisFlow", "darn it", "Du bist nicht allein."),
    ],
)
def test_a_text_comes_out_as_far_as_it_may(action: str, text: str, out: str) -> None:
    judge = guard(usual(action), Facts(languages=("de",)))
    said = through(judge, text)
    assert said["prompt"] == out
    assert "odd" not in said
    assert (judge.done, judge.withheld) == (True, False)


def test_a_text_of_which_nothing_may_be_seen_is_withheld() -> None:
    judge = guard(usual("Block"))
    whole(judge, {"prompt": "darn it"})
    assert judge.withheld


def test_what_is_only_told_of_stays_as_it_is() -> None:
    said = through(guard(usual("Annotate")), "darn it")
    assert (said["prompt"], said["odd"]) == ("darn it", "darn")
    assert said["guardrails"]["findings"][0]["action"] == "annotate"


def test_what_is_no_text_says_nothing() -> None:
    judge = guard(usual("Block"))
    assert through(judge, 7) == {"prompt": ""}
    assert judge.done


def test_detectors_are_waited_for() -> None:
    judge = guard(asking())
    answer = {"prompt": "one. two"}
    out = whole(judge, answer)
    assert not judge.done
    first, second = judge.verdicts.questions
    out += judge.heard(first, "g0/j", (), "ok")
    out += judge.heard(second, "g0/j", [Finding("g0/j", "x", "rude", 6, None, 5, 8, 8, 5)], "ok")
    assert (judge.together(answer, out)["prompt"], judge.done) == ("one. ", True)
