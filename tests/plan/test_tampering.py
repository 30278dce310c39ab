"""What somebody does to a child by hand is undone in one pass, said, and kept out of the evidence."""

import pytest

from tests.plan.test_canary import canary
from tests.plan.world import Cluster, rollout, serving

PATIENT = rollout(
    steps=[{"weight": 50, "soak": "1000s"}, {"weight": 100, "soak": "1000s"}],
    analysis={"minSamples": 100_000},
    watch="100s",
)


def said(cluster: Cluster) -> list[str]:
    return [e.message for e in cluster.events if e.reason == "ChildChanged"]


def counted(cluster: Cluster) -> tuple[int, float]:
    """Attempts of the candidate and seconds that count so far."""
    assert cluster.memory is not None
    assert cluster.memory.evidence is not None
    return cluster.memory.evidence.subject[0], cluster.memory.evidence.soak


@pytest.mark.parametrize(
    ("image", "before", "hand"), [("v1", 4, 0), ("v1", 4, 9), ("v2", 2, 0), ("v2", 2, 1), ("v2", 2, 4)]
)
def test_a_pool_that_was_scaled_is_set_back_in_one_pass(image: str, before: int, hand: int) -> None:
    cluster = canary(50, replicas=4, rollout=PATIENT)
    assert cluster.replicas()[image] == before
    cluster.scale(image, hand)
    cluster.reconcile()
    assert cluster.replicas()[image] == before
    child = f"story-{cluster.revision(image)}"
    assert said(cluster) == [f"Deployment {child} was scaled from {before} to {hand}; it is applied again"]
    cluster.turns(5)
    assert len(said(cluster)) == 1


def test_what_waits_to_be_gone_back_to_is_set_back_too() -> None:
    cluster = serving("v1", replicas=2, rollout=PATIENT)
    cluster.apply("v2", replicas=2, rollout={**PATIENT, "strategy": "Immediate"})
    cluster.until_phase("Watching")
    cluster.scale("v1", 0)
    cluster.reconcile()
    assert cluster.replicas() == {"v1": 2, "v2": 2}


@pytest.mark.parametrize("kind", ["Deployment", "Service", "Secret", "RoutingTable"])
def test_a_child_that_was_deleted_is_made_again_and_said(kind: str) -> None:
    cluster = serving("v1")
    (name,) = cluster.of_kind(kind)
    cluster.vandalise(kind, name)
    cluster.reconcile()
    assert list(cluster.of_kind(kind)) == [name]
    assert said(cluster) == [f"{kind} {name} was deleted; it is applied again"]


def test_what_we_do_ourselves_is_nobodys_hand() -> None:
    cluster = serving("v1", replicas=2)
    cluster.apply("v2", replicas=2)
    cluster.until_phase("Watching")
    cluster.edit(replicas=3)
    cluster.turns(20)
    cluster.edit(replicas=0)
    cluster.turns(20)
    cluster.edit(replicas=1)
    cluster.restart_operator()
    cluster.turns(20)
    cluster.delete_deployment(orphan=True)
    cluster.apply("v2")
    cluster.turns(20)
    assert said(cluster) == []


def test_a_pool_that_does_not_say_what_was_written_is_taken_as_it_is() -> None:
    cluster = serving("v1", replicas=2)
    ((name, pool),) = cluster.of_kind("Deployment").items()
    cluster._store("Deployment", name, {**pool, "metadata": {**pool["metadata"], "annotations": {}}})
    cluster.scale("v1", 1)
    cluster.reconcile()
    assert (cluster.replicas(), said(cluster)) == ({"v1": 2}, [])


@pytest.mark.parametrize("image", ["v1", "v2"])
@pytest.mark.parametrize("restarts", [False, True])
def test_nothing_counts_from_the_hand_until_all_pods_are_back(image: str, restarts: bool) -> None:
    cluster = canary(50, replicas=4, rollout=PATIENT).turns(10)
    before = counted(cluster)
    assert before[0] > 0
    cluster.scale(image, 0)
    cluster.turn()  # the pods go, and the pool is set back
    assert counted(cluster) == before
    if restarts:
        cluster.restart_operator()
    while cluster.ready_pods(cluster.revision(image)) < 2:
        cluster.turn()
        if cluster.ready_pods(cluster.revision(image)) < 2:
            assert counted(cluster) <= before
            assert cluster.memory is not None
            assert cluster.memory.window == ()
    cluster.turns(6)
    assert counted(cluster) > before


def test_a_watch_does_not_count_it_either() -> None:
    cluster = serving("v1", replicas=2, rollout=PATIENT)
    cluster.apply("v2", replicas=2, rollout={**PATIENT, "strategy": "Immediate"})
    cluster.until_phase("Watching").turns(10)
    before = counted(cluster)[1]
    cluster.scale("v2", 1)
    cluster.turn()
    assert counted(cluster)[1] == before
    cluster.turns(10)
    assert counted(cluster)[1] > before
