"""Pods leave last: out of the table, known to every gateway, their requests at an end."""

import pytest

from tests.plan.audit import Audit
from tests.plan.test_canary import canary
from tests.plan.world import Cluster, rollout, serving

IMMEDIATE = rollout(strategy="Immediate", watch="0s")


def leaving(drain: str = "20s") -> Cluster:
    """v1 has requests open that do not end, and v2 has just been promoted over it."""
    terms = {**IMMEDIATE, "drain": drain}
    cluster = serving("v1", rollout=terms)
    cluster.long_streams = True
    cluster.turns(3)
    cluster.apply("v2", rollout=terms)
    return cluster.until(lambda c: c.image("stable") == "v2" and c.phase == "Stable")


def test_open_requests_are_waited_for() -> None:
    cluster = leaving("600s").turns(60)
    assert cluster.replicas() == {"v1": 1, "v2": 1}
    cluster.long_streams = False
    cluster.turns(3)
    assert cluster.replicas()["v1"] == 0


def test_but_not_beyond_the_deadline() -> None:
    cluster = leaving("20s")
    began = cluster.true_time
    cluster.until(lambda c: c.replicas()["v1"] == 0)
    assert 15 <= cluster.true_time - began <= 21


def test_a_jump_of_the_clock_does_not_shorten_it() -> None:
    cluster = leaving("600s").turns(3)
    cluster.skew += 86400
    cluster.turns(10)
    assert cluster.replicas()["v1"] == 1


def test_without_gateways_the_deadline_alone_decides() -> None:
    cluster = leaving("20s")
    cluster.gateways = []
    cluster.turns(10)
    assert cluster.replicas()["v1"] == 1
    cluster.turns(30)
    assert cluster.replicas() == {"v2": 1}


def test_a_silent_gateway_may_still_route_to_it() -> None:
    cluster = leaving("20s")
    cluster.gateways[0].silent = True
    cluster.turns(60)
    assert cluster.replicas()["v1"] == 1
    cluster.gateways[0].silent = False
    cluster.until(lambda c: c.replicas() == {"v2": 1})


def test_down_first_and_deleted_when_the_pods_are_gone() -> None:
    cluster = leaving("1s").until(lambda c: c.replicas()["v1"] == 0)
    assert len(cluster.of_kind("Service")) == 2
    cluster.until(lambda c: c.replicas() == {"v2": 1})
    assert cluster.pods_of("v1") == []
    assert (len(cluster.of_kind("Service")), len(cluster.of_kind("Secret"))) == (1, 1)
    assert len(cluster.of_kind("ModelSnapshot")) == 2


def test_a_reverted_candidate_drains_like_any_other() -> None:
    cluster = canary(50)
    audit = Audit(cluster)
    cluster.long_streams = True
    cluster.turns(3)
    cluster.apply("v1")
    for _ in range(10):
        audit.turn(1.0)
    assert (cluster.phase, cluster.replicas()["v2"]) == ("Reverting", 1)
    assert "drains for at most" in cluster.condition("Reconciling")["message"]
    for _ in range(20):
        audit.turn(1.0)
    assert cluster.phase == "Stable"


def test_a_candidate_that_never_had_a_conversation_leaves_at_once() -> None:
    cluster = serving("v1", gateways=0)
    cluster.apply("v2")
    cluster.until_phase("Preparing")
    cluster.apply("v1")
    cluster.until(lambda c: "v2" not in c.replicas(), limit=10)


def test_one_that_is_asked_for_again_while_it_drains_keeps_its_pods() -> None:
    cluster = leaving("600s").turns(3)
    uid = cluster.pods_of("v1")[0].uid
    cluster.apply("v1", rollout={**IMMEDIATE, "drain": "600s"})
    cluster.until(lambda c: c.image("stable") == "v1")
    assert [p.uid for p in cluster.pods_of("v1")] == [uid]


@pytest.mark.parametrize("kind", ["Deployment", "Service", "Secret"])
def test_a_child_deleted_by_hand_is_made_again_in_one_pass(kind: str) -> None:
    cluster = serving("v1")
    (name,) = cluster.of_kind(kind)
    cluster.vandalise(kind, name)
    cluster.reconcile()
    assert list(cluster.of_kind(kind)) == [name]


def test_a_pool_whose_record_was_deleted_goes_on_and_can_still_leave() -> None:
    cluster = serving("v1")
    template = next(iter(cluster.of_kind("Deployment").values()))["spec"]["template"]
    (name,) = cluster.of_kind("ModelSnapshot")
    cluster.apply("v2")
    cluster.vandalise("ModelSnapshot", name)
    cluster.until(lambda c: c.image("stable") == "v2")
    cluster.until(lambda c: c.replicas() == {"v2": 1})
    assert template["spec"]["containers"][0]["image"] == "v1"


def test_a_record_of_the_current_revision_is_written_again_with_the_running_template() -> None:
    cluster = serving("v1")
    (pool,) = cluster.of_kind("Deployment").values()
    marked = {
        **pool["spec"]["template"],
        "metadata": {**pool["spec"]["template"]["metadata"], "annotations": {"a": "b"}},
    }
    cluster.put("Deployment", pool["metadata"]["name"], {**pool, "spec": {**pool["spec"], "template": marked}})
    (name,) = cluster.of_kind("ModelSnapshot")
    cluster.vandalise("ModelSnapshot", name)
    cluster.turns(2)
    assert cluster.objects["ModelSnapshot", name]["spec"]["podTemplate"] == marked
    assert cluster.says("Ready")[0] == "True"
