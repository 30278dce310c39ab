"""After the promotion: the previous revision stays warm, and comes back if the new one fails."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_canary import PROBES
from tests.plan.world import Cluster, rollout, serving

IMMEDIATE = rollout(strategy="Immediate", watch="60s")


def watched(image: str = "v2", **spec: Any) -> Cluster:
    """`image` has just been promoted over v1, which is warm."""
    spec = {"rollout": IMMEDIATE, "probes": PROBES, **spec}
    cluster = serving("v1", **spec)
    cluster.apply(image, **spec)
    return cluster.until_phase("Watching")


def test_the_previous_revision_is_kept_for_the_time_of_the_watch_and_then_leaves() -> None:
    cluster = watched()
    began = cluster.true_time
    assert (cluster.image("previous"), cluster.replicas()) == ("v1", {"v1": 1, "v2": 1})
    cluster.until_phase("Stable")
    assert 58 <= cluster.true_time - began <= 62
    cluster.until(lambda c: c.replicas() == {"v2": 1})


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(fails_prompt=True), "ProbeFailed"),
        (Behaviour(error_rate=1.0), "ErrorRate"),
        (Behaviour(identity="other"), "WrongModelIdentity"),
        (Behaviour(exit_code=1), "EngineCrash"),
    ],
)
def test_a_failure_in_the_watch_brings_the_previous_revision_back_at_once(behaviour: Behaviour, reason: str) -> None:
    cluster = watched()
    audit = Audit(cluster)
    cluster.behaviours["v2"] = behaviour
    while cluster.phase == "Watching":
        audit.turn(1.0)
    assert (cluster.phase, cluster.weights()["v1"]) == ("Restoring", 100)
    for _ in range(30):
        audit.turn(1.0)
    assert (cluster.phase, cluster.image("stable"), cluster.weights()) == ("RolledBack", "v1", {"v1": 100})
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]
    assert cluster.replicas() == {"v1": 1}
    latest = cluster.status["history"][0]
    assert (latest["number"], latest["reason"]) == (3, "restored")


def test_a_previous_revision_that_has_gone_cold_is_prepared_first() -> None:
    cluster = watched(replicas=2)
    # Stable loses a pod and finds no room: the previous one makes some.
    cluster.capacity = 2
    for pod in cluster.pods_of("v1"):
        cluster.delete_pod(pod)
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.turns(4)
    assert cluster.replicas() == {"v1": 0, "v2": 2}
    cluster.capacity = 8
    cluster.behaviours["v1"] = Behaviour(start=8.0)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("Restoring")
    assert cluster.weights() == {"v2": 100}
    cluster.turns(3)
    assert cluster.says("Reconciling") == ("True", "Restoring")
    cluster.until_phase("RolledBack")
    assert cluster.image("stable") == "v1"


def test_a_restore_without_room_says_so() -> None:
    cluster = watched(replicas=2)
    cluster.edit(rollout={**cluster.deployment["spec"]["rollout"], "capacity": {"mode": "Surge"}})
    cluster.capacity = 2
    for pod in cluster.pods_of("v1"):
        cluster.delete_pod(pod)
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.turns(4)
    cluster.crash(next(p for p in cluster.pods_of("v2") if p.deleted is None))
    cluster.until_phase("Restoring")
    cluster.until(lambda c: c.says("Stalled") == ("True", "InsufficientCapacity"), limit=60)


def test_if_the_restored_revision_fails_too_a_human_decides() -> None:
    cluster = watched()
    cluster.behaviours["v1"] = Behaviour(identity="also other")
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.until(lambda c: c.says("Stalled") == ("True", "RestoreFailed"))
    cluster.turns(20)
    assert cluster.phase == "Restoring"
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.apply("v3", rollout=IMMEDIATE)
    cluster.until(lambda c: c.image("stable") == "v3")


def test_after_a_wrong_identity_the_streams_are_cut_and_no_failure_goes_to_the_wrong_model() -> None:
    cluster = watched()
    cluster.long_streams = True
    cluster.turns(2)
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.until_phase("Restoring").turns(1)
    assert cluster.weights() == {"v1": 100}
    assert cluster.table is not None
    assert cluster.table.cut == (cluster.revision("v2"),)
    cluster.until_phase("RolledBack").turns(1)
    assert sum(gateway.cut for gateway in cluster.gateways) > 0


def test_a_newer_spec_ends_the_watch_and_the_previous_revision_leaves_first() -> None:
    cluster = watched()
    audit = Audit(cluster)
    cluster.apply("v3", rollout=IMMEDIATE)
    for _ in range(60):
        audit.turn(1.0)
        assert len({p.image for p in cluster.pods.values()}) <= 2
    assert cluster.image("stable") == "v3"


def test_a_newer_spec_does_not_stop_a_restore_that_is_due() -> None:
    cluster = watched()
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.apply("v3", rollout=IMMEDIATE)
    cluster.turn()
    assert cluster.phase == "Restoring"
    cluster.until(lambda c: c.image("stable") == "v3")
    assert [f["revision"] for f in cluster.status["failed"]] == [cluster.revision("v2")]


@pytest.mark.parametrize("phase", ["Watching", "Restoring"])
def test_scaling_to_zero_ends_it(phase: str) -> None:
    cluster = watched()
    if phase == "Restoring":
        cluster.behaviours["v1"] = Behaviour(unhealthy=True)
        cluster.turn()
        cluster.behaviours["v2"] = Behaviour(identity="other")
        cluster.until_phase("Restoring")
    cluster.edit(replicas=0)
    cluster.until(lambda c: all(n == 0 for n in c.replicas().values()))
    assert cluster.until(lambda c: c.pods == {})


def test_the_watch_goes_on_after_a_restart_and_does_not_count_the_downtime() -> None:
    cluster = watched().turns(20)
    cluster.pass_time(300.0)
    cluster.restart_operator()
    cluster.turns(10)
    assert cluster.phase == "Watching"
    before = cluster.true_time
    cluster.until_phase("Stable")
    assert 25 <= cluster.true_time - before <= 40


def test_a_failed_previous_revision_is_nothing_to_go_back_to() -> None:
    cluster = watched()
    entry = {"revision": cluster.revision("v1"), "class": "X", "reason": "X", "at": "2027-01-01T00:00:00Z"}
    cluster._store("ModelDeployment", "story", {**cluster.deployment, "status": {**cluster.status, "failed": [entry]}})
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turns(5)
    assert cluster.phase == "Watching"
    assert cluster.says("AnalysisHealthy") == ("False", "EngineCrash")
    assert cluster.status["verdict"]["result"] == "Fail"
