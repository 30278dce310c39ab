"""Long prompts that begin alike: to one endpoint, never for more than a quarter above the mean."""

import heapq
import math
import random
from collections import Counter, OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.balance import EJECTION, HOME_FACTOR, Endpoint, eject, pick

NOW = 1000.0
DRAW = (0.5, 0.5)
LARGE = range(1 << 40, 13 << 40, 1 << 40)


def some(count: int) -> list[Endpoint]:
    return [Endpoint("10.0.0.1", 8000 + number) for number in range(count)]


def home(endpoints: list[Endpoint], beginning: int, **more: int) -> Endpoint:
    found = pick(endpoints, NOW, (), DRAW, beginning=beginning, **more)
    assert found is not None
    return found


def test_a_beginning_has_one_home_whatever_the_order() -> None:
    endpoints = some(5)
    for beginning in range(1, 50):
        assert home(endpoints, beginning) is home(endpoints[::-1], beginning)


def test_homes_are_spread_evenly() -> None:
    endpoints, rng = some(10), random.Random(7)
    counts = Counter(home(endpoints, rng.getrandbits(56)).port for _ in range(10_000))
    assert len(counts) == 10
    # Of 10,000 draws at one in ten, five standard deviations are 150.
    assert all(850 <= count <= 1150 for count in counts.values())


def test_an_endpoint_that_goes_moves_its_own_prompts_alone() -> None:
    endpoints, rng = some(8), random.Random(7)
    beginnings = [rng.getrandbits(56) for _ in range(500)]
    before = {beginning: home(endpoints, beginning) for beginning in beginnings}
    gone = endpoints.pop(3)
    after = {beginning: home(endpoints, beginning) for beginning in beginnings}
    assert {b for b in beginnings if before[b] is not after[b]} == {b for b in beginnings if before[b] is gone}
    # And not all to one.
    assert len({after[b] for b in beginnings if before[b] is gone}) == 7


def test_every_gateway_finds_the_same_home() -> None:
    assert [home(some(8), beginning).port - 8000 for beginning in LARGE] == [7, 4, 6, 6, 2, 5, 3, 0, 4, 0, 5, 3]


@given(loads=st.lists(st.integers(0, 40), min_size=2, max_size=12), beginning=st.integers(1, 2**56 - 1))
def test_nothing_is_ever_sent_above_the_bound(loads: list[int], beginning: int) -> None:
    endpoints = some(len(loads))
    for endpoint, load in zip(endpoints, loads, strict=True):
        endpoint.open = load
    chosen = home(endpoints, beginning)
    assert chosen.open + 1 <= math.ceil(HOME_FACTOR * (sum(loads) + 1) / len(loads))


def test_above_the_bound_the_next_one_is_always_the_same() -> None:
    endpoints = some(4)
    first = home(endpoints, 7)
    first.open = 3
    second = home(endpoints, 7)
    assert second is not first
    assert second is home([e for e in endpoints if e is not first], 7)
    first.open = 0
    assert home(endpoints, 7) is first


def test_who_is_out_was_tried_or_is_full_is_passed_over() -> None:
    endpoints = some(4)
    first = home(endpoints, 7)
    assert pick(endpoints, NOW, (first,), DRAW, beginning=7) is not first
    eject(first, NOW)
    second = home(endpoints, 7)
    assert second is not first
    second.open = 1
    for endpoint in endpoints:
        endpoint.open += 1
    assert home(endpoints, 7, most=2) not in (first, second)
    assert pick(endpoints, NOW, (), DRAW, 1, beginning=7) is None


def test_a_home_that_comes_back_is_tried_once() -> None:
    endpoints = some(3)
    first = home(endpoints, 7)
    eject(first, NOW)
    later = NOW + EJECTION
    assert pick(endpoints, later, (), DRAW, beginning=7) is first
    assert pick(endpoints, later, (), DRAW, beginning=7) is not first


def test_without_a_beginning_or_a_choice_nothing_is_different() -> None:
    endpoints = some(2)
    for beginning in range(1, 20):
        assert pick(endpoints[:1], NOW, (), DRAW, beginning=beginning) is endpoints[0]
    assert pick([], NOW, (), DRAW, beginning=1) is None
    endpoints[0].open = 1
    assert pick(endpoints, NOW, (), DRAW) is endpoints[1]


def simulated(*, at_home: bool, mean_open: float) -> tuple[float, float]:
    """600 conversations of 8 turns on 8 endpoints that remember 100 of them each, at `mean_open` requests open on each.

    The share of later turns that find their conversation remembered, and the most that an endpoint ever had, as a
    multiple of the bound.
    """
    rng = random.Random(7)
    endpoints = some(8)
    remembered: dict[Endpoint, OrderedDict[int, None]] = {e: OrderedDict() for e in endpoints}
    left = dict.fromkeys((rng.getrandbits(56) for _ in range(600)), 8)
    ends: list[tuple[float, int, Endpoint]] = []
    begun: set[int] = set()
    now, found, most = 0.0, 0, 0.0
    for number in range(600 * 8):
        now += rng.expovariate(1.0)
        while ends and ends[0][0] <= now:
            heapq.heappop(ends)[2].open -= 1
        conversation = rng.choice(tuple(left))
        left[conversation] -= 1
        if not left[conversation]:
            del left[conversation]
        draw = (rng.random(), rng.random())
        chosen = pick(endpoints, NOW, (), draw, beginning=conversation if at_home else 0)
        assert chosen is not None
        chosen.open += 1
        most = max(most, chosen.open / math.ceil(HOME_FACTOR * sum(e.open for e in endpoints) / 8))
        found += conversation in begun and conversation in remembered[chosen]
        begun.add(conversation)
        remembered[chosen][conversation] = None
        remembered[chosen].move_to_end(conversation)
        if len(remembered[chosen]) > 100:
            remembered[chosen].popitem(last=False)
        heapq.heappush(ends, (now + rng.expovariate(1 / (8 * mean_open)), number, chosen))
    return found / (600 * 7), most


@pytest.mark.parametrize("mean_open", [0.5, 2, 8])
def test_most_later_turns_find_their_conversation_in_the_cache_and_load_is_evener_than_by_chance(
    mean_open: float,
) -> None:
    found, most = simulated(at_home=True, mean_open=mean_open)
    by_chance, most_by_chance = simulated(at_home=False, mean_open=mean_open)
    assert found >= 0.6
    assert found >= 3 * by_chance
    assert most <= 1 < most_by_chance
