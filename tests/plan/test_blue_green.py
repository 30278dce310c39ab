"""BlueGreen: from nothing to everything at once, when somebody says so or after a time; the way back stays open."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_requests import request_of
from tests.plan.world import Cluster, rollout, serving


def terms(**fields: Any) -> dict[str, Any]:
    settings = rollout(strategy="BlueGreen", **fields)
    del settings["steps"]
    return settings


def waiting(image: str = "v2", replicas: int = 1, **fields: Any) -> Cluster:
    """v1 serves, the other image is ready and waits for `promote`."""
    cluster = serving("v1", rollout=terms(**fields), replicas=replicas)
    cluster.apply(image, rollout=terms(**fields), replicas=replicas)
    cluster.until(lambda c: c.says("Reconciling")[1] == "WaitingForPromote")
    return cluster.turns(3)


def promote(cluster: Cluster, verb: str = "promote") -> Cluster:
    cluster.ask(f"{verb}@{cluster.status['candidate']}")
    cluster.turn()
    return cluster


def test_a_candidate_that_answers_waits_without_a_share_and_can_be_asked_by_name() -> None:
    cluster = waiting(replicas=2).turns(60)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {"v2": 0, "v1": 100})
    assert cluster.replicas() == {"v1": 2, "v2": 2}
    assert f"promote@{cluster.revision('v2')}" in cluster.status["plan"]
    assert cluster.status["plan"].endswith("then 100 % of the conversations at once")
    assert cluster.table is not None
    assert cluster.table.salt == cluster.revision("v2")


def test_it_is_not_in_the_table_before_all_its_pods_have_answered() -> None:
    cluster = serving("v1", rollout=terms(), replicas=2, capacity=3)
    cluster.apply("v2", rollout=terms(), replicas=2)
    cluster.turns(20)
    assert (cluster.weights(), cluster.ready_pods(cluster.revision("v2"))) == ({"v1": 100}, 1)
    cluster.ask(f"promote@{cluster.revision('v2')}")
    cluster.turns(3)
    assert request_of(cluster)[1:] == (False, f"{cluster.revision('v2')} has not answered on all its pods yet")
    cluster.capacity = 8
    cluster.until(lambda c: c.weights() == {"v2": 0, "v1": 100})


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
def test_promote_moves_everybody_at_once_and_the_old_one_stays_warm(verb: str) -> None:
    cluster = promote(waiting(replicas=2, watch="200s"), verb)
    seen = []
    for _ in range(10):
        if (now := (cluster.phase, cluster.weights().get("v2"))) not in seen:
            seen.append(now)
        assert cluster.turn().violated == ()
    assert seen == [("Canary", 0), ("Canary", 100), ("Watching", 100)] or seen == [
        ("Canary", 100),
        ("Promoting", 100),
        ("Watching", 100),
    ]
    assert (cluster.image("previous"), cluster.replicas()) == ("v1", {"v1": 2, "v2": 2})


def test_what_fails_after_the_switch_is_turned_back_at_once() -> None:
    cluster = promote(waiting(watch="200s")).until_phase("Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turn()
    assert (cluster.phase, cluster.weights()["v1"]) == ("Restoring", 100)
    assert cluster.until_phase("RolledBack").image("stable") == "v1"


def test_promote_must_name_the_candidate_that_waits() -> None:
    cluster = waiting()
    for wording in ("promote", "promote@00000000"):
        cluster.ask(wording)
        cluster.turns(2)
        assert request_of(cluster)[1] is False
    assert cluster.phase == "Preparing"


def test_it_switches_by_itself_after_the_time_that_the_spec_gives() -> None:
    cluster = waiting(autoPromoteAfter="20s")
    assert "or " in cluster.condition("Reconciling")["message"]
    cluster.turns(12)
    assert cluster.phase == "Preparing"
    cluster.turns(10)
    assert cluster.weights()["v2"] == 100


def test_a_restart_of_the_operator_does_not_begin_the_wait_anew() -> None:
    cluster = waiting(autoPromoteAfter="20s").turns(8)
    cluster.restart_operator()
    cluster.turns(3)
    assert cluster.phase == "Preparing"
    assert cluster.turns(12).weights().get("v2") == 100


def test_a_pause_holds_the_switch_until_resume() -> None:
    cluster = waiting(autoPromoteAfter="20s")
    cluster.ask("pause")
    cluster.turns(40)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Preparing", "Paused")
    cluster.ask("resume")
    cluster.turns(3)
    assert cluster.weights()["v2"] == 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Behaviour(exit_code=3, start=0.0), "EngineCrash"),
        (Behaviour(identity="other"), "WrongModelIdentity"),
        (Behaviour(error_rate=1.0), "ErrorRate"),
    ],
)
def test_a_candidate_that_fails_while_it_waits_is_turned_back(change: Behaviour, reason: str) -> None:
    cluster = waiting()
    cluster.testers = 5.0
    cluster.behaviours["v2"] = change
    cluster.until_phase("RolledBack", limit=60)
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]
    assert cluster.weights() == {"v1": 100}


def test_requests_by_name_end_before_the_pods_of_a_withdrawn_candidate_go() -> None:
    cluster = waiting()
    audit = Audit(cluster)
    cluster.testers, cluster.long_streams = 5.0, True
    for _ in range(3):
        audit.turn(1.0)
    cluster.ask("abort")
    for _ in range(10):
        audit.turn(1.0)
    assert (cluster.phase, cluster.weights(), cluster.replicas()["v2"]) == ("Reverting", {"v1": 100}, 1)
    assert cluster.until_phase("RolledBack", limit=30).status["failed"][0]["class"] == "Aborted"


def test_pods_stay_until_every_gateway_has_let_go_of_a_candidate_that_could_be_asked_by_name() -> None:
    cluster = waiting()
    cluster.ask("abort")
    cluster.turn()
    assert (cluster.weights(), cluster.replicas()["v2"]) == ({"v1": 100}, 1)
    cluster.until(lambda c: "v2" not in c.replicas(), limit=10)


def test_a_newer_spec_withdraws_what_waits_and_the_newest_waits_in_its_place() -> None:
    cluster = waiting()
    cluster.apply("v3", rollout=terms())
    cluster.until(lambda c: c.weights() == {"v3": 0, "v1": 100}, limit=60)
    assert cluster.status["failed"] == []


def test_a_stable_that_is_gone_for_long_leaves_the_field_without_promote() -> None:
    cluster = waiting()
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.turns(20)
    assert cluster.phase == "Preparing"
    cluster.until(lambda c: c.weights().get("v2") == 100, limit=30)


def test_pods_that_come_and_go_leave_the_candidate_in_the_table() -> None:
    cluster = waiting(replicas=2)
    cluster.delete_pod(cluster.pods_of("v2")[0], evicted=True)
    cluster.turn()
    assert (cluster.weights(), cluster.says("Reconciling")[1]) == ({"v2": 0, "v1": 100}, "Starting")
    cluster.until(lambda c: c.says("Reconciling")[1] == "WaitingForPromote")


def test_the_first_revision_waits_for_nobody() -> None:
    cluster = serving("v1", rollout=terms())
    assert cluster.phase == "Stable"


def test_a_candidate_whose_pods_are_still_there_is_shown_again() -> None:
    cluster = waiting()
    cluster.long_streams = True
    cluster.testers = 5.0
    cluster.turns(2)
    cluster.apply("v1", rollout=terms())
    cluster.until_phase("Reverting")
    cluster.apply("v2", rollout=terms())
    cluster.until(lambda c: c.says("Reconciling")[1] == "WaitingForPromote", limit=90)
    assert cluster.weights() == {"v2": 0, "v1": 100}
