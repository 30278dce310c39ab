"""Guardrails of a deployment: which policies its table names, and what waits until they are enforced."""

from typing import Any

import pytest

from tests.plan.parts import Behaviour
from tests.plan.test_blocked import new
from tests.plan.test_canary import canary
from tests.plan.world import NAME, Cluster, rollout, serving
from understudy.domain.names import guard_shard
from understudy.domain.table import Guard
from understudy.plan.guards import published


def guardrail(name: str = "safe", **spec: Any) -> dict[str, Any]:
    """One that the operator has not looked at."""
    meta = {"name": name, "generation": 1}
    return {"metadata": meta, "spec": {"failurePolicy": "Closed", "rules": [{}], **spec}}


def compiled(name: str = "safe", policy: str = "1" * 64, **spec: Any) -> dict[str, Any]:
    """One whose policy lies ready for gateways."""
    status = {
        "observedGeneration": 1,
        "policyHash": policy,
        "shards": [guard_shard(name, policy, 0)],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}],
    }
    return {**guardrail(name, **spec), "status": status}


def mistaken(guardrail: dict[str, Any]) -> dict[str, Any]:
    """The same after an edit that cannot be enforced; what compiled before is still there."""
    said = [{"type": "Ready", "status": "False"}, {"type": "Stalled", "status": "True", "message": "rules[0]: no"}]
    return {**guardrail, "status": {**guardrail.get("status", {}), "observedGeneration": 1, "conditions": said}}


def edited(guardrail: dict[str, Any]) -> dict[str, Any]:
    """The same, just edited."""
    return {**guardrail, "metadata": {**guardrail["metadata"], "generation": 2}}


def policies(cluster: Cluster) -> dict[str, str]:
    """The first digit of each policy that the table names, by Guardrail."""
    assert cluster.table is not None
    return {guard.name: guard.policy[0] for guard in cluster.table.guards}


def test_a_closed_guardrail_that_is_wrong_means_no_table_and_no_pods() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (mistaken(guardrail()),)
    cluster.turns(3)
    assert cluster.table is None
    assert cluster.pods == {}
    assert cluster.says("GuardrailsEnforced") == ("False", "GuardrailInvalid")
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")
    assert cluster.condition("Stalled")["message"] == "Guardrail safe: rules[0]: no"
    assert cluster.says("TrafficProgrammed") == ("False", "NoTable")


@pytest.mark.parametrize("known", [guardrail(), edited(mistaken(guardrail())), {**guardrail(), "status": {}}])
def test_one_that_has_not_been_compiled_is_waited_for(known: dict[str, Any]) -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (known,)
    cluster.turns(3)
    assert (cluster.table, cluster.pods) == (None, {})
    assert cluster.says("Reconciling") == ("True", "GuardrailPending")
    assert cluster.condition("Reconciling")["message"] == "Guardrail safe: it has not been compiled yet"
    cluster.turns(130)
    assert cluster.says("Stalled") == ("True", "GuardrailPending")
    cluster.guardrails = (compiled(),)
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_one_that_waits_for_something_says_for_what() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    waits = [{"type": "Ready", "status": "False", "message": "ConfigMap words is not there"}]
    cluster.guardrails = ({**guardrail(), "status": {"observedGeneration": 1, "conditions": waits}},)
    cluster.turns(3)
    assert cluster.condition("Reconciling")["message"] == "Guardrail safe: ConfigMap words is not there"


def test_one_that_compiled_is_named_by_the_table_and_served_under() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (compiled(), compiled("another", selector={}), compiled("elsewhere"))
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert policies(cluster) == {"another": "1", "safe": "1"}
    assert cluster.says("GuardrailsEnforced") == ("True", "Enforced")
    assert cluster.condition("GuardrailsEnforced")["message"] == "every gateway enforces Guardrail another, safe"


def test_what_the_status_says_of_a_policy_goes_into_the_table() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    known = compiled(failurePolicy="Open")
    cluster.guardrails = ({**known, "status": {**known["status"], "failOpen": True, "revokeBefore": "0" * 64}},)
    cluster.turns(3)
    assert cluster.table is not None
    shards = (guard_shard("safe", "1" * 64, 0),)
    assert cluster.table.guards == (Guard("safe", "1" * 64, shards, open=True, revoke_before="0" * 64),)


def test_nobody_is_given_to_a_first_revision_before_every_gateway_guards_it() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (compiled(),)
    cluster.gateways[1].refuses = "ConfigMap is not there"
    cluster.turns(30)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {})
    assert cluster.says("Reconciling") == ("True", "GuardrailNotEnforced")
    said = f"gateway {cluster.gateways[1].name} does not enforce Guardrail safe: ConfigMap is not there"
    assert cluster.condition("Reconciling")["message"] == said
    assert cluster.condition("GuardrailsEnforced")["message"] == said
    cluster.gateways[1].refuses = ""
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_a_gateway_that_has_never_answered_is_one_that_does_not_guard() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (compiled(),)
    cluster.gateways[1].silent = True
    cluster.turns(30)
    said = f"gateway {cluster.gateways[1].name} does not enforce Guardrail safe: it does not answer"
    assert cluster.condition("Reconciling")["message"] == said


def test_of_one_that_need_not_hold_it_is_only_said() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    known = compiled(mode="monitor")
    cluster.guardrails = ({**known, "status": {**known["status"], "failOpen": True}},)
    cluster.gateways[0].refuses = "ConfigMap is not there"
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert cluster.says("GuardrailsEnforced") == ("False", "GuardrailNotEnforced")


def test_nor_is_anybody_given_to_a_candidate_by_whatever_way() -> None:
    for strategy in (rollout(), rollout(strategy="Immediate"), rollout(strategy="BlueGreen", autoPromoteAfter="1s")):
        cluster = serving("v1", guardrailRefs=[])
        cluster.guardrails = (compiled(selector={}),)
        cluster.gateways[0].refuses = "no"
        cluster.apply("v2", rollout=strategy)
        cluster.turns(30)
        assert (cluster.phase, cluster.weights()) == ("Preparing", {"v1": 100})
        assert cluster.says("Reconciling") == ("True", "GuardrailNotEnforced")
        cluster.gateways[0].refuses = ""
        cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")


def test_a_stable_that_is_to_make_way_waits_until_what_follows_would_be_guarded() -> None:
    strategy = rollout(strategy="Immediate", capacity={"mode": "Recreate"})
    cluster = serving("v1")
    cluster.guardrails = (compiled(selector={}),)
    cluster.gateways[0].refuses = "no"
    cluster.apply("v2", rollout=strategy)
    cluster.turns(10)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {"v1": 100})
    assert cluster.says("Reconciling") == ("True", "GuardrailNotEnforced")


def test_a_candidate_that_is_ready_waits_for_a_guardrail_that_is_wrong() -> None:
    cluster = serving("v1")
    cluster.guardrails = (compiled(selector={}),)
    cluster.behaviours["v2"] = Behaviour(start=5.0)
    cluster.apply("v2")
    cluster.until_phase("Preparing")
    cluster.guardrails = (mistaken(compiled(selector={})),)
    cluster.turns(20)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {"v1": 100})
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")


def test_a_canary_takes_no_step_that_a_gateway_would_not_guard() -> None:
    cluster = canary(10)
    cluster.guardrails = (compiled(selector={}),)
    cluster.gateways[0].refuses = "no"
    cluster.turns(20)
    assert (cluster.phase, cluster.status["weights"]["candidate"]["desired"]) == ("Canary", 10)
    assert cluster.says("Reconciling") == ("True", "GuardrailNotEnforced")
    cluster.gateways[0].refuses = ""
    cluster.until_phase("Watching")


def test_a_share_that_waits_for_pods_does_not_rise_when_a_gateway_stops_to_guard_meanwhile() -> None:
    cluster = canary(10, replicas=4)
    cluster.guardrails = (compiled(selector={}),)
    cluster.turns(2)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.until(lambda c: c.status["weights"]["candidate"]["desired"] == 50)
    assert cluster.weights()["v2"] == 10
    cluster.gateways[0].refuses = "no"
    cluster.turns(10)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    cluster.gateways[0].refuses = ""
    cluster.until_phase("Watching")


def test_such_a_share_does_not_rise_either_before_a_guardrail_that_must_hold_has_a_policy() -> None:
    cluster = canary(10, replicas=4)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.until(lambda c: c.status["weights"]["candidate"]["desired"] == 50)
    cluster.guardrails = (guardrail("safe", selector={}),)
    cluster.turns(10)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    cluster.guardrails = (compiled(selector={}),)
    cluster.until_phase("Watching")


def test_a_restore_asks_nobody_whether_it_is_guarded() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until_phase("Watching")
    cluster.guardrails = (compiled(selector={}),)
    cluster.gateways[0].refuses = "no"
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.until(lambda c: c.weights() == {"v1": 100})


def test_an_edit_that_is_wrong_takes_away_neither_the_guard_nor_the_service() -> None:
    cluster = serving("v1")
    cluster.guardrails = (compiled(selector={}),)
    cluster.until(lambda c: policies(c) == {"safe": "1"})
    cluster.guardrails = (mistaken(compiled(selector={})),)
    cluster.apply("v2")
    cluster.vandalise("RoutingTable", NAME)
    cluster.turns(10)
    assert (cluster.weights(), policies(cluster)) == ({"v1": 100}, {"safe": "1"})
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")
    cluster.guardrails = (compiled(selector={}, policy="2" * 64),)
    cluster.until_phase("Watching")
    assert policies(cluster) == {"safe": "2"}


def test_one_that_is_deleted_while_it_is_named_holds_on_and_one_that_only_selected_does_not() -> None:
    cluster = new(guardrailRefs=[{"name": "named"}, {"name": "again"}])
    cluster.guardrails = (compiled("named"), compiled("again"), compiled("selects", selector={}))
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert policies(cluster) == {"again": "1", "named": "1", "selects": "1"}
    # One of them is made again, and not compiled yet.
    cluster.guardrails = (guardrail("again"),)
    cluster.turns(3)
    assert policies(cluster) == {"again": "1", "named": "1"}
    assert cluster.weights() == {"v1": 100}
    cluster.edit(guardrailRefs=[{"name": "again"}])
    cluster.turns(3)
    assert policies(cluster) == {"again": "1"}


def test_that_every_gateway_guards_is_not_said_before_each_serves_by_the_table_that_says_so() -> None:
    cluster = serving("v1")
    cluster.gateways[1].lag = 5.0
    cluster.guardrails = (compiled(selector={}),)
    cluster.turn()
    assert cluster.says("GuardrailsEnforced") == ("False", "NoTable")
    cluster.turns(2)
    assert cluster.says("GuardrailsEnforced") == ("False", "NotProgrammed")
    cluster.turns(6)
    assert cluster.says("GuardrailsEnforced") == ("True", "Enforced")
    # A new operator has not asked yet; what the last one said was true.
    cluster.restart_operator()
    cluster.reconcile()
    assert cluster.says("GuardrailsEnforced") == ("True", "Enforced")


@pytest.mark.parametrize(
    "spec",
    [
        {"failurePolicy": "Open"},
        {"failurePolicy": "Closed", "rules": [{"failurePolicy": "Open"}]},
        {"mode": "monitor"},
    ],
)
def test_one_that_need_not_hold_keeps_nothing_from_being_served(spec: dict[str, Any]) -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (mistaken(guardrail(**spec)),)
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert cluster.says("GuardrailsEnforced") == ("False", "NoPolicy")


def test_of_two_that_have_no_policy_only_the_one_that_must_hold_is_in_the_way() -> None:
    cluster = serving("v1")
    cluster.guardrails = (
        mistaken(guardrail("open", selector={}, failurePolicy="Open")),
        guardrail("safe", selector={}),
    )
    cluster.vandalise("RoutingTable", NAME)
    cluster.turns(3)
    assert cluster.table is None
    cluster.guardrails = cluster.guardrails[:1]
    cluster.turns(3)
    assert policies(cluster) == {}
    assert cluster.condition("GuardrailsEnforced")["message"] == "Guardrail open has no policy"


def test_that_a_policy_is_there_takes_both_its_hash_and_its_parts() -> None:
    known = compiled()
    for lacks in ("policyHash", "shards"):
        status = {name: value for name, value in known["status"].items() if name != lacks}
        assert published({**known, "status": status}) is None


@pytest.mark.parametrize(
    "spec",
    [
        {"failurePolicy": "Degrade"},
        {"failurePolicy": "Open", "rules": [{}, {"failurePolicy": "Closed"}]},
    ],
)
def test_one_of_which_some_must_hold_does(spec: dict[str, Any]) -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.guardrails = (mistaken(guardrail(**spec)),)
    cluster.turns(3)
    assert cluster.table is None


def test_what_serves_already_goes_on_serving_but_nothing_new_starts() -> None:
    cluster = serving("v1")
    cluster.guardrails = (mistaken(guardrail(selector={})),)
    cluster.apply("v2")
    cluster.turns(10)
    assert (cluster.weights(), cluster.replicas()) == ({"v1": 100}, {"v1": 1})
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")


def test_nor_does_a_canary_go_on() -> None:
    cluster = canary(10)
    cluster.guardrails = (mistaken(compiled(selector={})),)
    cluster.turns(20)
    assert (cluster.phase, cluster.status["weights"]["candidate"]["desired"]) == ("Canary", 10)
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")


def test_it_is_said_at_rest_too() -> None:
    cluster = serving("v1")
    cluster.guardrails = (mistaken(guardrail(selector={})),)
    cluster.turn()
    assert cluster.says("Stalled") == ("True", "GuardrailInvalid")


def test_a_guardrail_that_is_named_and_missing_is_waited_for() -> None:
    cluster = new(guardrailRefs=[{"name": "safe"}])
    cluster.turns(3)
    assert cluster.says("Reconciling") == ("True", "GuardrailNotFound")
    assert cluster.table is None
    cluster.turns(130)
    assert cluster.says("Stalled") == ("True", "GuardrailNotFound")


SELECTORS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"matchLabels": {"game": "tales"}}, True),
    ({"matchLabels": {"game": "other"}}, False),
    ({"matchExpressions": [{"key": "game", "operator": "In", "values": ["tales"]}]}, True),
    ({"matchExpressions": [{"key": "game", "operator": "NotIn", "values": ["tales"]}]}, False),
    ({"matchExpressions": [{"key": "game", "operator": "Exists"}]}, True),
    ({"matchExpressions": [{"key": "game", "operator": "DoesNotExist"}]}, False),
]


@pytest.mark.parametrize(("selector", "matches"), SELECTORS)
def test_a_guardrail_selects_by_labels(selector: dict[str, Any], matches: bool) -> None:
    cluster = new()
    meta = {**cluster.deployment["metadata"], "labels": {"game": "tales"}}
    cluster._store("ModelDeployment", NAME, {**cluster.deployment, "metadata": meta})
    cluster.guardrails = (guardrail(selector=selector), guardrail("elsewhere"))
    cluster.turn()
    assert (cluster.table is None) is matches
