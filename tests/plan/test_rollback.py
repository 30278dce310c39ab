"""`rollback=NUMBER`: an older promotion serves again, from its record, until somebody decides anew."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.test_requests import request_of
from tests.plan.world import NAME, Cluster, rollout, serving

TERMS = rollout(strategy="Immediate", watch="5s")
STEPS = [{"weight": 10, "soak": "60s"}, {"weight": 100, "soak": "60s"}]


def third(**spec: Any) -> Cluster:
    """v1, v2 and v3 were promoted one after the other; v3 serves, the others have left."""
    spec = {"rollout": TERMS, **spec}
    cluster = serving("v1", **spec)
    for image in ("v2", "v3"):
        cluster.apply(image, **spec)
        cluster.until_phase("Watching").until(lambda c: c.phase == "Stable" and c.says("Ready")[0] == "True")
    return cluster.until(lambda c: list(c.replicas()) == ["v3"])


def back(cluster: Cluster, number: int) -> Cluster:
    cluster.ask(f"rollback={number};{cluster.true_time}")
    cluster.turn()
    return cluster


def classes(cluster: Cluster) -> dict[str, str]:
    images = cluster.images()
    return {images[f["revision"]]: f["class"] for f in cluster.status["failed"]}


def test_what_was_promoted_under_the_number_serves_again_and_is_pinned() -> None:
    cluster = third()
    audit = Audit(cluster)
    cluster.ask("rollback=1")
    audit.until(lambda c: c.phase == "RolledBack")
    assert (cluster.image("stable"), cluster.weights()) == ("v1", {"v1": 100})
    assert cluster.status["pinnedRevision"] == cluster.revision("v1")
    assert classes(cluster) == {"v3": "RolledBackByUser"}
    assert cluster.says("Stalled") == ("True", "RolledBack")
    assert cluster.says("Available")[0] == "True"
    assert (cluster.status["history"][0]["number"], cluster.status["history"][0]["reason"]) == (4, "rolled back")
    for _ in range(60):
        audit.turn(1.0)
    assert (cluster.phase, list(cluster.replicas())) == ("RolledBack", ["v1"])


def test_it_comes_at_once_from_its_record_whatever_the_spec_says_of_steps() -> None:
    cluster = third()
    record = cluster.objects["ModelSnapshot", f"{NAME}-{cluster.revision('v1')}"]["spec"]["podTemplate"]
    cluster.edit(rollout=rollout(steps=STEPS))
    back(cluster, 1)
    weights = set()
    for _ in range(60):
        cluster.turn()
        weights.add(cluster.weights().get("v1", 0))
    assert (cluster.phase, weights) == ("RolledBack", {0, 100})
    assert cluster.objects["Deployment", f"{NAME}-{cluster.revision('v1')}"]["spec"]["template"] == record


def test_in_the_watch_the_warm_revision_takes_everything_back_in_the_same_pass() -> None:
    terms = rollout(strategy="Immediate", watch="60s")
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    back(cluster.until_phase("Watching"), 1)
    assert (cluster.phase, cluster.weights()) == ("Restoring", {"v1": 100, "v2": 0})
    assert cluster.until_phase("RolledBack").image("stable") == "v1"
    assert classes(cluster) == {"v2": "RolledBackByUser"}


def test_in_the_watch_an_older_one_ends_the_watch_first() -> None:
    cluster = third()
    cluster.apply("v4", rollout=rollout(strategy="Immediate", watch="60s"))
    back(cluster.until_phase("Watching"), 1)
    assert cluster.until_phase("RolledBack").image("stable") == "v1"


def test_in_mid_rollout_the_candidate_goes_back_first() -> None:
    cluster = canary(50)
    cluster.ask("rollback=1")
    cluster.turn()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})
    cluster.until_phase("RolledBack").turns(30)
    assert (classes(cluster), cluster.status["pinnedRevision"]) == (
        {"v2": "RolledBackByUser"},
        cluster.revision("v1"),
    )
    assert cluster.image("candidate") == ""


def test_the_same_request_again_changes_nothing() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    back(cluster, 1).turns(5)
    assert request_of(cluster)[1:] == (False, f"{cluster.revision('v1')} is what is aimed at already")
    assert cluster.phase == "RolledBack"


def test_retry_ends_the_rollback() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    cluster.ask("retry")
    cluster.until(lambda c: c.says("Ready")[0] == "True", limit=60)
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v3", [])
    assert "pinnedRevision" not in cluster.status


def test_another_spec_ends_the_rollback() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    cluster.apply("v4", rollout=TERMS)
    cluster.until(lambda c: c.image("stable") == "v4", limit=60)
    assert "pinnedRevision" not in cluster.status


def test_a_spec_that_asks_for_what_serves_ends_the_rollback_without_a_rollout() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    cluster.apply("v1", rollout=TERMS)
    cluster.turns(3)
    assert (cluster.phase, cluster.says("Ready")[0]) == ("Stable", "True")
    assert "pinnedRevision" not in cluster.status


def test_another_rollback_goes_on_to_another_number() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    back(cluster, 2)
    cluster.until(lambda c: c.phase == "RolledBack" and c.image("stable") == "v2")
    assert cluster.status["pinnedRevision"] == cluster.revision("v2")


def test_going_forward_to_what_the_spec_asks_for_needs_no_pin() -> None:
    cluster = back(third(), 1).until_phase("RolledBack")
    back(cluster, 3)
    cluster.until(lambda c: c.says("Ready")[0] == "True", limit=60)
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v3", [])


def test_a_revision_that_failed_once_is_forgiven_when_it_is_asked_for_by_number() -> None:
    terms = rollout(strategy="Immediate", watch="60s")
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    cluster.until_phase("Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    cluster.apply("v3", rollout=terms)
    cluster.until_phase("Watching")
    back(cluster, 2)
    cluster.until(lambda c: c.image("stable") == "v2" and c.phase == "RolledBack")
    assert classes(cluster) == {"v3": "RolledBackByUser"}


def test_a_rollback_that_fails_leaves_what_serves_and_holds_nothing_against_it() -> None:
    cluster = third()
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    back(cluster, 1)
    cluster.until(lambda c: c.phase == "Stable" and not c.image("candidate"), limit=60).turns(30)
    assert (cluster.phase, cluster.image("stable"), cluster.says("Ready")[0]) == ("Stable", "v3", "True")
    assert classes(cluster) == {"v1": "EngineCrash"}
    assert "pinnedRevision" not in cluster.status


def test_a_pause_does_not_hold_a_rollback() -> None:
    cluster = third()
    cluster.ask("pause")
    cluster.turn()
    back(cluster, 1)
    assert cluster.until_phase("RolledBack").image("stable") == "v1"


def test_an_unreadable_spec_does_not_hold_a_rollback() -> None:
    cluster = third()
    engine = cluster.deployment["spec"]["engine"]
    cluster.edit(engine={**engine, "args": ["--port=1"]})
    cluster.turns(3)
    back(cluster, 1)
    cluster.until(lambda c: c.image("stable") == "v1")
    assert classes(cluster) == {"v3": "RolledBackByUser"}
    cluster.edit(engine=engine)
    cluster.turns(20)
    assert (cluster.phase, cluster.image("stable")) == ("RolledBack", "v1")


def test_a_missing_model_does_not_start_again_what_was_left() -> None:
    cluster = third()
    model = cluster.objects.pop(("Model", "tiny"))
    cluster.turns(3)
    back(cluster, 1).until(lambda c: c.image("stable") == "v1")
    cluster.objects["Model", "tiny"] = model
    cluster.turns(20)
    assert (cluster.phase, cluster.image("stable")) == ("RolledBack", "v1")


def test_a_rollback_survives_the_death_of_the_operator_at_any_write() -> None:
    for write in range(6):
        cluster = third()
        cluster.ask("rollback=1")
        cluster.fail_action = write
        cluster.turn()
        cluster.restart_operator()
        cluster.fail_action = None
        cluster.until_phase("RolledBack")
        assert (cluster.image("stable"), classes(cluster)) == ("v1", {"v3": "RolledBackByUser"})


def test_a_number_whose_record_is_gone_is_named_with_those_that_are_there() -> None:
    cluster = third()
    cluster.vandalise("ModelSnapshot", f"{NAME}-{cluster.revision('v1')}")
    back(cluster, 1).turns(3)
    said = "there is no record of a promotion with number 1; recorded: 2, 3"
    assert (cluster.phase, request_of(cluster)[1:]) == ("Stable", (False, said))


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_a_revision_that_cannot_be_as_it_was_does_not_come_back(kind: str) -> None:
    reference = {"secretKeyRef" if kind == "Secret" else "configMapKeyRef": {"name": "tokens", "key": "t"}}
    env = [{"name": "T", "valueFrom": reference}]
    cluster = Cluster()
    cluster.references = {(kind, "tokens"): "a" * 64}
    cluster.apply_model()
    for image in ("v1", "v2"):
        cluster.apply(image, rollout=TERMS, engine={"type": "sim", "image": image, "env": env})
        cluster.turn()
        cluster.until(lambda c: c.phase == "Stable" and c.says("Ready")[0] == "True")
    cluster.until(lambda c: list(c.replicas()) == ["v2"])
    cluster.references = {(kind, "tokens"): "b" * 64}
    back(cluster, 1)
    assert request_of(cluster)[1] is False
    assert f"{kind} tokens has changed since" in request_of(cluster)[2]


def test_an_older_revision_comes_back_with_the_configmap_that_it_had() -> None:
    reference = {"configMapKeyRef": {"name": "template", "key": "t"}}
    env = [{"name": "T", "valueFrom": reference}]
    cluster = Cluster()
    cluster.apply_model()
    for number, letter in enumerate("ab", 1):
        cluster.references = {("ConfigMap", "template"): letter * 64}
        cluster.put("ConfigMap", "template", {"data": {"t": letter}})
        cluster.apply("v1", rollout=TERMS, engine={"type": "sim", "image": "v1", "env": env})
        cluster.until(lambda c, n=number: len(c.status.get("history", ())) == n and c.phase == "Stable")  # type: ignore[misc]
    first = cluster.status["history"][1]["revision"]
    cluster.until(lambda c: len(c.of_kind("Deployment")) == 1)
    back(cluster, 1).until_phase("RolledBack")
    assert cluster.status["stable"] == first
    assert cluster.objects["ConfigMap", f"{NAME}-{first}-template"]["data"] == {"t": "a"}


def test_nothing_is_rolled_back_during_a_restore() -> None:
    terms = rollout(strategy="Immediate", watch="60s")
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    cluster.until_phase("Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turn()
    back(cluster, 2)
    assert request_of(cluster)[2] == f"{cluster.revision('v1')} is coming back already"


@pytest.mark.parametrize("fields", [{}, {"strategy": "Immediate", "capacity": {"mode": "Recreate"}}])
def test_what_is_asked_back_and_lost_meanwhile_is_given_up_and_what_served_goes_on(fields: dict[str, Any]) -> None:
    # Given v1, which is being brought back in place of v2 by request
    terms = rollout(**fields)
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")
    audit = Audit(cluster)
    cluster.behaviours["v1"] = Behaviour(start=20.0)
    cluster.ask("rollback=1")
    audit.until(lambda c: c.phase == ("Replacing" if fields else "Preparing"))
    audit.until(lambda c: bool(c.pods_of("v1")))
    # When somebody deletes all that says how to make it
    lost = cluster.status["candidate"]
    audit.excused.add(lost)
    for kind in ("ModelSnapshot", "Deployment"):
        cluster.vandalise(kind, f"{NAME}-{lost}")
    # Then v2 serves on, or again, as the spec asks, and nothing is held against it
    audit.until(lambda c: c.phase == "Stable" and c.weights() == {"v2": 100})
    audit.until(lambda c: c.says("Ready")[0] == "True")
    assert [(f["revision"], f["class"]) for f in cluster.status["failed"]] == [(lost, "RecordLost")]
    assert "pinnedRevision" not in cluster.status
