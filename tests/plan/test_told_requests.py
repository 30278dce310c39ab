"""What users ask for, word for word: by requests, and by edits of the spec."""

import pytest

from tests.plan.tales import began, ends, tried
from tests.plan.transcript import Tale, kept, transcript
from tests.plan.world import NAME, Cluster, rollout
from understudy.domain.key import Key


def somebody_gives_orders(cluster: Cluster) -> None:
    tried(cluster)
    for verb in ("pause", "dance", "resume", "promote@00000000", "promote-full", "abort"):
        cluster.ask(verb)
        cluster.turns(2)
    cluster.turns(6)


def the_second_promotion_is_taken_back(cluster: Cluster) -> None:
    wanted = rollout(strategy="Immediate", watch="2s")
    began(cluster, rollout=wanted).apply("v2", rollout=wanted)
    ends(cluster.until_phase("Watching"))
    cluster.ask("rollback=7")
    cluster.turns(2)
    cluster.ask("rollback=1")
    ends(cluster, "RolledBack")


def it_sleeps_and_wakes(cluster: Cluster) -> None:
    began(cluster)
    cluster.edit(replicas=0)
    cluster.turns(30)
    cluster.edit(replicas=1)
    cluster.turns(8)


def the_spec_is_wrong(cluster: Cluster) -> None:
    began(cluster)
    good = cluster.deployment["spec"]
    cluster.edit(engine={"type": "sim", "image": "v2", "args": ["--port=1"]})
    cluster.turns(2)
    cluster.put("ModelDeployment", NAME, {"spec": {**good, "replicas": "many"}})
    cluster.turns(2)
    cluster.put("ModelDeployment", NAME, {"spec": good})
    cluster.turns(2)
    cluster.refused = "Deployment story is invalid"
    cluster.turns(2)
    cluster.refused, cluster.name_holders = "", {NAME: Key("other", "one")}
    cluster.turns(2)


def it_is_deleted(cluster: Cluster) -> None:
    began(cluster).delete_deployment(orphan=True)
    cluster.turns(4)
    cluster.pass_time(8 * 86400.0)
    cluster.turns(2)


TALES: tuple[Tale, ...] = (
    somebody_gives_orders,
    the_second_promotion_is_taken_back,
    it_sleeps_and_wakes,
    the_spec_is_wrong,
    it_is_deleted,
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.__name__)
def test_it_goes_as_written_down(tale: Tale) -> None:
    # After a wanted change: python -m tests.plan.transcript, and read the diff.
    assert transcript(tale) == kept(tale)
