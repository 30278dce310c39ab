"""What keys have used: never more than was promised, all of that, and nobody refused who keeps below it."""

import heapq
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.demand import NOTHING, Demand
from understudy.gateway.policy.keys import EVERYBODY, AccessKey
from understudy.gateway.policy.limits import RateLimits
from understudy.gateway.policy.meters import FIRST_SECONDS, HELD_SECONDS, LONGEST_RETRY_AFTER, Lease, Meter, Meters
from understudy.gateway.policy.refusal import Refusal

# Late enough that what was in a bucket at the gateway's start makes no difference.
LATER = 60.0


def meter(requests: int = 0, tokens: int = 0, gateways: int = 1, began: float = 0.0) -> Meter:
    return Meter(RateLimits(requests, tokens), gateways, began)


def prompt(tokens: int) -> Demand:
    return Demand(tokens, 0)


def lease(found: Lease | Refusal | None) -> Lease:
    assert isinstance(found, Lease), found
    return found


def refused(found: Lease | Refusal | None) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def admitted(made: Meter, now: float, demand: Demand = NOTHING) -> bool:
    return not isinstance(made.admit(demand, now), Refusal)


def spend(made: Meter, tokens: int, now: float) -> None:
    """Use exactly so many tokens."""
    lease(made.admit(prompt(tokens), now)).settle((tokens, 0), 0, now, whole=True)


def left(made: Meter, now: float, kind: str = "tokens") -> int:
    fields = dict(line.split(": ") for line in made.fields(now).decode().split("\r\n") if line)
    return int(fields[f"x-ratelimit-remaining-{kind}"])


@pytest.mark.parametrize("limit", [1, 3, 7, 60, 999])
def test_a_minutes_worth_may_come_at_once_and_not_one_more(limit: int) -> None:
    made = meter(requests=limit)
    assert sum(admitted(made, LATER + 0.1) for _ in range(limit + 5)) == limit


@pytest.mark.parametrize(
    ("limit", "gateways", "at_once", "seconds"),
    [(60, 1, 60, 1), (60, 2, 30, 2), (7, 1, 7, 9), (7, 3, 2, 18), (120, 1, 120, 1), (1, 1, 1, 60), (2, 3, 1, 90)],
)
def test_a_gateway_gives_out_its_part_and_says_when_there_is_more(
    limit: int, gateways: int, at_once: int, seconds: int
) -> None:
    made, now = meter(requests=limit, gateways=gateways), 300.0
    assert sum(admitted(made, now) for _ in range(limit + 5)) == at_once
    refusal = refused(made.admit(NOTHING, now))
    assert f"come again in {seconds} s" in refusal.message
    # Official clients heed no more than a minute.
    assert refusal.retry_after == min(seconds, LONGEST_RETRY_AFTER)
    assert admitted(made, now + seconds)


def test_who_comes_a_moment_too_early_is_refused() -> None:
    made = meter(requests=1)
    assert [admitted(made, now) for now in (60.0, 119.999, 120.0)] == [True, False, True]


@pytest.mark.parametrize(("limit", "gateways"), [(7, 1), (10, 3), (1000, 7)])
def test_over_an_hour_exactly_the_limit_gets_in(limit: int, gateways: int) -> None:
    made, hour = meter(requests=limit, gateways=gateways), 3600
    got_in = sum(admitted(made, LATER + step / 4) for step in range(hour * 4 + 1) for _ in range(2))
    most = limit / gateways * 61
    assert min(most, 2 * (hour * 4 + 1)) - 1 <= got_in <= most


@pytest.mark.parametrize(
    ("limit", "gateways", "at_once"), [(60, 1, 10), (60, 2, 5), (600, 1, 100), (7, 1, 1), (1, 1, 1), (1, 3, 1)]
)
def test_a_gateway_that_starts_gives_out_ten_seconds_worth_but_one_in_any_case(
    limit: int, gateways: int, at_once: int
) -> None:
    made = meter(requests=limit, gateways=gateways, began=1000.0)
    assert sum(admitted(made, 1000.0) for _ in range(limit + 5)) == at_once
    full = meter(requests=limit, gateways=gateways, began=1000.0)
    assert sum(admitted(full, 1180.0) for _ in range(limit + 5)) == max(1, limit // gateways)


def test_restarts_give_no_more_than_ten_seconds_worth_each() -> None:
    got_in = 0
    for start in range(0, 600, 30):
        made = meter(requests=60, began=float(start))
        got_in += sum(admitted(made, start + second) for second in range(30) for _ in range(60))
    assert got_in == 20 * (FIRST_SECONDS + 29)


def test_a_refused_request_takes_nothing() -> None:
    made = meter(requests=10, tokens=100)
    held = lease(made.admit(prompt(100), LATER))
    assert [refused(made.admit(prompt(50), LATER)).retry_after for _ in range(3)] == [30, 30, 30]
    assert (left(made, LATER), left(made, LATER, "requests")) == (0, 9)
    held.release(LATER)
    assert left(made, LATER) == 100


def test_of_two_limits_the_later_one_says_when_to_come_again() -> None:
    made = meter(requests=1, tokens=60)
    made.admit(prompt(30), LATER)
    assert refused(made.admit(prompt(31), LATER)) == Refusal(
        429, "rate_limit_exceeded", "this access key has 1 requests a minute: come again in 60 s", retry_after=60
    )
    made = meter(requests=60, tokens=60)
    spend(made, 60, LATER)
    refusal = refused(made.admit(prompt(60), LATER))
    assert (refusal.message, refusal.retry_after) == ("this access key has 60 tokens a minute: come again in 60 s", 60)
    assert not refusal.terminal


def test_what_a_request_did_not_cost_comes_back() -> None:
    made = meter(tokens=1000)
    held = lease(made.admit(Demand(400, 600), LATER))
    assert refused(made.admit(prompt(1), LATER)).retry_after == 1
    assert held.settle((100, 50), 40, LATER, whole=True) is True
    assert left(made, LATER) == 850
    lease(made.admit(Demand(400, 0), LATER)).release(LATER)
    assert left(made, LATER) == 850


def test_who_has_cost_more_than_was_thought_pays_for_it_later() -> None:
    made = meter(tokens=600)
    assert lease(made.admit(prompt(600), LATER)).settle((600, 300), 1, LATER, whole=True)
    assert left(made, LATER) == 0
    assert refused(made.admit(prompt(1), LATER)).retry_after == 31


def test_a_cut_answer_is_marked_as_estimated() -> None:
    made = meter(tokens=1000)
    assert lease(made.admit(Demand(400, 600), LATER)).settle((100, 50), 7, LATER, whole=False) is False
    assert left(made, LATER) == 849


@pytest.mark.parametrize("count", [10**9, 2**63, 10**40])
def test_a_count_that_cannot_be_is_not_believed(count: int) -> None:
    made = meter(tokens=600)
    assert lease(made.admit(prompt(100), LATER)).settle((100, count), 1, LATER, whole=True) is False
    assert refused(made.admit(prompt(1), LATER)).message.endswith("come again in 11 s")


def test_what_is_held_does_not_come_back_by_time_so_that_nothing_comes_back_twice() -> None:
    made = meter(tokens=600)
    first = lease(made.admit(prompt(600), LATER))
    assert not admitted(made, LATER + 30, prompt(1))
    first.settle((10, 0), 0, LATER + 30, whole=True)
    # Only what was really used is missing, from now on.
    assert left(made, LATER + 30) == 590
    assert left(made, LATER + 31) == 600


def test_a_request_that_goes_on_for_long_counts_as_if_it_had_used_all_that_it_holds() -> None:
    made = meter(tokens=600)
    long = lease(made.admit(prompt(600), LATER))
    assert left(made, LATER + HELD_SECONDS - 0.1) == 0
    assert left(made, LATER + HELD_SECONDS + 30) == 300
    assert left(made, LATER + HELD_SECONDS + 60) == 600
    # What it used is paid for already; what it used beyond that is not.
    assert long.settle((400, 0), 0, LATER + 600, whole=True) is True
    assert left(made, LATER + 600) == 600
    longer = lease(made.admit(prompt(100), LATER + 600))
    longer.settle((150, 0), 0, LATER + 600 + HELD_SECONDS + 60, whole=True)
    assert left(made, LATER + 600 + HELD_SECONDS + 60) == 550


def test_of_several_long_requests_each_counts_from_its_own_time() -> None:
    made = meter(tokens=600)
    early, late = lease(made.admit(prompt(300), LATER)), lease(made.admit(prompt(300), LATER + 10))
    assert left(made, LATER + HELD_SECONDS + 20) == 300 - 300 + 200
    late.settle((0, 0), 0, LATER + HELD_SECONDS + 20, whole=True)
    early.settle((0, 0), 0, LATER + HELD_SECONDS + 20, whole=True)
    assert left(made, LATER + HELD_SECONDS + 20) == 200


def test_a_request_above_the_whole_limit_is_never_let_in_and_need_not_be_sent_again() -> None:
    made = meter(tokens=100, gateways=2)
    refusal = refused(made.admit(Demand(50, 51), LATER))
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "rate_limit_exceeded", 0)
    assert refusal.terminal
    assert refusal.message == (
        "this request may take 101 tokens (50 of what it says, counted in bytes, and 51 of the answer), and the access "
        "key has 100 a minute: shorten it, or lower max_tokens, n or best_of"
    )


def test_a_request_above_one_gateways_part_waits_for_all_of_it_and_the_next_waits_the_longer() -> None:
    made, now = meter(tokens=600, gateways=4), 600.0
    spend(made, 1, now)
    refusal = refused(made.admit(prompt(300), now))
    assert (refusal.message, refusal.retry_after) == (
        "this access key has 600 tokens a minute, and each of 4 gateways its part of them: come again in 1 s",
        1,
    )
    spend(made, 300, now + 1)
    # 300 of a part of 150 a minute: there is room for one more after a minute, and what that one takes.
    assert refused(made.admit(prompt(1), now + 1)).message.endswith("come again in 61 s")


def test_who_needs_no_tokens_does_not_wait_for_any() -> None:
    made = meter(tokens=100)
    spend(made, 100, LATER)
    assert made.admit(NOTHING, LATER) is None


@pytest.mark.parametrize(("limit", "change", "more"), [(10, 12, 2), (10, 10, 0), (10, 6, 0)])
def test_a_key_whose_limit_is_changed_keeps_what_it_has_taken(limit: int, change: int, more: int) -> None:
    made = meter(requests=limit)
    assert sum(admitted(made, LATER) for _ in range(limit)) == limit
    made.change(RateLimits(requests=change), 1, 0.0, LATER)
    assert sum(admitted(made, LATER) for _ in range(5)) == more


def test_a_debt_from_a_far_higher_limit_is_no_more_than_a_minutes_worth_of_the_new_one() -> None:
    made = meter(tokens=1_000_000)
    held = lease(made.admit(prompt(500_000), LATER))
    spend(made, 500_000, LATER)
    made.change(RateLimits(tokens=100), 1, 0.0, LATER)
    held.settle((50, 0), 0, LATER, whole=True)
    assert left(made, LATER + 30) == 0
    assert left(made, LATER + 90) == 100


def test_time_before_a_change_counts_by_the_limit_of_that_time() -> None:
    made = meter(tokens=60)
    spend(made, 60, LATER)
    made.change(RateLimits(tokens=6000), 1, 0.0, LATER + 30)
    assert left(made, LATER + 30) == 6000 - 30


def test_a_limit_that_is_taken_away_is_forgotten_and_one_that_is_added_counts_from_the_start_of_the_gateway() -> None:
    made = meter(requests=1, tokens=5)
    spend(made, 5, LATER)
    made.change(RateLimits(tokens=5), 1, 0.0, LATER)
    assert not admitted(made, LATER, prompt(5))
    made.change(RateLimits(requests=1), 1, 0.0, LATER)
    assert made.fields(LATER).count(b"tokens") == 0
    assert made.admit(prompt(10**12), LATER) is None
    made.change(RateLimits(tokens=5), 1, 0.0, LATER)
    assert left(made, LATER) == 5


def test_a_change_of_the_number_of_gateways_forgets_nothing() -> None:
    made = meter(tokens=600)
    held = lease(made.admit(prompt(100), LATER))
    spend(made, 200, LATER)
    made.change(RateLimits(tokens=600), 2, 0.0, LATER)
    assert left(made, LATER) == 0
    held.release(LATER)
    assert left(made, LATER) == 100
    made.change(RateLimits(tokens=600), 3, 0.0, LATER)
    assert left(made, LATER) == 0
    made.change(RateLimits(tokens=600), 1, 0.0, LATER)
    assert left(made, LATER) == 400


def test_fields_are_those_of_openai() -> None:
    made = meter(requests=600, tokens=1000)
    spend(made, 144, LATER)
    assert made.fields(LATER) == (
        b"x-ratelimit-limit-requests: 600\r\nx-ratelimit-remaining-requests: 599\r\n"
        b"x-ratelimit-reset-requests: 100ms\r\n"
        b"x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 856\r\nx-ratelimit-reset-tokens: 8.64s\r\n"
    )


@pytest.mark.parametrize(
    ("limit", "tokens", "reset"), [(60, 0, "0s"), (60, 60, "1m0s"), (1, 1, "1m0s"), (6000, 150, "1.5s")]
)
def test_it_is_told_when_all_is_there_again(limit: int, tokens: int, reset: str) -> None:
    made = meter(tokens=limit)
    if tokens:
        spend(made, tokens, LATER)
    assert made.fields(LATER).endswith(f"x-ratelimit-reset-tokens: {reset}\r\n".encode())


def test_hours_are_written_as_hours() -> None:
    made = meter(tokens=60, gateways=60)
    spend(made, 60, 10_000.0)
    assert made.fields(10_000.0).endswith(b"x-ratelimit-reset-tokens: 1h0m0s\r\n")


def test_time_that_stands_still_or_goes_back_gives_nothing() -> None:
    made = meter(requests=1)
    assert [admitted(made, now) for now in (100.0, 50.0, 100.0, 159.9, 160.0)] == [True, False, False, False, True]


def key(digest: str, limits: RateLimits | None) -> AccessKey:
    return replace(EVERYBODY, hash=digest, limits=limits)


def keys(**limits: RateLimits | None) -> Mapping[str, AccessKey]:
    return {digest: key(digest, limit) for digest, limit in limits.items()}


def test_keys_have_meters_of_their_own_and_those_without_limits_none() -> None:
    meters, one = Meters(0.0), RateLimits(requests=1)
    known = keys(a=one, b=one, c=None)
    meters.follow(known, 1, LATER)
    a, b = meters.of(known["a"]), meters.of(known["b"])
    assert a is not None
    assert b is not None
    assert [admitted(m, LATER) for m in (a, b, a)] == [True, True, False]
    assert meters.of(known["c"]) is None
    assert len(meters) == 2


def test_a_key_that_is_written_anew_goes_on_where_it_was_and_one_that_is_gone_is_forgotten() -> None:
    meters, one = Meters(0.0), RateLimits(requests=1)
    meters.follow(keys(a=one, b=one), 1, LATER)
    before = meters.of(key("a", one))
    assert before is not None
    assert admitted(before, LATER)
    meters.follow(keys(a=one), 1, LATER)
    assert meters.of(key("a", one)) is before
    assert not admitted(before, LATER)
    assert len(meters) == 1
    meters.follow(keys(a=RateLimits(requests=2)), 1, LATER)
    assert meters.of(key("a", one)) is before
    assert [admitted(before, LATER) for _ in range(2)] == [True, False]
    meters.follow(keys(a=None), 1, LATER)
    assert len(meters) == 0


def test_meters_follow_the_number_of_gateways() -> None:
    meters, limits = Meters(0.0), RateLimits(tokens=60)
    known = keys(a=limits)
    meters.follow(known, 1, LATER)
    made = meters.of(known["a"])
    assert made is not None
    meters.follow(known, 3, LATER)
    assert left(made, LATER) == 20
    meters.follow(known, 3, LATER)
    assert left(made, LATER) == 20


# Of each request: microseconds since the one before, which gateway, tokens of the prompt and the answer (in hundredths
# of a gateway's part), how much of that was used (in hundredths), how many seconds it took, and how it ended.
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40_000_000),
        st.integers(0, 3),
        st.integers(0, 60),
        st.integers(0, 40),
        st.integers(0, 100),
        st.sampled_from((0.0, 0.5, 3.0, 20.0, 110.0, 130.0, 400.0)),
        st.sampled_from(("whole", "cut", "released")),
    ),
    max_size=60,
)


@given(st.integers(1, 4), st.integers(100, 1_000_000), REQUESTS)
def test_over_any_span_of_time_no_more_gets_in_than_the_limit_gives_and_one_burst(
    gateways: int, limit: int, requests: list[tuple[int, int, int, int, int, float, str]]
) -> None:
    meters = [meter(tokens=limit, gateways=gateways) for _ in range(gateways)]
    part = limit // gateways
    count = itertools.count()
    ends: list[tuple[float, int, Lease, int, str]] = []
    got_in: list[tuple[float, int]] = []
    now = LATER * gateways
    for pause, where, asked, output, percent, seconds, end in requests:
        now += pause / 1e6
        while ends and ends[0][0] <= now:
            at, _, held, cost, how = heapq.heappop(ends)
            if how == "released":
                held.release(at)
            else:
                held.settle((cost - (how == "cut"), 0), 0, at, whole=how == "whole")
        demand = Demand(1 + asked * part // 100, output * part // 100)
        found = meters[where % gateways].admit(demand, now)
        if isinstance(found, Lease):
            cost = 0 if end == "released" else max(1, demand.most * percent // 100)
            got_in.append((now, cost))
            heapq.heappush(ends, (now + seconds, next(count), found, cost, end))
    # A request of a whole part may be one token larger than it.
    largest = max(limit / gateways, 1 + part)
    for first in range(len(got_in)):
        total = 0
        for at, cost in got_in[first:]:
            total += cost
            span = at - got_in[first][0]
            assert total <= largest * gateways + limit * span / 60 + 1


@given(st.integers(1, 10_000), st.integers(1, 5), st.integers(0, 5_000_000), st.integers(0, 10**9))
def test_who_asks_evenly_below_the_limit_is_never_refused(limit: int, gateways: int, slack: int, start: int) -> None:
    made = meter(requests=limit, gateways=gateways, began=start / 1e6)
    period = math.ceil(60_000_000 * gateways / limit) + slack + 1
    assert all(admitted(made, (start + n * period) / 1e6) for n in range(50))


@given(
    st.integers(60, 1_000_000),
    st.integers(1, 5),
    st.integers(1, 100),
    st.integers(0, 100),
    st.integers(0, 99),
    st.integers(0, 10**9),
)
def test_who_uses_tokens_evenly_below_the_limit_is_never_refused(
    limit: int, gateways: int, part: int, used: int, busy: int, start: int
) -> None:
    # What is in a bucket at first, and so much at a time; what is not used of it is given back before the next.
    most = max(1, limit * FIRST_SECONDS // (60 * gateways) * part // 100)
    cost = most * used // 100
    period = max(1, math.ceil(cost * 60_000_000 * gateways / limit)) + 2
    made = meter(tokens=limit, gateways=gateways, began=start / 1e6)
    for n in range(50):
        now = start + n * period
        lease(made.admit(prompt(most), now / 1e6)).settle((cost, 0), 0, (now + period * busy // 100) / 1e6, whole=True)


@pytest.mark.parametrize("gateways", [1, 3])
def test_all_that_was_promised_can_be_had(gateways: int) -> None:
    limit, minutes = 6000, 10
    meters = [meter(tokens=limit, gateways=gateways) for _ in range(gateways)]
    begin, spent = LATER * gateways, 0
    opened: list[tuple[float, Lease]] = []
    for tick in range(minutes * 120):
        now = begin + tick / 2
        ended, opened = [e for e in opened if e[0] <= now], [e for e in opened if e[0] > now]
        for _, held in ended:
            held.settle((20, 10), 0, now, whole=True)
            spent += 30
        # What a request holds is eight times what it costs, and it holds it for two seconds.
        for one in meters:
            while isinstance(found := one.admit(Demand(80, 160), now), Lease):
                opened.append((now + 2.0, found))
    assert 0.95 * limit * minutes <= spent <= limit * (minutes + 1)
