"""Up to when is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from understudy.records.policy.retention import STEP_MS, horizon


def test_the_first_time_all_is_forgotten_that_should_be() -> None:
    assert horizon(None, 7) == 7


def test_it_goes_forward_with_time_and_by_a_step_at_most() -> None:
    assert horizon(1_000, 301_000) == 301_000
    assert horizon(1_000, 1_000 + STEP_MS) == 1_000 + STEP_MS
    assert horizon(1_000, 1_001 + STEP_MS) == 1_000 + STEP_MS


def test_it_goes_back_at_once_when_more_is_to_be_kept_or_a_clock_was_set_right() -> None:
    assert horizon(10**12, 5) == 5


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_what_need_not_be_forgotten_never_is(before: int, wanted: int) -> None:
    assert horizon(before, wanted) <= wanted
