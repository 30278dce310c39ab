"""A deadline is as long for many operators, one after the other, as for one that lives on."""

from collections.abc import Callable

import pytest

from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.test_drain import leaving
from tests.plan.world import Cluster, serving

Done = Callable[[Cluster], bool]


def draining() -> tuple[Cluster, Done]:
    """Requests that do not end are open on a revision that has left the table."""
    return leaving("40s"), lambda c: c.replicas().get("v1", 0) == 0


def draining_without_gateways() -> tuple[Cluster, Done]:
    """As above, and there is nobody to ask."""
    cluster = leaving("40s")
    cluster.gateways = []
    return cluster, lambda c: c.replicas().get("v1", 0) == 0


def thin() -> tuple[Cluster, Done]:
    """A pod of the candidate is lost and finds no place any more."""
    cluster = canary(50)
    cluster.capacity = 1
    cluster.delete_pod(cluster.pods_of("v2")[0])
    return cluster, lambda c: c.phase == "Reverting"


def unready() -> tuple[Cluster, Done]:
    """The candidate's node is out of sight."""
    cluster = canary(50)
    cluster.nodes[cluster.pods_of("v2")[0].node] = False
    return cluster, lambda c: c.phase == "Reverting"


def stable_down() -> tuple[Cluster, Done]:
    """Stable has no ready pod."""
    cluster = canary(10)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.rate = 0.0
    return cluster, lambda c: c.weights()["v2"] == 100


def missing() -> tuple[Cluster, Done]:
    """A Secret that the spec names does not exist."""
    cluster = serving("v1")
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "token"}}}
    cluster.edit(engine={**cluster.deployment["spec"]["engine"], "env": [token]})
    return cluster, lambda c: c.says("Stalled") == ("True", "SecretNotFound")


def unknown_guardrail() -> tuple[Cluster, Done]:
    """A Guardrail that the spec names does not exist, and a new revision is asked for."""
    cluster = serving("v1")
    cluster.apply("v2", guardrailRefs=[{"name": "missing"}])
    return cluster, lambda c: c.says("Stalled") == ("True", "GuardrailNotFound")


def dropped() -> tuple[Cluster, Done]:
    """A served name has been dropped and nobody claims it."""
    cluster = serving("v1", servedNames=["old", "new"])
    cluster.edit(servedNames=["new"])
    return cluster, lambda c: c.table is not None and "old" not in c.table.served_names


def starting() -> tuple[Cluster, Done]:
    """The candidate does not become ready."""
    cluster = serving("v1")
    cluster.behaviours["v2"] = Behaviour(start=10_000.0)
    cluster.apply("v2")
    return cluster, lambda c: c.phase == "Reverting"


def unschedulable() -> tuple[Cluster, Done]:
    """The candidate finds no node."""
    cluster = serving("v1", capacity=1)
    cluster.apply("v2")
    return cluster, lambda c: c.says("Stalled") == ("True", "InsufficientCapacity")


def untrusted() -> tuple[Cluster, Done]:
    """TLS with the candidate comes to nothing."""
    cluster = serving("v1")
    cluster.behaviours["v2"] = Behaviour(no_tls="its certificate is not taken: certificate has expired")
    cluster.apply("v2")
    return cluster, lambda c: c.says("Stalled") == ("True", "EngineTLSFailed")


CASES: list[tuple[Callable[[], tuple[Cluster, Done]], float]] = [
    (draining, 40.0),
    (draining_without_gateways, 40.0),
    (thin, 30.0),
    (unready, 30.0),
    (stable_down, 30.0),
    (missing, 120.0),
    (unknown_guardrail, 120.0),
    (dropped, 30.0),
    (starting, 120.0),
    (unschedulable, 30.0),
    (untrusted, 120.0),
]
EVERY_DEADLINE = pytest.mark.parametrize(("case", "deadline"), CASES, ids=[case.__name__ for case, _ in CASES])


def lasted(case: Callable[[], tuple[Cluster, Done]], every: int = 0, away: float = 0.0) -> float:
    """Seconds from the cause to the consequence; the operator dies after every `every` turns, for `away` seconds."""
    cluster, done = case()
    began = cluster.true_time
    for turn in range(1, 400):
        cluster.turn()
        if done(cluster):
            return cluster.true_time - began
        if every and turn % every == 0:
            cluster.restart_operator()
            cluster.pass_time(away)
    raise AssertionError(f"never: {cluster.phase}, {cluster.last.reasons}")


@EVERY_DEADLINE
def test_it_takes_as_long_as_it_should(case: Callable[[], tuple[Cluster, Done]], deadline: float) -> None:
    assert deadline - 3 <= lasted(case) <= deadline + 5


@EVERY_DEADLINE
@pytest.mark.parametrize("every", [3, 17])
def test_restarts_neither_shorten_nor_lengthen_it(
    case: Callable[[], tuple[Cluster, Done]], deadline: float, every: int
) -> None:
    assert abs(lasted(case, every) - lasted(case)) <= 2


@EVERY_DEADLINE
def test_the_time_without_an_operator_counts(case: Callable[[], tuple[Cluster, Done]], deadline: float) -> None:
    assert abs(lasted(case, every=5, away=5.0) - lasted(case)) <= 7


@EVERY_DEADLINE
def test_a_new_operator_whose_clock_is_behind_is_never_early(
    case: Callable[[], tuple[Cluster, Done]], deadline: float
) -> None:
    def behind() -> tuple[Cluster, Done]:
        cluster, done = case()
        cluster.turns(5)
        cluster.restart_operator()
        cluster.skew = -3600.0
        return cluster, done

    # A negative age counts as nothing: it begins again, at worst.
    assert deadline - 7 <= lasted(behind) <= deadline + 5
