"""Nobody in a crisis is locked out, whatever comes in whatever order, and a faked one is not free use."""

import functools
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.engagement.crisis import (
    ALLOWANCE_PERIOD,
    STAYS,
    Allowance,
    Crisis,
    Refusal,
    active,
    answer,
    clear,
    is_sign,
    merged,
    sign,
    until,
)

DAY = 86_400.0
ALL: frozenset[Refusal] = frozenset({"cool_down", "session_block", "rate", "budget"})
Told = tuple[Literal["sign", "clear"], float]
TOLD = st.tuples(st.sampled_from(["sign", "clear"]), st.integers(0, 400).map(lambda quarters: quarters * 900.0))


def after(*told: Told) -> Crisis:
    return functools.reduce(lambda crisis, one: (sign if one[0] == "sign" else clear)(crisis, one[1]), told, Crisis())


@pytest.mark.parametrize(("severity", "expected"), [(0, False), (2, False), (4, True), (6, True)])
def test_a_finding_of_medium_severity_is_a_sign(severity: int, expected: bool) -> None:
    assert is_sign(severity) is expected


def test_it_lasts_a_day_after_the_last_sign() -> None:
    crisis = after(("sign", 0.0), ("sign", 100.0))
    assert until(crisis) == 100 + DAY
    assert active(crisis, 99 + DAY)
    assert not active(crisis, 100 + DAY)


def test_it_ends_when_somebody_says_so_and_begins_with_the_next_sign() -> None:
    assert not active(Crisis(), 0)
    assert until(Crisis()) is None
    assert not active(after(("sign", 5.0), ("clear", 6.0)), 7)
    assert active(after(("sign", 5.0), ("clear", 6.0), ("sign", 7.0)), 8)
    assert active(after(("clear", 5.0), ("sign", 5.0)), 6)


@given(st.lists(TOLD, max_size=8).flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))), st.data())
def test_it_does_not_matter_who_knew_what_when(orders: tuple[list[Told], list[Told]], data: st.DataObject) -> None:
    told, other = orders
    crisis = after(*told)
    assert after(*other) == after(*told, *told) == crisis
    cut = data.draw(st.integers(0, len(told)))
    assert merged(after(*told[:cut]), after(*told[cut:])) == crisis
    assert merged(after(*told[cut:]), after(*told[:cut])) == crisis


@given(st.lists(TOLD, max_size=8), st.integers(0, 500))
def test_it_is_active_for_a_day_after_every_sign_that_nobody_cleared(told: list[Told], quarters: int) -> None:
    now = quarters * 900.0
    cleared = max((at for kind, at in told if kind == "clear"), default=-1.0)
    expected = any(kind == "sign" and at >= cleared and now < at + STAYS for kind, at in told)
    assert active(after(*told), now) is expected


@dataclass
class Door:
    """One key, and what its requests got."""

    limit: int
    spent: Allowance = field(default_factory=Allowance)

    def ask(self, in_crisis: bool, refusals: frozenset[Refusal], now: float) -> str:
        got, self.spent = answer(in_crisis, refusals, self.spent, self.limit, now)
        return got


def test_refusals_are_suspended_up_to_the_allowance_and_then_there_is_the_referral() -> None:
    door = Door(2)
    assert door.ask(False, ALL, 0) == "refuse"
    assert [door.ask(True, ALL, 1) for _ in range(3)] == ["serve", "serve", "refer"]
    assert door.ask(True, frozenset(), 2) == "serve"
    assert door.ask(False, frozenset({"budget"}), 2) == "refuse"
    assert door.ask(True, ALL, 1 + DAY) == "serve"


def test_with_no_allowance_there_is_the_referral_at_once() -> None:
    assert Door(0).ask(True, frozenset({"rate"}), 0) == "refer"


REQUESTS = st.lists(
    st.tuples(st.booleans(), st.frozensets(st.sampled_from(sorted(ALL))), st.integers(0, 30_000)), max_size=40
)


@given(REQUESTS, st.integers(0, 5))
def test_nobody_in_a_crisis_is_refused_and_no_key_gets_more_than_its_allowance(
    requests: list[tuple[bool, frozenset[Refusal], int]], limit: int
) -> None:
    door, now, given_away = Door(limit), 0.0, list[float]()
    for in_crisis, refusals, gap in requests:
        now += gap
        got = door.ask(in_crisis, refusals, now)
        assert (got == "refuse") == (bool(refusals) and not in_crisis)
        assert got == "serve" or refusals
        if got == "serve" and refusals:
            given_away.append(now)
    # Periods begin with their first use, so two of them may touch.
    for at in given_away:
        assert sum(at <= other < at + ALLOWANCE_PERIOD for other in given_away) <= 2 * limit
