"""What stable's clients wait for: from the gateways' counters to a judgement, and when nothing is known."""

from dataclasses import replace

import pytest

from understudy.domain.key import Key
from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, DeploymentState, GatewayState, RevisionState
from understudy.plan.load import SPAN, Glance, follow, load, look, part

KEY = Key("tales", "story")


def histogram(bounds: tuple[float, ...], **counts: int) -> tuple[int, ...]:
    """Counts by upper bound, `over` for those above the last."""
    values = [*(f"{b:g}".replace(".", "_") for b in bounds), "over"]
    return tuple(counts.get(f"b{value}" if value != "over" else value, 0) for value in values)


def gateway(start: str = "s1", **counters: object) -> GatewayState:
    revision = RevisionState(**counters)  # type: ignore[arg-type]
    return GatewayState(start, 100.0, {str(KEY): DeploymentState(revisions={"a": revision})})


def glance(at: float, *states: GatewayState, pods: int = 2, revision: str = "a") -> Glance:
    return look(KEY, revision, pods, states, at)


def test_all_gateways_together() -> None:
    first = histogram(TTFT_BOUNDS, b0_05=3, over=1)
    seen = glance(5.0, gateway(ttft=first, open_requests=2), gateway("s2", ttft=first, open_requests=1))
    assert (seen.at, seen.pods, seen.opened, seen.gateways) == (5.0, 2, 3, frozenset({"s1", "s2"}))
    assert (seen.first[0], seen.first[-1]) == (6, 2)


def test_a_gateway_that_knows_nothing_of_the_deployment_has_counted_nothing() -> None:
    assert sum(glance(0.0, GatewayState("s1", 1.0)).first) == 0
    assert sum(glance(0.0, gateway(ttft=(1,)), revision="b").first) == 0


def test_a_first_token_that_never_came_in_time_is_late_beyond_every_bound() -> None:
    assert glance(0.0, gateway(errors={"firstToken": 2, "5xx": 7})).first[-1] == 2


def test_what_is_counted_is_what_came_between_the_first_look_and_the_last() -> None:
    looks: tuple[Glance, ...] = ()
    for at in range(41):
        state = gateway(ttft=histogram(TTFT_BOUNDS, b0_5=2 * at, b5=at), itl=histogram(ITL_BOUNDS, b0_1=at))
        looks = follow(looks, glance(float(at), state))
    seen = load(looks)
    assert SPAN <= seen.lasted < SPAN + 10
    assert len(looks) <= 8
    assert seen.whole
    assert sum(seen.first) == 3 * seen.lasted
    assert part(seen.exceeding(2.0, 0.2)) == pytest.approx(1 / 3)


def test_two_looks_that_are_long_apart_are_enough() -> None:
    looks = follow(follow((), glance(0.0, gateway())), glance(100.0, gateway()))
    assert (load(looks).lasted, load(looks).whole) == (100.0, True)


@pytest.mark.parametrize(
    "other",
    [
        glance(20.0, gateway("s2")),
        glance(20.0, gateway(), gateway("s2")),
        glance(20.0, gateway(), pods=1),
        glance(20.0, gateway(), revision="b"),
    ],
)
def test_another_gateway_another_pod_another_revision_begin_anew(other: Glance) -> None:
    looks = follow(follow((), glance(0.0, gateway())), other)
    assert (load(looks).lasted, load(looks).whole) == (0.0, False)


def test_nothing_seen_says_nothing() -> None:
    assert not load(()).whole


def test_requests_that_are_open_and_of_which_nothing_is_counted_are_no_idleness() -> None:
    idle = (glance(0.0, gateway()), glance(30.0, gateway()))
    stuck = (glance(0.0, gateway(open_requests=1)), glance(30.0, gateway(open_requests=1)))
    ended = (glance(0.0, gateway(open_requests=1)), glance(30.0, gateway()))
    talks = (stuck[0], glance(30.0, gateway(open_requests=1, itl=(1,))))
    assert [load(looks).whole for looks in (idle, stuck, ended, talks)] == [True, False, True, True]


def test_a_bucket_that_holds_the_limit_is_late_where_that_is_feared_and_not_where_it_is_claimed() -> None:
    state = gateway(ttft=histogram(TTFT_BOUNDS, b0_5=8, b2=2))
    seen = load((glance(0.0, gateway()), glance(30.0, state)))
    assert (seen.reaching(1.5, 1.0), seen.exceeding(1.5, 1.0)) == ((10, 2), (10, 0))
    assert (seen.reaching(2.0, 1.0), seen.exceeding(2.0, 1.0)) == ((10, 0), (10, 0))
    assert (seen.reaching(1.0, 1.0), seen.exceeding(1.0, 1.0)) == ((10, 2), (10, 2))


def test_the_worse_of_first_tokens_and_gaps_is_what_counts() -> None:
    slow_tokens = gateway(ttft=histogram(TTFT_BOUNDS, b0_5=10), itl=histogram(ITL_BOUNDS, b0_1=90, b1=10))
    seen = load((glance(0.0, gateway()), glance(30.0, slow_tokens)))
    assert seen.exceeding(2.0, 0.2) == (100, 10)
    assert seen.exceeding(0.1, 5.0) == (10, 10)


def test_a_counter_that_falls_adds_nothing() -> None:
    before = glance(0.0, gateway(ttft=histogram(TTFT_BOUNDS, b0_5=8)))
    assert sum(load((before, replace(before, at=30.0, first=(0,) * 11))).first) == 0
