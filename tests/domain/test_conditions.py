"""Conditions: when `lastTransitionTime` moves."""

from typing import Any

import pytest

from understudy.domain.conditions import Condition, ConditionStatus, find, is_ready, transition

EARLIER = [
    {"type": "Ready", "status": "True", "reason": "Old", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}
]
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("status", "at"),
    [("True", "2026-01-01T00:00:00Z"), ("False", "2027-01-15T08:00:00Z"), ("Unknown", "2027-01-15T08:00:00Z")],
)
def test_the_time_moves_with_the_status_only(status: ConditionStatus, at: str) -> None:
    (written,) = transition(EARLIER, [Condition("Ready", status, "New", "n")], 7, NOW)
    assert written == {
        "type": "Ready",
        "status": status,
        "reason": "New",
        "message": "n",
        "lastTransitionTime": at,
        "observedGeneration": 7,
    }


def test_a_new_condition_has_begun_now_and_one_that_is_not_wanted_goes() -> None:
    written = transition(EARLIER, [Condition("Stalled", "False", "Fine")], 1, NOW)
    assert [(c["type"], c["lastTransitionTime"]) for c in written] == [("Stalled", "2027-01-15T08:00:00Z")]


def test_a_message_is_cut_to_what_the_api_takes() -> None:
    (written,) = transition([], [Condition("Ready", "True", "X", "m" * 9000)], 1, NOW)
    assert len(written["message"]) == 8192


def test_a_condition_is_found_by_its_type() -> None:
    assert find(EARLIER, "Ready") == EARLIER[0]
    assert find(EARLIER, "Stalled") is None


@pytest.mark.parametrize(
    ("obj", "ready"),
    [
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, True),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
        ({"status": {"conditions": None}}, False),
        ({"status": None}, False),
        ({}, False),
    ],
)
def test_ready_is_what_says_so(obj: dict[str, Any], ready: bool) -> None:
    assert is_ready(obj) is ready
