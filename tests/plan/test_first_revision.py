"""The first revision: nothing serves yet, so it is promoted as soon as it answers."""

from dataclasses import replace

import pytest

from tests.plan.parts import Behaviour
from tests.plan.world import Cluster, rollout, serving
from understudy.domain.money import Pricing
from understudy.domain.table import Logging, Queue, Timeouts


def new(image: str = "v1", **spec: object) -> Cluster:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply(image, **spec)
    return cluster


def test_it_is_promoted_without_steps_and_ready_after_a_completion() -> None:
    cluster = new().until(lambda c: c.says("Ready") == ("True", "Serving"))
    assert (cluster.phase, cluster.image("stable"), cluster.weights()) == ("Stable", "v1", {"v1": 100})
    assert [h["reason"] for h in cluster.status["history"]] == ["first revision"]


def test_the_table_is_there_and_empty_before_anything_serves() -> None:
    cluster = new().turns(1)
    assert cluster.table is not None
    assert cluster.table.variants == ()
    assert cluster.table.served_names == ("story", "tales/story")
    assert cluster.says("Available") == ("False", "NotDeployed")
    assert cluster.says("Reconciling")[0] == "True"


def test_what_clients_may_send_is_in_the_table_and_changes_with_the_spec_alone() -> None:
    cluster = new(api={"extraFields": ["stream_interval"], "mediaHosts": ["img.example.com"]}).until_phase("Stable")
    assert cluster.table is not None
    assert (cluster.table.extra_fields, cluster.table.media_hosts) == (("stream_interval",), ("img.example.com",))
    cluster.apply("v1", api={})
    cluster.turns(2)
    assert (cluster.table.extra_fields, cluster.table.media_hosts) == ((), ())
    assert (cluster.phase, cluster.weights()) == ("Stable", {"v1": 100})


def test_how_requests_wait_is_in_the_table_and_changes_with_the_spec_alone() -> None:
    cluster = new(queue={"max": 7, "deadline": "90s", "perPod": 32}).until_phase("Stable")
    assert cluster.table is not None
    assert cluster.table.queue == Queue(7, 90.0, 32)
    cluster.apply("v1", queue={})
    cluster.turns(2)
    assert cluster.table.queue == Queue(200, 60.0, 0)
    assert (cluster.phase, cluster.weights()) == ("Stable", {"v1": 100})


def test_what_requests_cost_is_in_the_table_and_changes_with_the_spec_alone() -> None:
    prices = {"inputPerMillion": "0.10", "outputPerMillion": "0.40", "perRequest": "0.001", "currency": "EUR"}
    cluster = new(pricing=prices).until_phase("Stable")
    before = cluster.table
    cluster.apply("v1")
    cluster.turns(2)
    after = cluster.table
    assert before is not None
    assert before.pricing == Pricing(100_000_000, 400_000_000, "EUR", request=1_000_000)
    assert after is not None
    assert after.pricing is None
    assert (cluster.phase, cluster.weights()) == ("Stable", {"v1": 100})


def test_how_soon_a_silent_stream_is_kept_alive_is_in_the_table_and_changes_with_the_spec_alone() -> None:
    cluster = new(timeouts={"heartbeatAfter": "90s"}).until_phase("Stable")
    assert cluster.table is not None
    assert cluster.table.timeouts == Timeouts(heartbeat_after=90.0)
    cluster.apply("v1", timeouts={})
    cluster.turns(2)
    assert cluster.table.timeouts == Timeouts()
    assert (cluster.phase, cluster.weights()) == ("Stable", {"v1": 100})


def test_what_texts_are_logged_is_in_the_table_only_while_some_are() -> None:
    logging = {"text": "released", "sample": 0.5, "maxBytes": 4096, "ttl": "12h"}
    cluster = new(logging=logging).until_phase("Stable")
    assert cluster.table is not None
    assert cluster.table.logging == Logging("released", 0.5, 4096, 43_200.0)
    cluster.apply("v1", logging={**logging, "text": "none"})
    cluster.turns(2)
    assert cluster.table.logging == Logging()
    assert (cluster.phase, cluster.weights()) == ("Stable", {"v1": 100})


def test_what_is_left_out_of_logging_is_as_gateways_take_it() -> None:
    cluster = new(logging={"text": "raw"}).until_phase("Stable")
    assert cluster.table is not None
    assert cluster.table.logging == Logging("raw")


def test_who_takes_what_it_cannot_serve_is_in_the_table_in_the_order_of_the_spec() -> None:
    cluster = new(fallback=[{"name": "plain"}, {"name": "another"}]).until_phase("Stable")
    assert cluster.table is not None
    assert cluster.table.fallback == ("plain", "another")


def test_it_serves_as_soon_as_one_of_its_pods_answers_and_is_ready_when_all_are() -> None:
    cluster = new(replicas=3)
    cluster.capacity = 1
    cluster.until_phase("Stable").turns(5)
    assert cluster.says("Available") == ("True", "Serving")
    assert cluster.says("Ready") == ("False", "PodsNotReady")
    cluster.capacity = 3
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_without_a_completion_it_is_not_ready() -> None:
    cluster = serving()
    cluster.behaviours["v1"] = Behaviour(fails_prompt=True)
    cluster.edit(probes={"prompts": [{"name": "p", "messages": [{"role": "user", "content": "?"}]}]})
    cluster.turns(70)
    assert cluster.says("Ready") == ("False", "NoCompletion")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(exit_code=1), "EngineCrash"),
        (Behaviour(exit_code=137, oom=True), "OutOfMemory"),
        (Behaviour(exit_code=143), "ProbeFailed"),
        (Behaviour(pull=("InvalidImageName", "no such image")), "ImagePull"),
        (Behaviour(identity="serves another model"), "WrongModelIdentity"),
        (Behaviour(start=10_000.0), "StartDeadline"),
    ],
)
def test_a_failing_first_revision_stalls_with_the_reason_and_is_left_alone(behaviour: Behaviour, reason: str) -> None:
    cluster = new()
    cluster.behaviours["v1"] = behaviour
    cluster.until(lambda c: c.says("Stalled") == ("True", reason), limit=200)
    assert cluster.says("Ready") == ("False", reason)
    assert cluster.says("Reconciling")[0] == "False"
    assert (cluster.phase, cluster.status["failed"], cluster.replicas()) == ("Preparing", [], {"v1": 1})


def test_a_failing_first_revision_goes_on_by_itself_when_it_gets_over_it() -> None:
    cluster = new()
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    cluster.until(lambda c: c.says("Stalled")[0] == "True")
    cluster.behaviours["v1"] = Behaviour()
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_a_failing_first_revision_makes_way_for_a_new_spec() -> None:
    cluster = new()
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    cluster.until(lambda c: c.says("Stalled")[0] == "True")
    cluster.apply("v2")
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert cluster.image("stable") == "v2"
    assert cluster.until(lambda c: c.replicas() == {"v2": 1})


def test_one_that_waits_for_capacity_is_not_failed_and_goes_on_when_there_is_some() -> None:
    cluster = new(accelerator={"resource": "nvidia.com/gpu", "count": 1})
    cluster.capacity = 0
    cluster.until(lambda c: c.says("Stalled") == ("True", "InsufficientGPU"), limit=60)
    assert cluster.phase == "Preparing"
    cluster.capacity = 1
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_waiting_for_a_node_is_said_at_once_and_stalls_at_the_deadline_only() -> None:
    cluster = new()
    cluster.capacity = 0
    cluster.turns(5)
    assert cluster.says("Reconciling") == ("True", "InsufficientCapacity")
    cluster.turns(30)
    assert cluster.says("Stalled") == ("True", "InsufficientCapacity")


def test_pods_that_a_quota_forbids_are_named() -> None:
    cluster = new().turns(1)
    cluster.nodes = {}
    (name,) = cluster.of_kind("Deployment")
    pool = cluster.objects["Deployment", name]
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    cluster.objects["Deployment", name] = {**pool, "status": {"conditions": [failure]}}
    cluster.pods.clear()
    cluster.reconcile()
    assert cluster.says("Stalled") == ("True", "PodsNotCreated")
    assert "exceeded quota" in cluster.condition("Stalled")["message"]


def test_replicas_zero_from_the_start_starts_nothing() -> None:
    cluster = new(replicas=0).turns(3)
    assert cluster.pods == {}
    assert cluster.says("Ready") == ("True", "ScaledToZero")
    assert cluster.says("Available") == ("False", "ScaledToZero")
    assert cluster.says("Reconciling")[0] == "False"
    cluster.edit(replicas=1)
    cluster.until(lambda c: c.says("Ready") == ("True", "Serving"))


def test_the_last_request_of_a_first_revision_cannot_be_an_abort() -> None:
    cluster = new().turns(1)
    cluster.ask("abort")
    cluster.turn()
    assert cluster.phase == "Preparing"
    assert cluster.status["rollout"]["request"] == {
        "applied": False,
        "message": "there is nothing to go back to: change the spec, or delete the deployment",
    }


def test_a_table_that_gateways_refuse_is_said() -> None:
    cluster = serving()
    gateway = cluster.gateways[0]
    assert gateway.answered is not None
    at, state = gateway.answered
    key = next(iter(state.deployments))
    refused = replace(state.deployments[key], rejected="epoch 1 is older", rejected_generation=99)
    gateway.answered = (at, replace(state, deployments={key: refused}))
    gateway.silent = True
    cluster.reconcile()
    assert cluster.says("TrafficProgrammed") == ("False", "TableRejected")
    assert "epoch 1 is older" in cluster.condition("TrafficProgrammed")["message"]


def test_steps_of_an_immediate_strategy_do_not_apply_to_it() -> None:
    cluster = new(rollout=rollout(strategy="Immediate")).until_phase("Stable")
    assert cluster.weights() == {"v1": 100}
