"""What happens to a rollout that is under way when what it rests on changes or goes."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
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
    cluster.turn()
    assert cluster.says("InputMissing") == ("True", "SecretNotFound")
    assert "Secret tokens" in cluster.condition("InputMissing")["message"]
    cluster.until_phase("Watching").until_phase("Stable")
    assert cluster.image("stable") == "v2"
    cluster.turns(130)
    assert cluster.says("Stalled") == ("True", "SecretNotFound")
    assert "Secret tokens" in cluster.condition("Stalled")["message"]
    assert (cluster.weights(), cluster.replicas()) == ({"v2": 100}, {"v2": 2})
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def take_model(cluster: Cluster) -> None:
    del cluster.objects["Model", "tiny"]


def take_secret(cluster: Cluster) -> None:
    cluster.references = {("Secret", "tokens"): None}


def take_guardrail(cluster: Cluster) -> None:
    cluster.guardrails = ()


def give_back(cluster: Cluster) -> None:
    cluster.apply_model()
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.guardrails = (GUARD,)


GUARD: Any = {"metadata": {"name": "safe"}, "spec": {"failurePolicy": "Open", "rules": [{}]}}
TAKEN = [(take_model, "ModelNotFound"), (take_secret, "SecretNotFound"), (take_guardrail, "GuardrailNotFound")]


@pytest.mark.parametrize(("take", "reason"), TAKEN)
@pytest.mark.parametrize("phase", ["Preparing", "Canary", "Watching"])
def test_what_goes_in_mid_flight_is_named_at_once_and_disturbs_nothing(
    phase: str, take: Callable[[Cluster], None], reason: str
) -> None:
    # Given a rollout that rests on a Model, a Secret and a Guardrail
    cluster = Cluster()
    give_back(cluster)
    held: dict[str, Any] = {"replicas": 2, "guardrailRefs": [{"name": "safe"}], "rollout": SLOW}
    cluster.apply(**held, **consuming("v1"))
    cluster.until_phase("Stable")
    cluster.apply(**held, **consuming("v2"))
    cluster.until_phase(phase)
    before = (cluster.weights(), cluster.replicas(), cluster.status["failed"])
    # When one of them goes
    take(cluster)
    cluster.turns(2)
    # Then it is said at once, once, and nobody and nothing is moved by it
    assert cluster.says("InputMissing") == ("True", reason)
    assert [e.type for e in cluster.events if e.reason == "InputMissing"] == ["Warning"]
    assert (cluster.phase, cluster.weights(), cluster.replicas(), cluster.status["failed"]) == (phase, *before)
    # When it is there again
    give_back(cluster)
    cluster.turns(2)
    # Then nothing is said any more
    assert all(c["type"] != "InputMissing" for c in cluster.status["conditions"])
    cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")


def test_at_rest_what_is_missing_is_waited_for_and_no_alert() -> None:
    cluster = serving("v1")
    take_model(cluster)
    cluster.turns(3)
    assert cluster.says("Reconciling") == ("True", "ModelNotFound")
    assert all(c["type"] != "InputMissing" for c in cluster.status["conditions"])


def test_a_secret_that_changes_under_what_comes_back_by_request_is_named_until_it_is_on_its_way_out() -> None:
    # Given v1, which reads a Secret, coming back in place of v2, which reads none
    cluster = Cluster()
    cluster.apply_model()
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.apply(rollout=SLOW, **consuming("v1"))
    cluster.until_phase("Stable")
    cluster.apply("v2", rollout=SLOW)
    cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")
    cluster.behaviours["v1"] = Behaviour(start=20.0)
    cluster.ask("rollback=1")
    cluster.until_phase("Preparing").turns(5)
    assert all(c["type"] != "ConfigDrifted" for c in cluster.status["conditions"])
    # When the Secret changes
    cluster.references = {("Secret", "tokens"): "b" * 64}
    cluster.turn()
    # Then the alert names both, and the rollback goes on
    said = f"Secret tokens has changed since {cluster.status['candidate']} was made"
    assert cluster.condition("ConfigDrifted")["message"] == said
    assert cluster.phase == "Preparing"
    # When it is given up
    cluster.ask("abort")
    cluster.until_phase("Reverting")
    assert all(c["type"] != "ConfigDrifted" for c in cluster.status["conditions"])


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
