"""Requests by annotation: what applies is done, what does not is noted with the reason, once."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.world import Cluster, rollout, serving

SLOW = [{"weight": 10, "soak": "60s"}, {"weight": 50, "soak": "60s"}, {"weight": 100, "soak": "60s"}]


def request_of(cluster: Cluster) -> tuple[str, bool, str]:
    noted = cluster.status["rollout"]["request"]
    return cluster.status["lastHandledRequest"], noted["applied"], noted["message"]


def test_abort_goes_back_and_the_candidate_does_not_start_again() -> None:
    cluster = canary(50)
    cluster.ask("abort")
    cluster.turn()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})
    cluster.until_phase("RolledBack").turns(20)
    assert [f["class"] for f in cluster.status["failed"]] == ["Aborted"]
    assert cluster.image("candidate") == ""


def test_abort_while_a_superseded_candidate_leaves_brands_it() -> None:
    cluster = canary(50)
    cluster.long_streams = True
    cluster.turns(2)
    cluster.apply("v1")
    cluster.until_phase("Reverting")
    cluster.ask("abort")
    cluster.turn()
    assert [f["class"] for f in cluster.status["failed"]] == ["Aborted"]
    cluster.ask("abort;twice")
    cluster.turn()
    assert request_of(cluster)[1:] == (False, f"{cluster.revision('v2')} is on its way back already")


def test_abort_with_nothing_in_progress_does_nothing() -> None:
    cluster = serving("v1")
    cluster.ask("abort")
    cluster.turns(3)
    assert (cluster.phase, request_of(cluster)) == ("Stable", ("abort", False, "nothing is being rolled out"))


def test_abort_for_another_candidate_does_nothing() -> None:
    cluster = canary(10)
    cluster.ask("abort@00000000")
    cluster.turn()
    assert cluster.phase == "Canary"
    assert request_of(cluster)[1] is False


def test_retry_starts_a_failed_revision_again() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    cluster.ask("retry")
    cluster.until_phase("Watching")
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v2", [])


@pytest.mark.parametrize("request_text", ["retry", "retry@00000000"])
def test_retry_without_a_failure_does_nothing(request_text: str) -> None:
    cluster = serving("v1")
    cluster.ask(request_text)
    cluster.turn()
    assert request_of(cluster)[1] is False


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("dance", "unknown request"),
        ("Abort!", "unknown request"),
        ("rollback=3", "no record of a promotion with number 3; recorded: 1"),
        ("rollback=1", "is what is aimed at already"),
        ("rollback=-1", "write rollback=NUMBER"),
        ("rollback", "write rollback=NUMBER"),
        ("resume", "not paused"),
        ("promote@00000000", "no candidate is taking its steps"),
    ],
)
def test_what_does_not_apply_is_noted_with_the_reason(value: str, why: str) -> None:
    cluster = serving("v1")
    before = cluster.status["phase"], cluster.weights()
    cluster.ask(value)
    cluster.turn()
    handled, applied, message = request_of(cluster)
    assert (handled, applied) == (value, False)
    assert why in message
    assert (cluster.phase, cluster.weights()) == before
    assert [e.reason for e in cluster.events[-1:]] == ["RequestNotApplied"]


def test_a_request_is_looked_at_once() -> None:
    cluster = serving("v1")
    cluster.ask("pause")
    cluster.turn()
    cluster.ask("resume")
    cluster.turn()
    cluster.ask("pause;again")
    cluster.turns(3)
    assert cluster.status["paused"] is True
    assert sum(e.reason == "RequestApplied" for e in cluster.events) == 3
    cluster.ask("pause;and again")
    cluster.turn()
    assert request_of(cluster)[1:] == (False, "paused already")


def test_promote_must_name_its_candidate() -> None:
    cluster = canary(10)
    cluster.rate = 0.0
    cluster.ask("promote")
    cluster.turn()
    assert request_of(cluster)[2] == f"it must name the candidate that it is for: promote@{cluster.revision('v2')}"
    assert cluster.weights()["v2"] == 10


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_promote_skips_samples_and_soak_of_one_step(weight: int) -> None:
    cluster = canary(weight, rollout=rollout(steps=SLOW, watch="200s"))
    cluster.rate = 0.0
    cluster.until(lambda c: "of 5 samples" in c.condition("Reconciling")["message"])
    cluster.ask(f"promote@{cluster.revision('v2')}")
    steps = []
    for _ in range(15):
        assert cluster.turn().violated == ()
        if (now := (cluster.phase, cluster.weights().get("v2", 0))) not in steps:
            steps.append(now)
    following = {10: ("Canary", 50), 50: ("Canary", 100), 100: ("Watching", 100)}
    assert steps[-1] == following[weight]


def test_promote_full_skips_samples_and_soak_of_every_step_and_breaks_no_invariant() -> None:
    cluster = canary(10, rollout=rollout(steps=SLOW))
    cluster.rate = 0.0
    cluster.ask(f"promote-full@{cluster.revision('v2')}")
    audit = Audit(cluster)
    for _ in range(15):
        audit.turn(1.0)
    assert (cluster.image("stable"), cluster.says("Stalled")[0]) == ("v2", "False")


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
@pytest.mark.parametrize("phase", ["Preparing", "Canary", "Promoting", "Watching", "Restoring", "Reverting"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_promote_breaks_no_invariant_in_any_phase(phase: str, verb: str, interrupted: bool) -> None:
    terms = rollout(watch="200s")
    cluster = serving("v1", rollout=terms)
    cluster.apply("v2", rollout=terms)
    if phase in ("Restoring", "Reverting"):
        cluster.until_phase("Watching" if phase == "Restoring" else "Canary")
        cluster.long_streams = True
        cluster.turns(2)
        cluster.behaviours["v1" if phase == "Restoring" else "x"] = Behaviour(unhealthy=True)
        cluster.turns(1)
        cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase(phase)
    cluster.rate = 0.0
    cluster.ask(f"{verb}@{cluster.revision('v2')}")
    if interrupted:
        cluster.fail_action = 1
        cluster.turn(stale=1)
        cluster.restart_operator()
        cluster.fail_action = None
    for _ in range(30):
        assert cluster.turn().violated == ()
    assert cluster.says("Stalled")[1] != "InvariantViolated"
    assert request_of(cluster)[1] is (phase == "Canary")


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"error_rate": 1.0}, "ErrorRate"),
        ({"identity": "other"}, "WrongModelIdentity"),
        ({"exit_code": 3}, "EngineCrash"),
    ],
)
def test_promote_never_skips_a_hard_fault(verb: str, change: dict[str, Any], reason: str) -> None:
    cluster = canary(10, rollout=rollout(steps=SLOW))
    cluster.behaviours["v2"] = Behaviour(**change)
    cluster.turns(2)
    cluster.ask(f"{verb}@{cluster.revision('v2')}")
    cluster.until_phase("RolledBack", limit=40)
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]


def test_a_pause_in_stable_keeps_the_next_rollout_in_preparing() -> None:
    cluster = serving("v1")
    cluster.ask("pause")
    cluster.turn()
    cluster.apply("v2")
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Reconciling")) == ("Preparing", ("True", "Paused"))
    assert cluster.ready_pods(cluster.revision("v2")) == 1
