"""Rollouts that come to their end, word for word."""

import pytest

from tests.plan.tales import began, ends, terms, tried
from tests.plan.transcript import Tale, kept, transcript
from tests.plan.world import Cluster


def a_good_one_takes_over(cluster: Cluster) -> None:
    prompt = {"name": "yes", "messages": [{"role": "user", "content": "Say yes."}], "expect": {"matches": "yes"}}
    ends(tried(cluster, replicas=2, probes={"prompts": [prompt]}).until_phase("Watching"))


def copies_come_first(cluster: Cluster) -> None:
    wanted = terms(shadow={"percent": 50, "samples": 40})
    began(cluster, rollout=wanted)
    cluster.rate = 20.0
    cluster.apply("v2", rollout=wanted)
    cluster.until_phase("Canary")


def blue_becomes_green_when_somebody_says_so(cluster: Cluster) -> None:
    wanted = terms(strategy="BlueGreen")
    del wanted["steps"]
    began(cluster, rollout=wanted)
    cluster.apply("v2", rollout=wanted)
    cluster.until(lambda c: c.says("Reconciling")[1] == "WaitingForPromote").turns(2)
    cluster.ask(f"promote@{cluster.revision('v2')}")
    ends(cluster.until_phase("Watching"))


def the_operator_dies_half_way(cluster: Cluster) -> None:
    tried(cluster).turns(1)
    cluster.restart_operator()
    ends(cluster.until_phase("Watching"))


TALES: tuple[Tale, ...] = (
    a_good_one_takes_over,
    copies_come_first,
    blue_becomes_green_when_somebody_says_so,
    the_operator_dies_half_way,
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.__name__)
def test_it_goes_as_written_down(tale: Tale) -> None:
    # After a wanted change: python -m tests.plan.transcript, and read the diff.
    assert transcript(tale) == kept(tale)
