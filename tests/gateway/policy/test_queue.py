"""Turns in a line: priorities, keys of one priority, and room."""

import random

import pytest

from understudy.gateway.policy.queue import Line


def line(*entries: tuple[str, str, int], most: int = 100) -> Line[str]:
    """A line of (request, holder, priority)."""
    made: Line[str] = Line()
    for request, holder, priority in entries:
        assert made.enter(request, holder, priority, most) is None
    return made


def served(made: Line[str]) -> list[str]:
    """Everybody, one turn after the other."""
    found = []
    while (request := made.first()) is not None:
        made.leave(request, served=True)
        found.append(request)
    return found


def test_nobody_is_first_of_nobody() -> None:
    assert line().first() is None
    assert line().order() == []


def test_requests_of_one_key_keep_their_order() -> None:
    assert served(line(("1", "a", 5), ("2", "a", 5), ("3", "a", 5))) == ["1", "2", "3"]


def test_keys_of_one_priority_take_turns() -> None:
    entries = [("a1", "a", 5), ("a2", "a", 5), ("a3", "a", 5), ("b1", "b", 5), ("c1", "c", 5), ("b2", "b", 5)]
    assert served(line(*entries)) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert line(*entries).order() == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_higher_priority_goes_first() -> None:
    made = line(("low", "a", 0), ("usual", "a", 5), ("high", "b", 9))
    assert made.order() == served(made) == ["high", "usual", "low"]


def test_who_leaves_costs_nobody_a_turn() -> None:
    made = line(("a1", "a", 5), ("a2", "a", 5), ("b1", "b", 5))
    made.leave("a1")
    assert made.order() == ["a2", "b1"]
    made.leave("a1")
    assert len(made) == 2
    assert "a1" not in made


def test_in_a_full_line_a_key_with_more_makes_room_for_one_with_less() -> None:
    made = line(("a1", "a", 5), ("a2", "a", 5), ("a3", "a", 5), most=3)
    assert made.enter("b1", "b", 5, 3) == "a3"
    # Now one more for b would only turn the tables.
    assert made.enter("b2", "b", 5, 3) == "b2"
    assert made.enter("a4", "a", 5, 3) == "a4"
    assert sorted(made.order()) == ["a1", "a2", "b1"]


def test_in_a_full_line_the_lowest_priority_makes_room_for_a_higher_one_and_never_the_reverse() -> None:
    made = line(("low", "a", 1), ("usual", "b", 5), most=2)
    assert made.enter("lower", "c", 0, 2) == "lower"
    assert made.enter("high", "b", 9, 2) == "low"
    assert made.order() == ["high", "usual"]


def test_where_nobody_may_wait_nobody_does() -> None:
    assert line().enter("a", "a", 9, 0) == "a"


@pytest.mark.parametrize("seed", range(20))
def test_the_order_that_is_told_is_the_order_in_which_they_are_served(seed: int) -> None:
    rng = random.Random(seed)
    made: Line[str] = Line()
    for number in range(60):
        made.enter(str(number), rng.choice("abcd"), rng.randrange(3), 40)
        if rng.random() < 0.3:
            made.leave(rng.choice(made.order()), served=rng.random() < 0.5)
        assert len(made) == len(made.order()) <= 40
    told = made.order()
    assert served(made) == told


def test_one_key_that_floods_the_line_makes_nobody_wait_but_itself() -> None:
    made: Line[str] = Line()
    for number in range(1000):
        made.enter(f"flood{number}", "flood", 5, 100)
    for number in range(10):
        assert made.enter(f"calm{number}", "calm", 5, 100) is not None
        assert f"calm{number}" in made
    assert [request for request in served(made)[:20] if request.startswith("calm")] == [f"calm{n}" for n in range(10)]
