"""Variant and endpoint of one dispatch."""

import pytest

from tests.gateway.worlds import CANARY, STABLE, entry_of, variant_of
from understudy.gateway.policy import choose
from understudy.gateway.policy.balance import eject
from understudy.gateway.policy.choose import (
    NO_CANDIDATE,
    Pins,
    asks_for_candidate,
    choose_candidate,
    choose_endpoint,
    choose_variant,
)
from understudy.gateway.policy.keys import EVERYBODY, AccessKey
from understudy.gateway.policy.refusal import Refusal
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


def key(*, chooses: bool) -> AccessKey:
    return AccessKey("0" * 64, frozenset("*"), frozenset("*"), chooses=chooses)


@pytest.mark.parametrize("value", [b"candidate", b"Candidate"])
def test_a_key_with_the_right_asks_for_the_candidate_by_header(value: bytes) -> None:
    assert asks_for_candidate(value, key(chooses=True)) is True
    assert asks_for_candidate(None, key(chooses=True)) is False


@pytest.mark.parametrize("asker", [key(chooses=False), EVERYBODY])
def test_without_the_right_the_header_is_refused_not_passed_over(asker: AccessKey) -> None:
    refused = asks_for_candidate(b"candidate", asker)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code, refused.final) == (403, "variant_not_allowed", True)
    assert asks_for_candidate(None, asker) is False


@pytest.mark.parametrize("value", [b"", b"stable", b"candidate, candidate", b"a90b1234"])
def test_no_other_variant_can_be_asked_for(value: bytes) -> None:
    refused = asks_for_candidate(value, key(chooses=True))
    assert isinstance(refused, Refusal)
    assert refused.status == 400


def test_the_candidate_can_be_asked_before_it_has_a_share() -> None:
    found = choose_candidate(canary(0), NOW, (), (0.1, 0.1))
    assert isinstance(found, tuple)
    assert found[0].revision == CANARY


def test_who_asks_for_the_candidate_is_never_given_stable() -> None:
    entry = canary(0)
    for endpoint in variant_of(entry, CANARY).endpoints:
        eject(endpoint, NOW)
    assert choose_candidate(entry, NOW, (), (0.1, 0.1)) is None
    assert choose_candidate(entry_of({STABLE: 100}), NOW, (), (0.1, 0.1)) is NO_CANDIDATE
