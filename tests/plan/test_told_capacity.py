"""Too few places and too few nodes, word for word."""

import pytest

from tests.plan.tales import began, ends, terms, tried
from tests.plan.transcript import Tale, kept, transcript
from tests.plan.world import Cluster, rollout


def one_makes_way_for_the_other(cluster: Cluster) -> None:
    wanted = rollout(strategy="Immediate", capacity={"mode": "Recreate"}, watch="20s")
    cluster.capacity = 1
    began(cluster, rollout=wanted)
    cluster.apply("v2", rollout=wanted)
    cluster.until_phase("Watching").crash(cluster.pods_of("v2")[0])
    ends(cluster, "RolledBack")


def a_pod_is_lent(cluster: Cluster) -> None:
    cluster.capacity = 2
    wanted = terms(capacity={"mode": "Borrow"})
    began(cluster, replicas=2, rollout=wanted)
    cluster.apply("v2", replicas=2, rollout=wanted)
    ends(cluster.until_phase("Watching"))


def there_is_no_place(cluster: Cluster) -> None:
    cluster.capacity = 1
    wanted = terms(capacity={"mode": "Surge"})
    began(cluster, rollout=wanted)
    cluster.apply("v2", rollout=wanted)
    cluster.turns(40)
    cluster.ask("abort")
    cluster.turns(8)


def a_node_is_lost_in_the_rollout(cluster: Cluster) -> None:
    tried(cluster, replicas=3)
    cluster.lose_node("node-b")
    cluster.turns(20)


TALES: tuple[Tale, ...] = (
    one_makes_way_for_the_other,
    a_pod_is_lent,
    there_is_no_place,
    a_node_is_lost_in_the_rollout,
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.__name__)
def test_it_goes_as_written_down(tale: Tale) -> None:
    # After a wanted change: python -m tests.plan.transcript, and read the diff.
    assert transcript(tale) == kept(tale)
