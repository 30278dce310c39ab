"""When a request is tried again, where, and when it is given up."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.state import ERROR_KINDS
from understudy.gateway.policy.balance import Endpoint
from understudy.gateway.policy.retry import (
    CHARGED,
    FLOOR_PER_SECOND,
    MAX_CONNECTS,
    MAX_SENT,
    POISON_SECONDS,
    POISONED,
    Course,
    Failure,
    Poisons,
    RetryBudget,
    Step,
    ends_connection,
    gave_up,
    next_step,
    rationed,
)

FAILURES: tuple[Failure, ...] = get_args(Failure)


def endpoint(port: int = 1) -> Endpoint:
    return Endpoint("10.0.0.1", port)


def after(*failures: Failure, on_candidate: bool = False) -> Step:
    """The step after the last of these failures, each at an endpoint of its own."""
    course = Course()
    steps = [next_step(course, f, endpoint(i), on_candidate=on_candidate) for i, f in enumerate(failures)]
    return steps[-1]


def test_a_refused_connection_is_free() -> None:
    assert after("connect") is Step.ANOTHER
    many: list[Failure] = ["connect"] * MAX_CONNECTS
    assert after(*many[1:]) is Step.ANOTHER
    assert after("connect", on_candidate=True) is Step.ANOTHER
    assert after(*many) is Step.GIVE_UP


def test_a_stale_connection_is_free_and_tried_anew() -> None:
    assert after("stale") is Step.SAME
    assert after("stale", "stale", "stale") is Step.SAME
    assert after("stale", "killed") is Step.ANOTHER


@pytest.mark.parametrize("failure", ["killed", "broken", "status", "timeout", "malformed"])
def test_after_bytes_were_sent_there_is_one_more_attempt(failure: Failure) -> None:
    assert after(failure) is Step.ANOTHER
    assert after(failure, "status") is Step.GIVE_UP
    assert after("status", failure) is Step.GIVE_UP


@pytest.mark.parametrize("failure", ["killed", "broken", "status", "timeout", "malformed"])
def test_what_a_candidate_got_and_failed_goes_to_stable(failure: Failure) -> None:
    assert after(failure, on_candidate=True) is Step.STABLE


@pytest.mark.parametrize(("first", "second"), [("killed", "killed"), ("killed", "broken"), ("broken", "killed")])
def test_a_request_that_ended_two_engines_is_poison(first: Failure, second: Failure) -> None:
    assert after(first, second) is Step.POISON


def test_an_engine_that_cannot_be_reached_after_a_stale_connection_was_ended_by_the_request() -> None:
    course, one, two = Course(), endpoint(1), endpoint(2)
    assert next_step(course, "stale", one, on_candidate=True) is Step.SAME
    assert next_step(course, "connect", one, on_candidate=True) is Step.STABLE
    assert next_step(course, "stale", two, on_candidate=False) is Step.SAME
    assert next_step(course, "connect", two, on_candidate=False) is Step.POISON


def test_tried_endpoints_are_remembered_but_for_stale_ones() -> None:
    course, one = Course(), endpoint()
    next_step(course, "stale", one, on_candidate=False)
    assert one not in course.tried
    next_step(course, "status", one, on_candidate=False)
    assert one in course.tried


@pytest.mark.parametrize("failure", [f for f in FAILURES if f not in ("connect", "stale")])
def test_a_request_whose_time_is_over_is_not_tried_again(failure: Failure) -> None:
    course = Course()
    course.give_up()
    assert next_step(course, failure, endpoint(), on_candidate=True) is Step.GIVE_UP


@given(st.lists(st.tuples(st.sampled_from(FAILURES), st.booleans()), min_size=1, max_size=40))
def test_every_course_ends(failures: list[tuple[Failure, bool]]) -> None:
    course = Course()
    sent = 0
    for i, (failure, on_candidate) in enumerate(failures):
        step = next_step(course, failure, endpoint(i), on_candidate=on_candidate)
        sent += failure not in ("connect", "stale")
        if step in (Step.GIVE_UP, Step.POISON):
            break
        assert sent < MAX_SENT
    assert sent <= MAX_SENT


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_a_charge_and_an_answer(failure: Failure) -> None:
    assert CHARGED[failure] in ERROR_KINDS
    assert gave_up(failure).status in (502, 503, 504)
    assert not (rationed(failure) and ends_connection(failure))


def test_poison_is_final() -> None:
    assert (POISONED.status, POISONED.final) == (502, True)


class TestBudget:
    def test_it_never_falls_below_ten_a_second(self) -> None:
        budget = RetryBudget()
        taken = sum(budget.take(1000.0) for _ in range(1000))
        assert taken == FLOOR_PER_SECOND * 10

    def test_it_is_a_fifth_of_many_requests(self) -> None:
        budget = RetryBudget()
        for _ in range(10_000):
            budget.request(1000.0)
        assert sum(budget.take(1000.5) for _ in range(5000)) == 2000

    def test_it_comes_back_with_time(self) -> None:
        budget = RetryBudget()
        while budget.take(1000.0):
            pass
        assert not budget.take(1009.9)
        assert budget.take(1010.0)

    def test_old_requests_are_forgotten(self) -> None:
        budget = RetryBudget()
        for _ in range(10_000):
            budget.request(1000.0)
        budget.request(1030.0)
        assert sum(budget.take(1030.0) for _ in range(5000)) == FLOOR_PER_SECOND * 10


class TestPoisons:
    def test_they_are_remembered_for_a_minute(self) -> None:
        poisons = Poisons()
        assert not poisons
        poisons.add(b"a", 10.0)
        poisons.add(b"b", 40.0)
        assert poisons
        assert poisons.holds(b"a", 10.0 + POISON_SECONDS - 1)
        assert not poisons.holds(b"c", 60.0)
        assert not poisons.holds(b"a", 10.0 + POISON_SECONDS)
        assert poisons.holds(b"b", 10.0 + POISON_SECONDS)
        assert not poisons.holds(b"b", 500.0)
        assert not poisons

    def test_a_second_time_starts_the_minute_again(self) -> None:
        poisons = Poisons()
        poisons.add(b"a", 10.0)
        poisons.add(b"b", 11.0)
        poisons.add(b"a", 30.0)
        assert poisons.holds(b"a", 85.0)
        assert not poisons.holds(b"b", 85.0)

    def test_their_number_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("understudy.gateway.policy.retry._MAX_POISONS", 2)
        poisons = Poisons()
        for digest in (b"a", b"b", b"c"):
            poisons.add(digest, 1.0)
        assert [poisons.holds(d, 2.0) for d in (b"a", b"b", b"c")] == [False, True, True]
