"""A canary: steps, evidence, pauses and what happens at each end of it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import ApiConflictError, Behaviour
from tests.plan.world import Cluster, rollout, serving
from understudy.plan.planner import plan

PROBES: dict[str, Any] = {
    "interval": "1s",
    "prompts": [{"name": "answers", "messages": [{"role": "user", "content": "Say yes."}]}],
}


def canary(weight: int = 10, **spec: Any) -> Cluster:
    """v2 has `weight` percent of the conversations, in force."""
    cluster = serving("v1", **spec)
    cluster.apply("v2", **spec)
    return cluster.until(lambda c: c.status["weights"]["candidate"]["programmed"] == weight)


def test_steps_are_taken_in_order_and_end_in_the_watch_and_in_stable() -> None:
    cluster = serving("v1")
    audit = Audit(cluster)
    cluster.apply("v2")
    seen: list[int] = []
    for _ in range(80):
        audit.turn(1.0)
        weight = cluster.weights().get("v2", 0)
        if not seen or seen[-1] != weight:
            seen.append(weight)
    assert seen == [0, 10, 50, 100]
    assert (cluster.phase, cluster.image("stable"), cluster.status.get("previous")) == ("Stable", "v2", None)
    assert cluster.replicas() == {"v2": 1}
    assert {(s["status"]["state"], s["status"]["number"]) for s in cluster.of_kind("ModelSnapshot").values()} == {
        ("Promoted", 1),
        ("Promoted", 2),
    }


def test_ready_is_false_while_it_goes_on_and_true_again_in_the_watch() -> None:
    cluster = canary(50)
    assert (cluster.says("Ready")[0], cluster.says("Reconciling")[0], cluster.says("Progressing")) == (
        "False",
        "True",
        ("True", "Canary"),
    )
    cluster.until_phase("Watching")
    assert (cluster.says("Ready")[0], cluster.says("Reconciling")[0]) == ("True", "False")


def test_pods_are_raised_before_the_share() -> None:
    cluster = serving("v1", replicas=4)
    cluster.behaviours["v2"] = Behaviour(start=5.0)
    cluster.apply("v2", replicas=4)
    cluster.until(lambda c: c.weights().get("v2") == 10)
    assert cluster.replicas() == {"v1": 4, "v2": 1}
    cluster.until(lambda c: c.status["weights"]["candidate"]["desired"] == 50)
    assert (cluster.replicas()["v2"], cluster.weights()["v2"]) == (2, 10)
    cluster.until(lambda c: c.weights()["v2"] == 50)
    assert cluster.ready_pods(cluster.revision("v2")) == 2


def test_a_step_waits_for_its_pods_and_says_so() -> None:
    cluster = serving("v1", replicas=4, capacity=5, accelerator={"resource": "nvidia.com/gpu"})
    cluster.apply("v2", replicas=4, accelerator={"resource": "nvidia.com/gpu"})
    cluster.until(lambda c: c.says("Stalled") == ("True", "InsufficientGPU"))
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    cluster.capacity = 8
    cluster.until_phase("Watching")


def test_the_same_conversations_stay_moved_when_the_share_rises() -> None:
    cluster = canary(10)
    assert cluster.table is not None
    assert cluster.table.salt == cluster.status["candidate"]
    assert [v.track for v in cluster.table.variants] == ["canary", "stable"]


@pytest.mark.parametrize("gateways", [0, 1])
def test_no_gateway_or_a_silent_one_is_no_evidence(gateways: int) -> None:
    cluster = canary(10)
    for gateway in cluster.gateways:
        gateway.silent = True
    cluster.gateways = cluster.gateways[:gateways]
    cluster.turns(60)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    assert cluster.says("Reconciling") == ("True", "NotProgrammed" if gateways else "NoGateway")
    assert cluster.says("TrafficProgrammed")[1] in ("NotProgrammed", "NoGateway")


def test_no_traffic_waits_and_says_what_for() -> None:
    cluster = canary(10)
    cluster.rate = 0.0
    cluster.turns(60)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    assert cluster.says("Reconciling") == ("True", "WaitingForEvidence")
    assert "more requests on" in cluster.status["plan"]
    assert cluster.status["verdict"]["result"] == "Inconclusive"


def test_no_traffic_goes_back_when_the_terms_say_so() -> None:
    terms = rollout(analysis={"minSamples": 5, "noData": {"timeout": "20s", "then": "Revert"}})
    cluster = serving("v1", rollout=terms)
    cluster.rate = 0.0
    cluster.apply("v2", rollout=terms)
    cluster.until_phase("RolledBack")
    assert [f["class"] for f in cluster.status["failed"]] == ["Inconclusive"]


def test_the_forecast_names_requests_time_and_the_next_step() -> None:
    cluster = canary(10)
    cluster.rate = 1.0
    cluster.until(lambda c: "at today's rate" in c.status["plan"])
    assert "then 50 %" in cluster.status["plan"]


def test_operator_downtime_is_not_soak() -> None:
    slow = rollout(steps=[{"weight": 10, "soak": "30s"}, {"weight": 100, "soak": "1s"}])
    cluster = canary(10, rollout=slow)
    cluster.turns(3)
    cluster.pass_time(600.0)
    cluster.restart_operator()
    cluster.turns(5)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)


def test_a_restarted_operator_goes_on_where_it_was() -> None:
    slow = rollout(steps=[{"weight": 10, "soak": "30s"}, {"weight": 100, "soak": "1s"}])
    cluster = canary(10, rollout=slow)
    cluster.turns(20)
    cluster.restart_operator()
    before = cluster.true_time
    cluster.until(lambda c: c.weights()["v2"] == 100)
    assert 10 <= cluster.true_time - before <= 20


def test_a_restarted_operator_counts_no_request_twice_and_loses_none() -> None:
    slow = rollout(steps=[{"weight": 10, "soak": "300s"}, {"weight": 100, "soak": "1s"}])
    cluster = canary(10, rollout=slow)
    cluster.turns(13)
    cluster.restart_operator()
    cluster.turns(13)
    assert cluster.memory is not None
    assert cluster.memory.evidence is not None
    revision = cluster.revision("v2")
    really = sum(g.attempts.get(revision, 0) for g in cluster.gateways)
    # What came before the weight was in force everywhere does not count.
    assert really - 3 <= cluster.memory.evidence.subject[0] <= really


def test_a_restarted_gateway_is_counted_from_zero() -> None:
    slow = rollout(steps=[{"weight": 50, "soak": "300s"}, {"weight": 100, "soak": "1s"}])
    cluster = canary(50, rollout=slow).turns(5)
    assert cluster.memory is not None
    assert cluster.memory.evidence is not None
    before = cluster.memory.evidence.subject[0]
    cluster.restart_gateway(cluster.gateways[0])
    cluster.turns(4)
    assert before + 16 <= cluster.memory.evidence.subject[0] <= before + 20


def test_a_gateway_that_was_there_before_is_a_baseline() -> None:
    cluster = canary(10)
    cluster.gateways[0].attempts[cluster.revision("v2")] = 0
    old = cluster.add_gateway()
    old.began, old.attempts = -5000.0, {cluster.revision("v2"): 1_000_000}
    cluster.turns(2)
    assert cluster.memory is not None
    assert cluster.memory.evidence is not None
    assert cluster.memory.evidence.subject[0] < 1000


def test_steps_may_be_edited_live_and_a_share_never_falls() -> None:
    cluster = canary(50)
    steps = [{"weight": 20, "soak": "1s"}, {"weight": 70, "soak": "1s"}, {"weight": 100, "soak": "1s"}]
    cluster.edit(rollout=rollout(steps=steps))
    seen = set()
    while cluster.phase == "Canary":
        seen.add(cluster.weights()["v2"])
        cluster.turn()
    assert seen == {50, 70, 100}


def test_strategy_and_analysis_are_those_of_the_beginning() -> None:
    cluster = canary(10)
    cluster.rate = 0.0
    cluster.edit(rollout=rollout(strategy="Immediate", steps=None, analysis={"minSamples": 1}))
    cluster.turns(20)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)


def test_immediate_goes_to_everybody_when_the_pods_are_ready() -> None:
    terms = rollout(strategy="Immediate")
    cluster = serving("v1", replicas=2, rollout=terms)
    cluster.rate = 0.0
    cluster.apply("v2", replicas=2, rollout=terms)
    cluster.until_phase("Watching", limit=20)
    assert cluster.weights() == {"v2": 100}


def test_pause_freezes_the_steps_and_resume_goes_on() -> None:
    cluster = canary(10)
    cluster.ask("pause")
    cluster.turns(30)
    assert (cluster.status["paused"], cluster.weights()["v2"]) == (True, 10)
    assert cluster.says("Reconciling") == ("True", "Paused")
    cluster.ask("resume")
    cluster.until_phase("Watching")


def test_a_fault_reverts_while_paused_and_a_new_spec_supersedes_and_stays_paused() -> None:
    cluster = canary(10)
    cluster.ask("pause")
    cluster.turn()
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    cluster.apply("v3")
    cluster.turns(30)
    assert (cluster.phase, cluster.image("candidate"), cluster.status["paused"]) == ("Preparing", "v3", True)
    cluster.apply("v4")
    cluster.until(lambda c: c.image("candidate") == "v4").turns(10)
    assert (cluster.phase, cluster.status["paused"]) == ("Preparing", True)


def test_promote_waives_samples_and_soak_of_this_step_only() -> None:
    cluster = canary(10)
    cluster.rate = 0.0
    cluster.ask(f"promote@{cluster.status['candidate']}")
    cluster.until(lambda c: c.weights()["v2"] == 50)
    cluster.turns(20)
    assert cluster.weights()["v2"] == 50


def test_promote_full_waives_all_steps_but_no_fault() -> None:
    cluster = canary(10)
    cluster.rate = 0.0
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.until_phase("Watching")
    cluster = canary(10)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")


def test_a_newer_spec_goes_through_stable_and_brands_nothing() -> None:
    cluster = canary(50)
    audit = Audit(cluster)
    cluster.apply("v3")
    seen = set()
    for _ in range(100):
        audit.turn(1.0)
        seen.add(tuple(sorted((i, w) for i, w in cluster.weights().items() if w)))
        if cluster.says("Ready")[0] == "True":
            break
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v3", [])
    assert (("v1", 100),) in seen
    assert not any({"v2", "v3"} <= {i for i, _ in shares} for shares in seen)


def test_going_back_to_the_stable_spec_withdraws_the_candidate() -> None:
    cluster = canary(50)
    cluster.apply("v1")
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert (cluster.image("stable"), cluster.weights(), cluster.status["failed"]) == ("v1", {"v1": 100}, [])


def test_scaling_to_zero_in_mid_flight_reverts_first_and_brands_nothing() -> None:
    cluster = canary(50)
    cluster.edit(replicas=0)
    cluster.until(lambda c: c.says("Ready") == ("True", "ScaledToZero"))
    assert cluster.until(lambda c: c.replicas() == {"v1": 0})
    assert (cluster.status["failed"], cluster.weights()) == ([], {"v1": 100})
    cluster.edit(replicas=1)
    cluster.until(lambda c: c.image("candidate") == "v2")
    assert cluster.ready_pods(cluster.revision("v1")) == 1


def test_a_spec_that_becomes_invalid_stops_the_steps_until_it_is_mended() -> None:
    cluster = canary(10)
    engine = cluster.deployment["spec"]["engine"]
    cluster.edit(engine={**engine, "args": ["--port=1"]})
    cluster.turns(20)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    cluster.edit(engine=engine)
    cluster.until_phase("Watching")


def test_a_model_that_is_deleted_stops_new_rollouts_only() -> None:
    cluster = canary(10)
    del cluster.objects["Model", "tiny"]
    cluster.until_phase("Watching")


def test_a_stable_that_is_down_leaves_the_field_to_a_candidate_that_answers() -> None:
    cluster = canary(10)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.rate = 0.0
    cluster.until(lambda c: c.weights()["v2"] == 100, limit=60)
    assert any(e.reason == "StableDown" for e in cluster.events)
    cluster.until_phase("Watching")


def test_a_gateway_that_comes_up_in_the_middle_must_serve_by_the_table_too() -> None:
    cluster = canary(10)
    late = cluster.add_gateway()
    late.table = None
    cluster.turns(20)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    late.table = cluster.objects["RoutingTable", "story"]
    cluster.until_phase("Watching")


def test_a_table_deleted_by_hand_is_written_again_with_the_same_shares() -> None:
    cluster = canary(50)
    cluster.vandalise("RoutingTable", "story")
    cluster.turn()
    assert cluster.weights() == {"v2": 50, "v1": 50}


def test_a_pool_scaled_by_hand_is_put_right_in_one_pass() -> None:
    cluster = canary(50)
    for name, pool in cluster.of_kind("Deployment").items():
        cluster.put("Deployment", name, {**pool, "spec": {**pool["spec"], "replicas": 5}})
    cluster.reconcile()
    assert cluster.replicas()["v1"] == 1


def test_a_commit_is_one_status_write() -> None:
    cluster = canary(100).until_phase("Promoting")
    before = cluster.status
    cluster.fail_action = 1  # whatever comes after the status
    cluster.turn()
    after = cluster.status
    assert (before["candidate"], before["stable"]) == (after["stable"], after["previous"])
    assert after.get("candidate") is None


def test_a_rival_operator_with_an_old_view_changes_nothing() -> None:
    cluster = canary(10)
    old = cluster.observe()
    cluster.until(lambda c: c.weights()["v2"] == 50)
    decided = plan(replace(old, epoch=0))
    before = dict(cluster.objects)
    written: dict[tuple[str, str], str] = {}
    for action in decided.actions:
        try:
            cluster._carry_out(action, written)
        except ApiConflictError:
            break
    assert cluster.objects == before
