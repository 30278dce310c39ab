"""A purse: what it lets through at once, what it asks when, and that nothing it does not hear of is spent twice."""

import itertools
import math
from collections.abc import Callable

import pytest

from understudy.gateway.policy.budget import HIGHEST_MONEY, Budget
from understudy.gateway.policy.purse import AHEAD, IDLE, PATIENCE, REPORT, Hold, Lease, Purse, Question

BUDGET = Budget("a/b", 100_000, "day")


class Asking:
    """A purse whose last question the test need not name again."""

    def __init__(self, made: Purse) -> None:
        self.purse = made
        self.hold, self.pay, self.failed = made.hold, made.pay, made.failed
        self.asked = Question("none", 0)

    def question(self, now: float, first: int, total: int) -> Question | None:
        asked = self.purse.question(now, first, total)
        self.asked = asked or self.asked
        return asked

    def granted(self, fence: int, granted: int, seconds: float, free: int, now: float) -> None:
        self.purse.granted(self.asked, fence, granted, seconds, free, now)

    def ended(self) -> None:
        self.purse.ended(self.asked)

    def refused(self, *, unknown: bool) -> None:
        self.purse.refused(self.asked, unknown=unknown)


def purse(budget: Budget = BUDGET, now: float = 0.0) -> Asking:
    return Asking(Purse(budget, ids(), now))


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"lease-{next(numbers)}"


def held(p: Asking, need: int, now: float) -> Hold:
    found = p.hold(need, now)
    assert isinstance(found, Hold)
    return found


def leased(amount: int = 1_000, now: float = 0.0, budget: Budget = BUDGET) -> Asking:
    """A purse with a lease of `amount`, taken at `now`."""
    p = purse(budget, now)
    assert p.question(now, amount, amount) is not None
    p.granted(1, amount, 60, 50_000, now)
    return p


def test_the_first_request_waits_for_a_lease_and_the_next_ones_do_not() -> None:
    p = purse()
    assert p.question(0, 0, 0) is None
    assert p.hold(200, 0) == "wait"
    assert p.question(0, 200, 500) == Question("lease-1", spent=0, need=200, want=1_100)
    # One question at a time.
    assert p.question(0, 200, 500) is None
    p.granted(1, 1_100, 60, 98_900, 0.01)
    first = held(p, 200, 0.01)
    assert p.hold(900, 0.01) == Hold(first.lease, 900)
    assert p.hold(1, 0.01) == "wait"


def test_what_a_request_did_not_use_is_there_for_the_next() -> None:
    p = leased()
    first = held(p, 1_000, 1)
    p.pay(first, 300, 2)
    second = held(p, 700, 2)
    # What is used beyond what was held is a debt.
    p.pay(second, 900, 3)
    assert p.hold(1, 3) == "wait"
    asked = p.question(3, 50, 50)
    assert asked == Question("lease-1", spent=1_200, fence=1, keep=1_000, need=250, want=400)


def test_it_asks_for_what_is_used_in_ten_seconds_before_it_runs_out() -> None:
    p = leased()
    p.pay(held(p, 600, 1), 600, 14)
    # So far nothing is known of how fast it goes.
    assert p.question(14, 0, 0) is None
    asked = p.question(REPORT, 0, 0)
    assert asked == Question("lease-1", spent=600, fence=1, keep=1_000)
    p.granted(2, 1_000, 60, 50_000, REPORT)
    # 40 a second: 400 are there, and below 120 it asks for more.
    p.pay(held(p, 280, REPORT), 280, REPORT)
    assert p.question(REPORT + PATIENCE, 0, 0) is None
    p.pay(held(p, 1, REPORT), 1, REPORT)
    assert p.question(REPORT + PATIENCE / 2, 0, 0) is None
    asked = p.question(REPORT + PATIENCE, 0, 0)
    assert asked == Question("lease-1", spent=881, fence=2, keep=1_000, want=400 - 119)


def test_questions_that_follow_each_other_fast_do_not_look_like_much_use() -> None:
    p = leased()
    p.pay(held(p, 100, 0.01), 100, 0.01)
    p.question(0.01, 1_000, 1_000)
    p.granted(2, 2_000, 60, 50_000, 0.02)
    p.question(PATIENCE + 1, 5_000, 5_000)
    # 100 in a hundredth of a second count as 100 a second.
    p.granted(3, 6_000, 60, 50_000, 1.1)
    asked = p.question(REPORT + 2, 0, 0)
    assert asked is not None
    assert asked.want == 0
    p.granted(4, 100, 60, 50_000, REPORT + 2)
    later = p.question(REPORT + 4, 0, 0)
    assert later is not None
    assert later.want <= 100 * AHEAD


def test_a_rate_that_falls_is_forgotten_by_halves() -> None:
    p = leased(1_000)
    p.pay(held(p, 1_000, 1), 1_000, 10)
    p.question(10, 100, 100)
    p.granted(2, 5_000, 60, 50_000, 10)
    for n, rate in enumerate((50, 25, 13)):
        now = 10 + REPORT * (n + 1)
        p.pay(held(p, 1, now), 0, now)
        p.question(now, 0, 0)
        p.granted(3 + n, 5_000, 60, 50_000, now)
        assert math.ceil(p.purse._rate) == rate


def test_what_is_not_to_be_had_is_refused_at_once_for_a_second() -> None:
    p = leased(300)
    assert p.hold(500, 1) == "wait"
    p.question(1, 500, 500)
    p.granted(2, 300, 60, 150, 1.01)
    assert p.hold(500, 1.02) == "exhausted"
    # What needs less may be had yet.
    assert p.hold(450, 1.02) == "wait"
    assert isinstance(p.hold(300, 1.02), Hold)
    assert p.hold(500, 1.02 + PATIENCE) == "wait"


def test_the_answer_to_a_question_before_is_no_refusal_of_this_one() -> None:
    p = purse()
    p.question(0, 100, 100)
    p.failed(2)
    p.question(3, 500, 500)
    p.granted(1, 400, 60, 90_000, 3)
    assert p.hold(500, 3) == "wait"
    assert p.question(3, 500, 500) == Question("lease-1", spent=0, fence=1, keep=400, need=100, want=1_600)


def test_a_lease_is_spent_no_longer_than_it_lasts_from_the_asking() -> None:
    p = purse()
    p.question(10, 100, 100)
    p.granted(1, 1_000, 60, 50_000, 15)
    open_one = held(p, 100, 69.9)
    assert p.hold(100, 70) == "wait"
    # A new one; the old one is ended when its request is.
    assert p.question(70, 100, 100) == Question("lease-2", spent=0, need=100, want=400)
    p.granted(1, 400, 60, 50_000, 70)
    assert p.question(71, 0, 0) is None
    p.pay(open_one, 70, 80)
    assert p.question(80, 0, 0) == Question("lease-1", spent=70, last=True)
    p.ended()
    assert not p.purse.empty


def test_an_answer_that_comes_after_the_lease_is_over_is_of_no_use() -> None:
    p = leased()
    p.question(59, 2_000, 2_000)
    assert p.hold(2_000, 60) == "wait"
    p.granted(2, 3_000, 60, 50_000, 60.5)
    assert p.hold(500, 60.5) == "wait"
    assert p.question(60.5, 500, 500) == Question("lease-1", spent=0, last=True)


def test_a_lease_that_nobody_uses_goes_back() -> None:
    p = leased()
    p.pay(held(p, 500, 1), 200, 2)
    assert p.question(2 + IDLE - 0.1, 0, 0) is None
    assert p.question(2 + IDLE, 0, 0) == Question("lease-1", spent=200, last=True)
    p.ended()
    assert p.purse.empty


def test_a_lease_that_a_long_answer_holds_is_kept_up() -> None:
    p = leased()
    held(p, 500, 1)
    assert p.question(2 + IDLE, 0, 0) is None
    assert p.question(REPORT, 0, 0) == Question("lease-1", spent=0, held=500, fence=1, keep=1_000)


def test_who_leaves_gives_back_what_is_not_held_and_ends_when_that_is_paid() -> None:
    p = leased()
    open_one = held(p, 300, 1)
    p.purse.leaving = True
    assert p.question(1, 0, 0) == Question("lease-1", spent=0, held=300, fence=1, keep=300)
    p.granted(2, 300, 60, 50_000, 1)
    assert p.question(1, 0, 0) is None
    # Somebody comes in the time that is left for coming.
    assert p.question(1.5, 80, 80) == Question("lease-1", spent=0, held=300, fence=2, keep=300, need=80, want=80)
    p.granted(3, 380, 60, 50_000, 1.5)
    second = held(p, 80, 1.5)
    p.pay(open_one, 250, 3)
    p.pay(second, 80, 3)
    assert p.question(3, 0, 0) == Question("lease-1", spent=330, last=True)
    p.ended()
    assert p.purse.empty


def test_while_the_ledger_is_away_what_is_leased_is_spent_and_then_nothing() -> None:
    p = leased(500)
    for now in (1.0, 2.0, 4.0):
        assert p.question(now, 600, 600) is not None
        p.failed(now)
        assert p.question(now, 600, 600) is None
    assert p.purse.away
    assert p.hold(600, 5) == "away"
    assert isinstance(p.hold(500, 5), Hold)
    assert p.question(6, 600, 600) is not None
    p.granted(2, 1_100, 60, 50_000, 6)
    assert isinstance(p.hold(600, 6), Hold)


def test_a_single_question_without_an_answer_is_an_accident() -> None:
    p = purse()
    p.question(0, 100, 100)
    p.failed(0.5)
    assert p.hold(100, 0.5) == "wait"
    assert p.question(0.55, 100, 100) is None
    assert p.question(0.6, 100, 100) == Question("lease-1", spent=0, need=100, want=400)


def test_a_ledger_that_stays_away_is_asked_every_two_seconds() -> None:
    p = purse()
    now, waits = 0.0, []
    for _ in range(20):
        failed = now
        while p.question(now, 100, 100) is None:
            now += 0.125
        waits.append(now - failed)
        p.failed(now)
    assert waits[:7] == [0.0, 0.125, 0.25, 0.5, 0.875, 1.625, 2.0]
    assert max(waits) == 2.0


def test_who_may_go_on_without_the_ledger_tells_it_afterwards() -> None:
    p = purse(Budget("a/b", 1_000, "day", allow=True))
    for now in (0.0, 1.0, 2.0):
        p.question(now, 100, 100)
        p.failed(now)
    trusted = held(p, 100, 3)
    assert trusted.lease is None
    p.pay(trusted, 90, 4)
    assert not p.purse.empty
    # It is told though nobody waits for anything.
    assert p.question(5, 0, 0) == Question("lease-1", spent=90, want=90)
    p.granted(1, 90, 60, 910, 5)
    assert p.question(5 + IDLE, 0, 0) == Question("lease-1", spent=90, last=True)
    p.ended()
    assert p.purse.empty


def test_no_more_is_told_than_the_ledger_has_numbers_for() -> None:
    p = purse(Budget("a/b", 1_000, "day", allow=True))
    for _ in range(2):
        p.pay(Hold(None, 10**18), 10**18, 0)
    assert p.question(0, 0, 0) == Question("lease-1", spent=HIGHEST_MONEY, want=1_000)
    p.granted(1, 0, 60, 0, 0)
    assert p.question(IDLE, 0, 0) == Question("lease-1", spent=HIGHEST_MONEY, last=True)


def test_what_was_spent_on_trust_is_told_even_when_there_is_no_lease_left() -> None:
    p = purse(Budget("a/b", 1_000, "day", allow=True))
    p.pay(Hold(None, 100), 40, 0)
    assert p.question(0, 0, 0) == Question("lease-1", spent=40, want=40)


def test_a_lease_that_the_ledger_ended_is_replaced() -> None:
    p = leased()
    open_one = held(p, 400, 1)
    p.question(1, 2_000, 2_000)
    p.refused(unknown=False)
    assert p.hold(100, 1) == "wait"
    p.pay(open_one, 400, 2)
    assert p.question(2, 100, 100) == Question("lease-1", spent=400, last=True)
    p.refused(unknown=False)
    assert p.question(2, 100, 100) == Question("lease-2", spent=0, need=100, want=400)


def test_a_ledger_that_lost_its_memory_is_told_what_was_spent() -> None:
    p = leased()
    p.pay(held(p, 400, 1), 400, 1)
    p.question(2, 2_000, 2_000)
    p.refused(unknown=True)
    assert p.question(2, 100, 100) == Question("lease-1", spent=400, last=True)
    p.refused(unknown=True)
    assert p.question(2, 100, 100) == Question("lease-2", spent=400, need=500, want=800)


def test_a_lease_that_ended_while_it_was_asked_about_is_not_ended_twice() -> None:
    p = leased()
    p.question(59, 2_000, 2_000)
    p.hold(2_000, 61)
    p.refused(unknown=False)
    assert p.question(61, 0, 0) == Question("lease-1", spent=0, last=True)
    p.ended()
    assert p.purse.empty


@pytest.mark.parametrize(("granted", "spent", "held_", "free"), [(10, 3, 4, 3), (10, 12, 4, -6)])
def test_what_is_free_may_be_less_than_nothing(granted: int, spent: int, held_: int, free: int) -> None:
    assert Lease("x", granted, spent, held_).free == free


def test_what_is_more_than_the_whole_budget_is_asked_for_as_if_it_were_one_more_than_that() -> None:
    p = purse(Budget("a/b", 100, "day"))
    asked = p.question(0.0, 10**30, 10**31)
    assert asked is not None
    assert (asked.need, asked.want) == (101, 101)
    p.granted(1, 0, 60, 100, 0.1)
    assert p.hold(10**30, 0.2) == "exhausted"
