"""Recreate: the old pods are gone before the new ones come, and on the way back likewise."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_image_volumes import VOLUMES
from tests.plan.test_requests import request_of
from tests.plan.world import NAME, Cluster, rollout, serving


def terms(**fields: Any) -> dict[str, Any]:
    return rollout(strategy="Immediate", capacity={"mode": "Recreate"}, **fields)


def full(**spec: Any) -> Cluster:
    """v1 serves on two pods, and there is no room for a third."""
    return serving("v1", capacity=2, **{"replicas": 2, "rollout": terms(), **spec})


def replacing(**spec: Any) -> Cluster:
    cluster = full(**spec)
    cluster.apply("v2", **{"replicas": 2, "rollout": terms(), **spec})
    return cluster.until_phase("Replacing")


def one_by_one(audit: Audit, phase: str) -> None:
    """Until that phase; never are there pods of both."""

    def there(cluster: Cluster) -> bool:
        assert not (cluster.pods_of("v1") and cluster.pods_of("v2"))
        return cluster.phase == phase

    audit.until(there)


def test_stable_makes_way_for_a_candidate_that_has_no_room_beside_it() -> None:
    cluster = full()
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms())
    seen = []
    for _ in range(60):
        audit.turn(1.0)
        assert not (cluster.pods_of("v1") and cluster.pods_of("v2"))
        if (now := (cluster.phase, cluster.weights())) not in seen:
            seen.append(now)
        if cluster.phase == "Watching":
            break
    assert [weights for phase, weights in seen if phase == "Replacing"] == [{}]
    assert (cluster.image("stable"), cluster.image("previous")) == ("v2", "v1")
    for _ in range(40):
        audit.turn(1.0)
    assert (cluster.phase, cluster.weights(), cluster.replicas()) == ("Stable", {"v2": 100}, {"v2": 2})


def test_what_will_happen_is_said_before_anything_moves() -> None:
    cluster = full()
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.turn()
    assert (cluster.phase, cluster.weights(), cluster.replicas()["v1"]) == ("Preparing", {"v1": 100}, 2)
    assert "nobody is served meanwhile" in cluster.status["plan"]


def test_open_requests_end_before_the_old_pods_go() -> None:
    cluster = full()
    audit = Audit(cluster)
    cluster.long_streams = True
    audit.turn(1.0)
    cluster.apply("v2", replicas=2, rollout=terms())
    for _ in range(15):
        audit.turn(1.0)
    assert (cluster.phase, cluster.weights(), cluster.replicas()["v1"]) == ("Replacing", {}, 2)
    assert "open requests" in cluster.status["plan"]
    cluster.long_streams = False
    for _ in range(20):
        audit.turn(1.0)
    assert cluster.image("stable") == "v2"


def test_one_pod_that_answers_serves_before_the_others_are_there() -> None:
    cluster = replacing()
    cluster.capacity = 1
    cluster.until_phase("Watching")
    assert (cluster.weights(), cluster.ready_pods(cluster.revision("v2"))) == ({"v2": 100}, 1)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(exit_code=1), "EngineCrash"),
        (Behaviour(identity="other"), "WrongModelIdentity"),
        (Behaviour(pull=("ErrImageNeverPull", "no such image")), "ImagePull"),
    ],
)
def test_a_candidate_that_fails_is_gone_before_stable_comes_back(behaviour: Behaviour, reason: str) -> None:
    cluster = full()
    audit = Audit(cluster)
    cluster.behaviours["v2"] = behaviour
    cluster.apply("v2", replicas=2, rollout=terms())
    one_by_one(audit, "RolledBack")
    for _ in range(20):
        audit.turn(1.0)
    assert (cluster.weights(), cluster.ready_pods(cluster.revision("v1"))) == ({"v1": 100}, 2)
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]


def test_a_candidate_that_finds_no_room_waits_and_abort_brings_stable_back() -> None:
    cluster = replacing()
    cluster.capacity = 0
    cluster.until(lambda c: c.says("Stalled") == ("True", "InsufficientCapacity"), limit=80)
    assert cluster.status["failed"] == []
    cluster.capacity = 2
    cluster.behaviours["v2"] = Behaviour(start=50.0)
    cluster.ask("abort")
    cluster.until_phase("RolledBack").until(lambda c: c.ready_pods(c.revision("v1")) == 2)
    assert [f["class"] for f in cluster.status["failed"]] == ["Aborted"]


@pytest.mark.parametrize("turns", [0, 2, 5])
def test_a_newer_spec_goes_back_through_stable(turns: int) -> None:
    cluster = replacing()
    audit = Audit(cluster)
    cluster.behaviours["v2"] = Behaviour(start=30.0)
    for _ in range(turns):
        audit.turn(1.0)
    began = cluster.true_time
    cluster.apply("v3", replicas=2, rollout=terms())
    audit.until(lambda c: c.image("stable") == "v3")
    assert cluster.status["failed"] == []
    assert len(cluster.status["history"]) == 2  # v2 never was stable,
    assert cluster.true_time - began < 28  # nor waited for


def test_what_the_pods_wait_for_is_said_while_nobody_is_served() -> None:
    cluster = replacing()
    cluster.behaviours["v2"] = Behaviour(start=30.0)
    cluster.until(lambda c: bool(c.pods_of("v2"))).turns(3)
    assert cluster.says("Reconciling") == ("True", "Starting")
    assert "0 of 2 pods" in cluster.status["plan"]


def test_pods_that_are_not_even_made_are_named_while_nobody_is_served() -> None:
    cluster = replacing()
    cluster.until(lambda c: not c.pods_of("v1"))
    name = f"{NAME}-{cluster.revision('v2')}"
    for _ in range(4):
        pool = cluster.objects["Deployment", name]
        refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
        cluster.objects["Deployment", name] = {**pool, "status": {"conditions": [refused]}}
        for pod in cluster.pods_of("v2"):
            del cluster.pods[pod.name]
        cluster.reconcile()
    assert (cluster.phase, cluster.says("Stalled")) == ("Replacing", ("True", "PodsNotCreated"))


def test_weights_that_are_dropped_after_all_are_named() -> None:
    cluster = full()
    cluster.apply("v2", replicas=2, rollout=terms(), **VOLUMES)
    cluster.until_phase("Replacing")
    cluster.serves_image_volumes = False
    cluster.vandalise("Deployment", f"{NAME}-{cluster.revision('v2')}")
    cluster.turns(8)
    assert (cluster.phase, cluster.says("Stalled")) == ("Replacing", ("True", "ImageVolumesDropped"))
    assert cluster.pods_of("v2") == []


def test_scaled_to_zero_meanwhile_nothing_comes_up() -> None:
    cluster = replacing().turns(3)
    cluster.edit(replicas=0)
    cluster.until(lambda c: c.says("Ready") == ("True", "ScaledToZero"))
    cluster.until(lambda c: not c.pods)
    assert cluster.status["failed"] == []


def test_a_pause_holds_it_before_anything_stops() -> None:
    cluster = full()
    cluster.ask("pause")
    cluster.turn()
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.turns(20)
    assert (cluster.phase, cluster.weights(), cluster.says("Reconciling")[1]) == ("Preparing", {"v1": 100}, "Paused")
    cluster.ask("resume")
    cluster.until_phase("Watching")


def test_a_failure_in_the_watch_makes_way_for_the_previous_one() -> None:
    cluster = full(rollout=terms(watch="60s"))
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms(watch="60s"))
    audit.until(lambda c: c.phase == "Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    audit.turn(1.0)
    assert (cluster.phase, cluster.weights()) == ("Replacing", {})
    cluster.ask("abort")
    audit.turn(1.0)
    assert request_of(cluster)[1:] == (False, "nothing is being rolled out")
    cluster.ask("rollback=2")
    audit.turn(1.0)
    assert request_of(cluster)[1] is False
    one_by_one(audit, "RolledBack")
    assert (cluster.image("stable"), cluster.weights()) == ("v1", {"v1": 100})


def test_when_both_fail_nothing_is_moved_a_third_time_until_the_spec_changes() -> None:
    cluster = full(rollout=terms(watch="60s"))
    cluster.apply("v2", replicas=2, rollout=terms(watch="60s"))
    cluster.until_phase("Watching")
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until(lambda c: c.says("Stalled") == ("True", "RestoreFailed"), limit=60).turns(20)
    assert cluster.phase == "Replacing"
    cluster.apply("v3", replicas=2, rollout=terms(watch="60s"))
    cluster.until(lambda c: c.image("stable") == "v3", limit=200)


def test_what_comes_back_serves_once_it_has_got_over_a_crash() -> None:
    cluster = full(rollout=terms(watch="60s"))
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms(watch="60s"))
    audit.until(lambda c: c.phase == "Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    audit.until(lambda c: c.ready_pods(c.revision("v1")) > 0)
    # Its own crash, while nobody else is there: it is no reason to leave people without any answer.
    for pod in cluster.pods_of("v1"):
        cluster.crash(pod)
    one_by_one(audit, "RolledBack")
    assert (cluster.image("stable"), cluster.weights()) == ("v1", {"v1": 100})
    assert [f["revision"] for f in cluster.status["failed"]] == [cluster.revision("v2")]
    assert cluster.status["history"][0]["reason"] == "restored"


def test_a_previous_revision_whose_secret_has_changed_does_not_come_back() -> None:
    env = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "t"}}}]
    cluster = Cluster(capacity=1)
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.apply_model()
    for image in ("v1", "v2"):
        cluster.apply(image, rollout=terms(watch="90s"), engine={"type": "sim", "image": image, "env": env})
        cluster.until_phase("Stable" if image == "v1" else "Watching")
    cluster.references = {("Secret", "tokens"): "b" * 64}
    cluster.edit(engine={"type": "sim", "image": "v2", "env": env})
    cluster.ask("pause")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turns(3)
    assert cluster.image("stable") == "v2"


def test_a_rollback_replaces_as_well_and_what_it_left_comes_back_if_it_fails() -> None:
    cluster = full()
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.until_phase("Watching").until_phase("Stable")
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    cluster.ask("rollback=1")
    cluster.until_phase("Replacing").until_phase("Stable")
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert cluster.image("stable") == "v2"


def test_what_fails_just_before_it_is_stable_makes_way_again() -> None:
    cluster = replacing()
    audit = Audit(cluster)
    audit.until(lambda c: c.phase == "Promoting")
    cluster.crash(cluster.pods_of("v2")[0])
    audit.turn(1.0)
    assert (cluster.phase, cluster.weights()) == ("Replacing", {})
    one_by_one(audit, "RolledBack")


def test_a_cluster_that_drops_the_weights_is_found_out_before_stable_stops() -> None:
    cluster = full()
    cluster.serves_image_volumes = False
    cluster.apply("v2", replicas=2, rollout=terms(), **VOLUMES)
    cluster.turns(15)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {"v1": 100})
    assert cluster.says("Stalled") == ("True", "ImageVolumesDropped")


def test_the_first_revision_has_nobody_to_replace() -> None:
    assert full().phase == "Stable"


def test_the_death_of_the_operator_at_any_write_loses_nothing() -> None:
    for turns in range(0, 14, 2):
        cluster = full()
        audit = Audit(cluster)
        cluster.apply("v2", replicas=2, rollout=terms())
        for _ in range(turns):
            audit.turn(1.0)
        cluster.fail_action = 1
        audit.turn(1.0)
        cluster.fail_action = None
        cluster.restart_operator()
        audit.until(lambda c: c.image("stable") == "v2")


def lose(cluster: Cluster, revision: str) -> None:
    """All that says how to make a revision goes at once."""
    for kind in ("ModelSnapshot", "Deployment"):
        if f"{NAME}-{revision}" in cluster.of_kind(kind):
            cluster.vandalise(kind, f"{NAME}-{revision}")


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_lost_while_it_comes_back_is_given_up_and_what_failed_serves_on_and_says_so(gone: bool) -> None:
    # Given v2, which failed in the watch, making way for v1
    cluster = full(rollout=terms(watch="60s"))
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms(watch="60s"))
    audit.until(lambda c: c.phase == "Watching")
    cluster.long_streams = not gone
    audit.turn(1.0)
    cluster.behaviours["v1"] = Behaviour(start=30.0)
    cluster.crash(cluster.pods_of("v2")[0])
    audit.until(lambda c: c.phase == "Replacing")
    if gone:
        audit.until(lambda c: not c.pods_of("v2") and bool(c.pods_of("v1")))
    # When somebody deletes all that says how to make v1
    lost = cluster.status["candidate"]
    audit.excused.add(lost)
    lose(cluster, lost)
    audit.until(lambda c: c.phase == "RolledBack", limit=30)
    # Then v2 serves on, or again, and it is said
    assert (cluster.image("stable"), cluster.status.get("candidate")) == ("v2", None)
    (event,) = (e for e in cluster.events if e.reason == "RecordLost")
    assert event.message == f"{lost} failed: neither record nor pool is left of it"
    audit.until(lambda c: c.weights() == {"v2": 100} and c.ready_pods(c.revision("v2")) == 2)
    audit.turn(1.0)
    assert cluster.says("Stalled") == ("True", "RolledBack")
    cluster.ask("retry")
    audit.until(lambda c: c.phase == "Stable" and c.says("Ready")[0] == "True")


def test_a_record_that_goes_while_the_spec_cannot_be_read_is_waited_for() -> None:
    cluster = full(rollout=terms(watch="60s"))
    cluster.apply("v2", replicas=2, rollout=terms(watch="60s"))
    cluster.until_phase("Watching")
    cluster.behaviours["v1"] = Behaviour(start=30.0)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until(lambda c: bool(c.pods_of("v1")))
    model = cluster.objects.pop(("Model", "tiny"))
    lose(cluster, cluster.status["candidate"])
    cluster.turns(5)
    assert cluster.phase == "Replacing"
    cluster.objects["Model", "tiny"] = model
    cluster.until_phase("RolledBack")
