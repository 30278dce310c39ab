"""What happens to a rollout that is under way when what it rests on changes or goes."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.test_canary import canary
from tests.plan.world import NAME, NAMESPACE, Cluster, rollout, serving
from understudy.domain.key import Key

SLOW = rollout(
    steps=[{"weight": 10, "soak": "20s"}, {"weight": 50, "soak": "20s"}, {"weight": 100, "soak": "20s"}],
)


def consuming(image: str) -> dict[str, Any]:
    """An engine that reads a Secret."""
    reference = {"secretKeyRef": {"name": "tokens", "key": "t"}}
    return {"engine": {"type": "sim", "image": image, "env": [{"name": "T", "valueFrom": reference}]}}


def test_more_replicas_in_mid_flight_reach_both_revisions_before_the_next_share() -> None:
    cluster = canary(10, replicas=2, rollout=SLOW)
    candidate = cluster.status["candidate"]
    cluster.edit(replicas=4)
    cluster.until(lambda c: c.weights()["v2"] == 50)
    assert cluster.replicas()["v1"] == 4
    assert cluster.replicas()["v2"] >= 2
    cluster.until_phase("Watching")
    assert cluster.status["stable"] == candidate


def test_fewer_replicas_in_mid_flight_take_no_pod_that_a_share_needs() -> None:
    cluster = canary(50, replicas=4, rollout=SLOW)
    cluster.edit(replicas=2)
    cluster.turns(3)
    assert cluster.weights() == {"v1": 50, "v2": 50}
    assert cluster.replicas()["v1"] == 2
    assert cluster.replicas()["v2"] >= 1
    cluster.until_phase("Watching")


def test_names_edited_in_mid_flight_change_the_table_and_neither_share_nor_evidence() -> None:
    cluster = canary(50, servedNames=["a", "b"], rollout=SLOW)
    candidate, step = cluster.status["candidate"], cluster.status["step"]
    cluster.turns(5)
    cluster.edit(servedNames=["a", "c"])
    cluster.turns(2)
    assert cluster.table is not None
    assert cluster.table.served_names == ("a", "c", "b", f"{NAMESPACE}/{NAME}")
    assert (cluster.status["candidate"], cluster.status["step"], cluster.weights()["v2"]) == (candidate, step, 50)
    cluster.until_phase("Watching")


def test_a_name_that_another_takes_in_mid_flight_stalls_nothing_that_serves() -> None:
    cluster = canary(10, servedNames=["a"], rollout=SLOW)
    cluster.edit(servedNames=["a", "taken"])
    cluster.name_holders = {"taken": Key(NAMESPACE, "other")}
    cluster.turns(3)
    assert cluster.table is not None
    assert "taken" not in cluster.table.served_names
    assert cluster.weights() == {"v1": 90, "v2": 10}


def test_a_guardrail_that_goes_in_mid_flight_stops_no_request_and_no_pod() -> None:
    cluster = serving("v1", replicas=2)
    guard = {"metadata": {"name": "safe"}, "spec": {"failurePolicy": "Open", "rules": [{}]}}
    cluster.guardrails = (guard,)
    cluster.apply("v2", replicas=2, guardrailRefs=[{"name": "safe"}], rollout=SLOW)
    cluster.until(lambda c: c.weights().get("v2") == 10)
    cluster.guardrails = ()
    cluster.turns(5)
    assert cluster.weights() == {"v1": 90, "v2": 10}
    assert cluster.replicas() == {"v1": 2, "v2": 1}
    assert cluster.says("Reconciling")[0] == "True"
    cluster.turns(130)
    assert cluster.says("Stalled") == ("True", "GuardrailNotFound")
    assert sum(cluster.weights().values()) == 100
    cluster.guardrails = (guard,)
    cluster.until_phase("Watching", "Stable")
    assert cluster.image("stable") == "v2"


def test_a_secret_that_goes_in_mid_flight_stops_new_rollouts_only() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.apply(replicas=2, rollout=SLOW, **consuming("v1"))
    cluster.until_phase("Stable")
    cluster.apply(replicas=2, rollout=SLOW, **consuming("v2"))
    cluster.until(lambda c: c.weights().get("v2") == 10)
    cluster.references = {("Secret", "tokens"): None}
    cluster.until_phase("Watching").until_phase("Stable")
    assert cluster.image("stable") == "v2"
    cluster.turns(130)
    assert cluster.says("Stalled") == ("True", "SecretNotFound")
    assert "Secret tokens" in cluster.condition("Stalled")["message"]
    assert (cluster.weights(), cluster.replicas()) == ({"v2": 100}, {"v2": 2})
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.until(lambda c: c.says("Ready")[0] == "True")


@pytest.mark.parametrize("stale", [1, 2, 3])
def test_views_that_are_always_old_make_a_rollout_slower_and_break_nothing(stale: int) -> None:
    cluster = serving("v1", replicas=2)
    cluster.apply("v2", replicas=2)
    audit = Audit(cluster)
    for _ in range(300):
        audit.turn(1.0, stale=stale)
    assert (cluster.phase, cluster.image("stable")) == ("Stable", "v2")
    assert cluster.says("Stalled")[0] == "False"


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_jump_of_the_clock_in_mid_flight_neither_passes_nor_ends_anything(jump: float) -> None:
    cluster = canary(10, rollout=SLOW)
    step = cluster.status["step"]
    cluster.skew += jump
    cluster.turns(3)
    assert (cluster.phase, cluster.status["step"], cluster.weights()["v2"]) == ("Canary", step, 10)
    cluster.until_phase("Watching")
