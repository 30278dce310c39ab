"""Memory lent out: bounded, and nobody can take it from everybody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.shares import Shares

SIZE = 3000


def test_one_holder_gets_two_thirds_and_another_may_still_have_some() -> None:
    pool = Shares(SIZE)
    assert pool.most == pool.left("a") == 2000
    assert not pool.take("a", 2001)
    assert pool.take("a", 2000)
    assert pool.left("a") == 0
    assert not pool.take("a", 1)
    assert pool.left("b") == 666
    assert pool.take("b", 666)


@pytest.mark.parametrize("holders", [1, 2, 5, 20])
def test_however_many_take_all_that_they_may_there_is_some_for_the_next(holders: int) -> None:
    pool = Shares(1_000_000)
    for _ in range(200):
        for holder in range(holders):
            pool.take(str(holder), pool.left(str(holder)))
    assert pool.left("next") >= 1_000_000 // (3 * (2 * holders + 1))


def test_what_is_given_back_can_be_taken_again() -> None:
    pool = Shares(SIZE)
    for _ in range(3):
        assert pool.take("a", 1000)
        assert pool.take("a", 500)
        pool.give("a", 500)
        assert pool.left("a") == 1000
        pool.give("a", 1000)
        assert (pool.used, pool.left("a")) == (0, 2000)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, SIZE))))
def test_never_more_is_lent_than_there_is_and_all_comes_back(wishes: list[tuple[str, int]]) -> None:
    pool = Shares(SIZE)
    lent = [(holder, size) for holder, size in wishes if pool.take(holder, size)]
    assert pool.used == sum(size for _, size in lent) <= SIZE
    for holder, size in lent:
        pool.give(holder, size)
    assert pool.used == 0
    assert pool.left("a") == pool.most
