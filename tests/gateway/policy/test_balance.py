"""Least load of two, and how an endpoint goes out and comes back."""

import random

import pytest

from understudy.gateway.policy.balance import (
    EJECTION,
    FAILURES_IN_A_ROW,
    LONGEST_EJECTION,
    REMEMBERED,
    Endpoint,
    acquitted,
    breakers,
    eject,
    failed,
    pick,
    pick_ejected,
    succeeded,
    usable,
)

NOW = 1000.0


def some(count: int, **load: int) -> list[Endpoint]:
    made = [Endpoint("10.0.0.1", 8000 + i) for i in range(count)]
    for endpoint in made:
        endpoint.open = load.get("open", 0)
    return made


def draws(seed: int = 7) -> "random.Random":
    return random.Random(seed)


def picked(endpoints: list[Endpoint], rng: "random.Random", tried: tuple[Endpoint, ...] = ()) -> Endpoint | None:
    return pick(endpoints, NOW, tried, (rng.random(), rng.random()))


def test_nobody_is_picked_from_nobody() -> None:
    assert pick([], NOW, (), (0.5, 0.5)) is None


def test_the_only_one_is_picked() -> None:
    only = some(1)
    assert pick(only, NOW, (), (0.9, 0.9)) is only[0]


@pytest.mark.parametrize("draw", [(0.0, 0.0), (0.0, 0.999), (0.999, 0.0), (0.5, 0.5)])
def test_of_two_the_less_loaded_is_picked(draw: tuple[float, float]) -> None:
    light, heavy = some(2)
    heavy.open = 5
    assert pick([light, heavy], NOW, (), draw) is light
    assert pick([heavy, light], NOW, (), draw) is light


def test_tokens_decide_between_equals() -> None:
    light, heavy = some(2)
    heavy.tokens = 5000
    assert pick([heavy, light], NOW, (), (0.1, 0.1)) is light


def test_everyone_gets_a_share_and_load_stays_even() -> None:
    endpoints, rng = some(10), draws()
    for _ in range(10_000):
        chosen = picked(endpoints, rng)
        assert chosen is not None
        chosen.open += 1
    loads = [e.open for e in endpoints]
    assert max(loads) - min(loads) <= 10


def test_the_tried_and_the_ejected_are_passed_over() -> None:
    endpoints, rng = some(4), draws()
    eject(endpoints[0], NOW)
    for _ in range(200):
        assert picked(endpoints, rng, (endpoints[1],)) in endpoints[2:]
    assert picked(endpoints, rng, tuple(endpoints[1:])) is None
    assert usable(endpoints, NOW) == 3


def test_an_ejected_endpoint_is_tried_by_one_request_per_interval() -> None:
    endpoint = some(1)[0]
    eject(endpoint, NOW)
    assert pick([endpoint], NOW + EJECTION / 2, (), (0, 0)) is None
    back = NOW + EJECTION
    assert pick([endpoint], back, (), (0, 0)) is endpoint
    assert pick([endpoint], back, (), (0, 0)) is None
    assert pick([endpoint], back + 2 * EJECTION, (), (0, 0)) is endpoint
    assert pick([endpoint], back + 5 * EJECTION, (), (0, 0)) is None
    succeeded(endpoint)
    assert pick([endpoint], back, (), (0, 0)) is endpoint
    assert pick([endpoint], back, (), (0, 0)) is endpoint


def test_intervals_grow_up_to_a_bound() -> None:
    endpoint, now = some(1)[0], NOW
    eject(endpoint, now)
    for _ in range(20):
        now = endpoint.out_until
        assert pick([endpoint], now, (), (0, 0)) is endpoint
        assert endpoint.out_until - now <= LONGEST_EJECTION
    assert endpoint.out_until - now == LONGEST_EJECTION


def test_requests_that_fail_together_count_once() -> None:
    endpoint = some(1)[0]
    assert [eject(endpoint, NOW) for _ in range(50)] == [True] + [False] * 49
    assert endpoint.out_until == NOW + EJECTION


def test_a_failed_trial_is_no_second_ejection_but_a_relapse_is() -> None:
    endpoint = some(1)[0]
    eject(endpoint, NOW)
    assert pick([endpoint], NOW + EJECTION, (), (0, 0)) is endpoint
    assert not eject(endpoint, NOW + EJECTION)
    succeeded(endpoint)
    assert eject(endpoint, NOW + EJECTION)


def test_a_breaker_is_closed_then_open_then_half_open() -> None:
    endpoints = some(3)
    assert breakers(endpoints, NOW) == {"closed": 3, "open": 0, "half_open": 0}
    eject(endpoints[0], NOW)
    assert breakers(endpoints, NOW) == {"closed": 2, "open": 1, "half_open": 0}
    assert breakers(endpoints, NOW + EJECTION) == {"closed": 2, "open": 0, "half_open": 1}
    succeeded(endpoints[0])
    assert breakers(endpoints, NOW + EJECTION) == {"closed": 3, "open": 0, "half_open": 0}


def test_failures_in_a_row_eject_and_a_success_forgives() -> None:
    endpoint = some(1)[0]
    for _ in range(FAILURES_IN_A_ROW - 1):
        failed(endpoint, NOW)
    succeeded(endpoint)
    for _ in range(FAILURES_IN_A_ROW - 1):
        assert not failed(endpoint, NOW)
    assert usable([endpoint], NOW) == 1
    assert failed(endpoint, NOW)
    assert usable([endpoint], NOW) == 0


def test_the_last_resort_is_whoever_has_been_out_longest() -> None:
    first, second = some(2)
    eject(second, NOW)
    eject(first, NOW + 0.5)
    assert pick_ejected([first, second], ()) is second
    assert pick_ejected([first, second], (second,)) is first
    assert pick_ejected([first, second], (first, second)) is None
    assert second.address == "10.0.0.1:8001"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_that_is_full_is_not_picked(count: int) -> None:
    endpoints = some(count, open=3)
    assert pick(endpoints, NOW, (), (0.5, 0.5), most=3) is None
    assert pick(endpoints, NOW, (), (0.5, 0.5), most=4) is not None
    endpoints[-1].open = 2
    assert pick(endpoints, NOW, (), (0.0, 0.0), most=3) is endpoints[-1]


def test_nobody_asks_an_ejected_one_while_another_is_merely_full() -> None:
    out, full = some(2)
    eject(out, NOW)
    full.open = 3
    assert pick_ejected([out, full], (), most=3) is None
    assert pick_ejected([out, full], (full,), most=3) is out


def flap(endpoint: Endpoint, now: float) -> float:
    """It fails, is tried once, answers, and fails again; how long it stays out then."""
    eject(endpoint, now)
    out = endpoint.out_until - now
    succeeded(endpoint)
    return out


def test_one_that_comes_and_goes_stays_out_for_longer_each_time_up_to_a_bound() -> None:
    endpoint, now, outs = some(1)[0], NOW, []
    for _ in range(7):
        outs.append(flap(endpoint, now))
        now += outs[-1] + 1
    assert outs == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_has_been_well_for_a_while_goes_out_as_if_for_the_first_time() -> None:
    endpoint = some(1)[0]
    for _ in range(3):
        flap(endpoint, NOW)
    back = endpoint.was_out_until
    assert flap(endpoint, back + REMEMBERED) == EJECTION


def test_a_trial_that_fails_does_not_lengthen_its_interval_twice() -> None:
    endpoint = some(1)[0]
    eject(endpoint, NOW)
    assert pick([endpoint], NOW + EJECTION, (), (0, 0)) is endpoint
    until = endpoint.out_until
    eject(endpoint, NOW + EJECTION)
    assert endpoint.out_until == until == NOW + 3 * EJECTION


def test_a_trial_that_takes_longer_than_its_interval_to_fail_is_followed_by_one_of_the_same_length() -> None:
    endpoint = some(1)[0]
    eject(endpoint, NOW)
    assert pick([endpoint], NOW + EJECTION, (), (0, 0)) is endpoint
    late = NOW + 10 * EJECTION
    eject(endpoint, late)
    assert endpoint.out_until == late + 2 * EJECTION


def test_nothing_is_remembered_of_one_that_was_not_to_blame() -> None:
    endpoint = some(1)[0]
    eject(endpoint, NOW)
    acquitted(endpoint)
    assert (usable([endpoint], NOW), flap(endpoint, NOW)) == (1, EJECTION)
