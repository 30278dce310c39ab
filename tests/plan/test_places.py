"""What `status.plan` says of where pods come from, before anything moves."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.test_fit import GPU, node
from tests.plan.world import Cluster, rollout, serving
from understudy.plan.planner import plan

L4 = {"resource": GPU, "products": ["NVIDIA-L4"]}


def wanting(replicas: int = 2, **capacity: Any) -> Cluster:
    """v2 is wanted, and has no pod yet."""
    spec: dict[str, Any] = {"replicas": replicas, "accelerator": L4, "rollout": rollout(capacity=capacity)}
    cluster = serving("v1", **spec)
    cluster.apply("v2", **spec)
    cluster.capacity = replicas
    cluster.turn()
    return cluster


def said(cluster: Cluster, *nodes: Any, **held: int) -> str:
    """The plan when there are these nodes, and pods hold so much on each."""
    taken = {name: {GPU: count} for name, count in held.items()} if nodes else None
    cluster.pass_time(6.0)
    decided = plan(replace(cluster.observe(), nodes=nodes, taken=taken))
    assert decided.status is not None
    return str(decided.status["plan"]).replace(cluster.revision("v1"), "v1").replace(cluster.revision("v2"), "v2")


@pytest.mark.parametrize(
    ("capacity", "held", "tells"),
    [
        ({}, {"a": 1, "b": 2}, "Surge: 1 more pod fits on node a"),
        (
            {},
            {"a": 2, "b": 2},
            "Surge: no node has a free NVIDIA-L4; if that lasts for 30 s, 1 of 2 pods of v1 makes way",
        ),
        (
            {"mode": "Borrow"},
            {"a": 2, "b": 2},
            "Borrow: no node has a free NVIDIA-L4; 1 of 2 pods of v1 makes way while",
        ),
        ({"mode": "Borrow"}, {"a": 1, "b": 2}, "Surge: 1 more pod fits on node a"),
        ({"mode": "Surge"}, {"a": 2, "b": 2}, "Surge: no node has a free NVIDIA-L4"),
    ],
)
def test_with_what_nodes_have_it_says_which_way_will_be_gone(
    capacity: dict[str, Any], held: dict[str, int], tells: str
) -> None:
    assert f". {tells}" in said(wanting(**capacity), node("a"), node("b"), **held)


@pytest.mark.parametrize(
    ("capacity", "tells"),
    [
        ({}, "Surge: 1 more pod beside the 2 of v1; if no node is found for 30 s, 1 of 2 pods of v1 makes way"),
        ({"mode": "Borrow"}, "Surge: 1 more pod beside the 2 of v1; if no node is found, 1 of 2 pods of v1 makes way"),
        ({"mode": "Surge"}, "Surge: 1 more pod beside the 2 of v1"),
    ],
)
def test_without_knowing_the_nodes_it_says_what_would_be_done(capacity: dict[str, Any], tells: str) -> None:
    assert f". {tells}" in said(wanting(**capacity))


def test_some_may_fit_and_not_all() -> None:
    cluster = wanting(4, mode="Borrow", maxUnavailable=3)
    settings = cluster.deployment["spec"]["rollout"]
    cluster.edit(rollout={**settings, "steps": [{"weight": 50, "soak": "3s"}, {"weight": 100, "soak": "3s"}]})
    assert "Borrow: 1 of 2 more pods fits, on node a; 2 of 4 pods of v1 make way" in said(cluster, node("a", "1"), a=0)
    assert "Surge: 2 more pods fit on node a" in said(cluster, node("a", "2"), a=0)


@pytest.mark.parametrize(("mode", "most"), [("Borrow", {"maxUnavailable": 1}), ("Auto", {})])
def test_what_cannot_be_lent_far_enough_is_said(mode: str, most: dict[str, int]) -> None:
    cluster = wanting(4, mode=mode, **most)
    stuck = "2 of 4 pods of stable would have to make way: write capacity.maxUnavailable: 2"
    assert said(cluster, node("a", "1"), a=1).endswith(f"Surge: no node has a free NVIDIA-L4; {stuck}")
    # Whether there is room is not known: then what would be done is.
    assert said(cluster).endswith(f"Surge: 1 more pod beside the 4 of v1; if no node is found, it waits: {stuck}")


def test_by_default_borrow_lends_far_enough() -> None:
    cluster = wanting(4, mode="Borrow")
    assert "Borrow: no node has a free NVIDIA-L4; 2 of 4 pods of v1 make way" in said(cluster, node("a", "1"), a=1)


def test_several_accelerators_must_be_free_on_one_node() -> None:
    spec: dict[str, Any] = {
        "replicas": 2,
        "accelerator": {**L4, "count": 2},
        "rollout": rollout(capacity={"mode": "Borrow"}),
    }
    cluster = serving("v1", **spec)
    cluster.apply("v2", **spec)
    cluster.turn()
    assert "no node has 2 free NVIDIA-L4" in said(cluster, node("a"), node("b"), a=1, b=1)


def test_what_is_lent_is_said_until_it_is_over() -> None:
    cluster = wanting(mode="Borrow").until(lambda c: int(c.status["rollout"]["lent"]) == 1).turns(1)
    assert cluster.phase == "Preparing"
    revision = cluster.revision("v1")
    assert cluster.status["plan"].endswith(f"Borrow: 1 of 2 pods of {revision} makes way until it is over")


def test_with_all_its_pods_there_is_nothing_to_say() -> None:
    cluster = wanting()
    cluster.capacity = 4
    assert "Surge" not in said(cluster.turns(1))


def test_a_record_that_is_not_written_yet_is_as_good() -> None:
    cluster = wanting(mode="Borrow")
    observed = replace(cluster.observe(), nodes=(node("a"),), taken={"a": {GPU: 2}})
    kept = tuple(s for s in observed.snapshots if s["spec"]["revision"] != cluster.revision("v2"))
    decided = plan(replace(observed, snapshots=kept))
    assert decided.status is not None
    assert "no node has a free NVIDIA-L4" in decided.status["plan"]
