"""What is around a deployment, word for word: what it refers to, its gateways, and people who meddle."""

from dataclasses import replace

import pytest

from tests.plan.parts import Behaviour
from tests.plan.tales import began, terms
from tests.plan.test_guards import compiled, guardrail, mistaken
from tests.plan.transcript import Tale, kept, transcript
from tests.plan.world import NAME, Cluster

TOKEN = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "t"}}}
MOOD = {"name": "MOOD", "valueFrom": {"configMapKeyRef": {"name": "moods", "key": "m"}}}


def much_is_missing_at_first(cluster: Cluster) -> None:
    engine = {"type": "sim", "image": "v1", "env": [TOKEN, MOOD]}
    cluster.references = {("Secret", "tokens"): None, ("ConfigMap", "moods"): "b" * 64}
    cluster.apply("v1", engine=engine)
    cluster.turns(3)
    cluster.apply_model()
    cluster.turns(3)
    cluster.references["Secret", "tokens"] = "a" * 64
    cluster.put("ConfigMap", "moods", {"data": {"m": "grave"}})
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    cluster.references["Secret", "tokens"] = "c" * 64
    cluster.turns(7)


def it_is_to_be_guarded(cluster: Cluster) -> None:
    cluster.guardrails = (guardrail(),)
    cluster.apply_model()
    cluster.apply("v1", rollout=terms(), guardrailRefs=[{"name": "safe"}, {"name": "lost"}])
    cluster.turns(3)
    cluster.edit(guardrailRefs=[{"name": "safe"}])
    cluster.turns(3)
    cluster.guardrails = (compiled(),)
    cluster.gateways[0].refuses = "ConfigMap is not there"
    cluster.turns(8)
    cluster.gateways[0].refuses = ""
    cluster.turns(6)
    cluster.guardrails = (mistaken(compiled()),)
    cluster.turns(3)
    cluster.guardrails = (compiled(policy="2" * 64),)
    cluster.turns(4)
    cluster.edit(guardrailRefs=[])
    cluster.turns(3)


def gateways_fall_silent(cluster: Cluster) -> None:
    began(cluster).apply("v2", rollout=terms(watch="60s"))
    cluster.gateways[0].silent = True
    cluster.turns(25)
    cluster.gateways[0].silent = False
    cluster.until(lambda c: c.weights().get("v2") == 100)
    cluster.gateways.clear()
    cluster.turns(12)


def somebody_meddles(cluster: Cluster) -> None:
    began(cluster, replicas=2)
    cluster.settings = replace(cluster.settings, engine_policies=True)
    cluster.scale("v1", 5)
    cluster.turns(3)
    cluster.vandalise("Deployment", f"{NAME}-{cluster.revision('v1')}")
    cluster.vandalise("RoutingTable", NAME)
    cluster.turns(6)
    cluster.settings = replace(cluster.settings, engine_policies=False)
    cluster.behaviours["v1"] = Behaviour(image_id="sha256:moved")
    cluster.delete_pod(cluster.pods_of("v1")[0], evicted=True)
    cluster.turns(12)


TALES: tuple[Tale, ...] = (
    much_is_missing_at_first,
    it_is_to_be_guarded,
    gateways_fall_silent,
    somebody_meddles,
)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.__name__)
def test_it_goes_as_written_down(tale: Tale) -> None:
    # After a wanted change: python -m tests.plan.transcript, and read the diff.
    assert transcript(tale) == kept(tale)
