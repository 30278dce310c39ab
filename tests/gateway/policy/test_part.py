"""What one of several workers may have of a bound."""

import pytest

from understudy.gateway.policy.keys import FailedKeys
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.retry import RetryBudget


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("total", [0, 1, 7, 10, 200])
def test_parts_add_up_to_the_whole_but_nobody_is_left_without_any(total: int, count: int) -> None:
    parts = [Part(index, count).of(total) for index in range(count)]
    assert sum(parts) == (max(total, count) if total else 0)
    assert max(parts) - min(parts) <= 1
    assert not total or min(parts) >= 1


def test_one_alone_has_all() -> None:
    assert WHOLE.of(7) == 7


def test_wrong_keys_and_retries_are_counted_by_parts() -> None:
    wrong = Refusal(401, "invalid_api_key", "no")
    keys = FailedKeys(2)
    assert [keys.refuse("10.0.0.1", 5.0, wrong).status for _ in range(3)] == [401, 401, 429]
    budget = RetryBudget(2)
    assert sum(budget.take(100.0) for _ in range(100)) == 20
