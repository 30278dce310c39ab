"""Variant and endpoint of one dispatch."""

import pytest

from tests.gateway.worlds import CANARY, STABLE, entry_of, variant_of
from understudy.gateway.policy import choose
from understudy.gateway.policy.balance import eject
from understudy.gateway.policy.choose import Pins, choose_endpoint, choose_variant
from understudy.gateway.table import Entry, Variant

NOW = 1000.0
FIRST, LAST = 0, 2**64 - 1


def canary(weight: int = 50) -> Entry:
    return entry_of({STABLE: 100 - weight, CANARY: weight}, {STABLE: [1, 2], CANARY: [3, 4]})


def chosen(entry: Entry, variant: Variant, *, desperate: bool = False) -> tuple[str, int] | None:
    found = choose_endpoint(entry, variant, NOW, (), (0.1, 0.1), desperate=desperate)
    return None if found is None else (found[0].revision, found[1].port)


def test_the_candidates_share_comes_first() -> None:
    assert choose_variant(canary(), FIRST, Pins()).revision == CANARY
    assert choose_variant(canary(), LAST, Pins()).revision == STABLE


def test_a_pinned_conversation_stays_on_stable() -> None:
    entry, pins = canary(), Pins()
    pins.add(entry, FIRST)
    assert choose_variant(entry, FIRST, pins).revision == STABLE
    assert choose_variant(entry, FIRST + 1, pins).revision == CANARY


def test_pins_hold_through_the_steps_of_a_rollout_and_end_with_it() -> None:
    pins = Pins()
    pins.add(canary(10), FIRST)
    assert pins.holds(canary(50), FIRST)
    later = entry_of({STABLE: 50, CANARY: 50}, salt="bbbbbbbb")
    assert not pins.holds(later, FIRST)
    pins.add(later, LAST)
    assert not pins.holds(later, FIRST)
    assert pins.holds(later, LAST)


def test_pins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_MAX_PINS", 2)
    entry, pins = canary(), Pins()
    for where in (1, 2, 3):
        pins.add(entry, where)
    assert [pins.holds(entry, where) for where in (1, 2, 3)] == [False, True, True]


def test_a_candidate_without_stable_keeps_its_conversations() -> None:
    entry, pins = entry_of({STABLE: 100}), Pins()
    pins.add(entry, FIRST)
    assert choose_variant(entry, FIRST, pins).revision == STABLE


def test_an_endpoint_of_the_variant_is_taken_while_there_is_one() -> None:
    entry = canary()
    candidate = variant_of(entry, CANARY)
    assert chosen(entry, candidate) in ((CANARY, 3), (CANARY, 4))
    eject(candidate.endpoints[0], NOW)
    assert chosen(entry, candidate) == (CANARY, 4)


def test_a_candidate_without_endpoints_falls_to_stable() -> None:
    entry = canary()
    candidate = variant_of(entry, CANARY)
    for endpoint in candidate.endpoints:
        eject(endpoint, NOW)
    assert chosen(entry, candidate) in ((STABLE, 1), (STABLE, 2))


def test_stable_never_falls_to_the_candidate() -> None:
    entry = canary()
    stable = variant_of(entry, STABLE)
    for endpoint in stable.endpoints:
        eject(endpoint, NOW)
    assert chosen(entry, stable) is None


def test_the_desperate_ask_even_ejected_endpoints_of_stable() -> None:
    entry = canary()
    for variant in entry.variants:
        for endpoint in variant.endpoints:
            eject(endpoint, NOW)
    assert chosen(entry, variant_of(entry, CANARY)) is None
    assert chosen(entry, variant_of(entry, CANARY), desperate=True) == (STABLE, 1)
    assert chosen(entry, variant_of(entry, STABLE), desperate=True) == (STABLE, 1)


def test_nobody_is_chosen_from_nobody() -> None:
    entry = entry_of({STABLE: 50, CANARY: 50}, {})
    assert chosen(entry, variant_of(entry, CANARY), desperate=True) is None
