"""What snapshots tell of rollouts."""

from typing import Any

import pytest

from understudy.records.policy.rollouts import Decision, Told, Turn, told_by


def snapshot(**status: Any) -> dict[str, Any]:
    """A ModelSnapshot, as the API server has it."""
    return {
        "metadata": {"namespace": "team-a", "name": "story-73cba436", "uid": "u-1"},
        "spec": {"deployment": "story", "revision": "73cba436", "model": {"name": "tiny-a"}},
        "status": status,
    }


def test_a_revision_that_has_just_begun_tells_nothing() -> None:
    bare = snapshot()
    del bare["status"]
    for told in (bare, snapshot(), snapshot(state="Candidate", report=[], promotions=[])):
        assert told_by(told) == Told("u-1", "team-a/story", "73cba436", "tiny-a", (), ())


def test_a_step_tells_when_it_is_decided() -> None:
    report = [
        {"run": 2, "step": "shadow", "verdict": "Pass", "compared": ["errors: 0 of 40", "length: 1.01"]},
        {"run": 2, "step": "5 %", "verdict": "Fail: TooSlow: 2.4 times as slow"},
        {"run": 2, "step": "25 %", "verdict": "Inconclusive: 37 of 200 requests"},
        {"run": 2, "step": "watch", "verdict": ""},
    ]
    assert told_by(snapshot(report=report)).decisions == (
        Decision(2, "shadow", "Pass", ("errors: 0 of 40", "length: 1.01")),
        Decision(2, "5 %", "Fail: TooSlow: 2.4 times as slow", ()),
    )


def test_promotions_and_a_failure_are_turns_of_its_history() -> None:
    promotions = [{"number": 3, "at": "2026-11-30T12:00:00Z"}, {"number": 5, "at": "2026-11-30T13:00:00.5Z"}]
    failure = {"class": "EngineCrash", "reason": "CrashLoop", "message": "exit 1", "at": "2026-11-30T14:00:00Z"}
    assert told_by(snapshot(promotions=promotions, failure=failure)).turns == (
        Turn("promoted", 1_796_040_000_000, 3),
        Turn("promoted", 1_796_043_600_500, 5),
        Turn("failed", 1_796_047_200_000, None, "EngineCrash", "CrashLoop", "exit 1"),
    )


@pytest.mark.parametrize("wrong", [{}, {"metadata": {}, "spec": {}}, {**snapshot(), "spec": {"deployment": "x"}}])
def test_what_is_no_snapshot_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        told_by(wrong)
