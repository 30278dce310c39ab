"""One Guardrail: its policy on the way into ConfigMaps, what its status says of it, and what is swept away after it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from understudy.domain.conditions import find
from understudy.domain.key import Key
from understudy.domain.names import guard_shard
from understudy.domain.state import LOADED, DeploymentState, DetectorState, GatewayState, policy_key
from understudy.domain.table import Guard, Table, table_spec
from understudy.plan.actions import Apply, Delete
from understudy.plan.guardrail import (
    CALM,
    LINGER,
    SOON,
    GuardrailPlan,
    ObservedGuardrail,
    Probes,
    User,
    Verdict,
    needs_verdict,
    plan_guardrail,
)
from understudy.plan.guards import published
from understudy.plan.observed import GatewayPod, Now

KEY, STORY = Key("tales", "safe"), Key("tales", "story")
NEW, OLD = "5a" * 32, "0d" * 32
GOOD = Verdict(guarantees={"pii": "exact"}, parts=(b"one", b"two"))
RULES = [{"category": "pii", "actions": {"high": ["Block"]}}]
PII = {"name": "pii", "type": "pii"}


def guardrail(generation: int = 1, status: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": "safe", "namespace": "tales", "generation": generation}
    return {"metadata": meta, "spec": {"rules": RULES, "detectors": [PII], **spec}, "status": status or {}}


def seen(**changed: Any) -> ObservedGuardrail:
    """A Guardrail that is looked at for the first time, and compiles."""
    usual = ObservedGuardrail(KEY, Now(1_800_000_000.0, 50.0, "p"), guardrail(), policy=NEW, verdict=GOOD)
    return replace(usual, **changed)


def shard(policy: str = NEW, number: int = 0) -> dict[str, Any]:
    name = guard_shard("safe", policy, number)
    return {"metadata": {"name": name, "namespace": "tales", "uid": f"uid-{policy[0]}{number}"}}


def shards(*policies: str) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for policy in policies for obj in (shard(policy), shard(policy, 1))}


def said(plan: GuardrailPlan, kind: str) -> tuple[str, str]:
    found = find((plan.status or {})["conditions"], kind) or {}
    return found["status"], found["reason"]


def message(plan: GuardrailPlan, kind: str) -> str:
    return str((find((plan.status or {})["conditions"], kind) or {})["message"])


def after(observed: ObservedGuardrail, plan: GuardrailPlan, **spec: Any) -> ObservedGuardrail:
    """The same when the plan has been carried out, and nothing is compiling."""
    there = {
        a.obj["metadata"]["name"]: {"metadata": dict(a.obj["metadata"])} for a in plan.actions if isinstance(a, Apply)
    }
    known = guardrail(2, plan.status, **spec)
    return replace(observed, guardrail=known, verdict=None, shards={**observed.shards, **there})


def test_a_policy_that_compiles_is_written_in_parts_before_the_status_names_them() -> None:
    plan = plan_guardrail(seen())
    names = [guard_shard("safe", NEW, n) for n in (0, 1)]
    written = [action.obj for action in plan.actions if isinstance(action, Apply)]
    assert written == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": "tales",
                "labels": {"understudy.dev/guard-shard": "true", "app.kubernetes.io/managed-by": "understudy"},
                "annotations": {"understudy.dev/guardrail": "safe"},
            },
            "immutable": True,
            "binaryData": {"policy": base64.b64encode(part).decode()},
        }
        for name, part in zip(names, GOOD.parts, strict=True)
    ]
    assert plan.status is not None
    assert {name: value for name, value in plan.status.items() if name != "conditions"} == {
        "observedGeneration": 1,
        "policyHash": NEW,
        "shards": names,
        "guarantees": {"pii": "exact"},
    }
    assert [said(plan, kind) for kind in ("Ready", "Reconciling", "Stalled")] == [
        ("True", "Compiled"),
        ("False", "Compiled"),
        ("False", "Compiled"),
    ]
    assert message(plan, "Ready") == f"policy {NEW[:8]} is written for gateways to load"
    assert (message(plan, "Reconciling"), message(plan, "Stalled")) == ("", "")
    assert {c["observedGeneration"] for c in plan.status["conditions"]} == {1}
    assert published(guardrail(status=plan.status)) == Guard("safe", NEW, tuple(names))


def test_parts_that_are_there_are_not_written_again_and_the_second_look_changes_nothing() -> None:
    first = plan_guardrail(seen())
    again = after(seen(), first)
    assert not needs_verdict(again)
    second = plan_guardrail(again)
    assert second.actions == ()
    assert {**(second.status or {}), "conditions": []} == {
        **(first.status or {}),
        "conditions": [],
        "observedGeneration": 2,
    }


def test_a_part_that_somebody_deleted_is_made_again() -> None:
    again = after(seen(), plan_guardrail(seen()))
    lost = replace(again, shards={name: obj for name, obj in again.shards.items() if name.endswith("-0")})
    assert needs_verdict(lost)
    (written,) = plan_guardrail(replace(lost, verdict=GOOD)).actions
    assert isinstance(written, Apply)
    assert written.obj["metadata"]["name"] == guard_shard("safe", NEW, 1)


def test_what_is_revoked_and_whether_it_is_open_is_told_with_the_policy() -> None:
    plan = plan_guardrail(seen(guardrail=guardrail(mode="monitor", revokeBefore=OLD)))
    assert published(guardrail(status=plan.status)) == Guard(
        "safe", NEW, (guard_shard("safe", NEW, 0), guard_shard("safe", NEW, 1)), open=True, revoke_before=OLD
    )


def test_a_change_of_what_is_no_policy_needs_no_compiling() -> None:
    again = after(seen(), plan_guardrail(seen()), revokeBefore=OLD, selector={})
    assert not needs_verdict(again)
    plan = plan_guardrail(again)
    assert (plan.status or {})["revokeBefore"] == OLD
    assert (plan.status or {})["guarantees"] == {"pii": "exact"}


def compiled_before(**changed: Any) -> ObservedGuardrail:
    """One whose old policy holds; its spec says something else now."""
    first = plan_guardrail(seen(policy=OLD))
    return replace(after(seen(), first), policy=NEW, **changed)


def test_while_it_is_being_compiled_what_compiled_before_holds() -> None:
    observed = compiled_before()
    assert needs_verdict(observed)
    plan = plan_guardrail(observed)
    assert (plan.actions, (plan.status or {})["policyHash"]) == ((), OLD)
    assert said(plan, "Ready") == ("False", "Compiling")
    assert said(plan, "Reconciling") == ("True", "Compiling")
    assert plan.requeue_after == SOON


def test_of_the_first_that_is_being_compiled_nothing_is_published() -> None:
    plan = plan_guardrail(seen(verdict=None))
    assert published(guardrail(status=plan.status)) is None
    assert message(plan, "Ready") == "the policy is being compiled"
    assert said(plan, "Enforcing") == ("False", "NoPolicy")


def test_one_that_does_not_compile_says_all_that_is_wrong_and_keeps_what_did() -> None:
    plan = plan_guardrail(compiled_before(verdict=Verdict(problems=("rules[0]: a", "detectors[x]: b"))))
    assert (plan.actions, (plan.status or {})["policyHash"]) == ((), OLD)
    assert (plan.status or {})["guarantees"] == {"pii": "exact"}
    assert said(plan, "Stalled") == ("True", "InvalidSpec")
    assert said(plan, "Reconciling") == ("False", "InvalidSpec")
    kept = f"rules[0]: a; detectors[x]: b; policy {OLD[:8]}, which compiled before, holds on"
    assert (message(plan, "Ready"), message(plan, "Stalled")) == (kept, kept)
    assert plan.requeue_after == CALM


def test_one_that_would_end_its_own_streams_is_refused() -> None:
    plan = plan_guardrail(compiled_before(guardrail=guardrail(revokeBefore=NEW), verdict=GOOD))
    assert said(plan, "Stalled") == ("True", "InvalidSpec")
    assert message(plan, "Stalled").startswith("spec.revokeBefore names this policy itself")


def waiting(wall: float, status: Mapping[str, Any]) -> GuardrailPlan:
    now = Now(1_800_000_000.0 + wall, 50.0, "p")
    return plan_guardrail(
        seen(now=now, guardrail=guardrail(status=status), policy="", verdict=None, missing="no words")
    )


def test_a_text_that_is_missing_is_waited_for_two_minutes_and_then_it_is_said() -> None:
    first = waiting(0, {})
    assert said(first, "Reconciling") == ("True", "ConfigMapNotFound")
    assert message(first, "Reconciling") == "no words"
    assert said(waiting(119, first.status or {}), "Stalled")[0] == "False"
    stalled = waiting(121, first.status or {})
    assert (said(stalled, "Reconciling")[0], said(stalled, "Stalled")) == ("False", ("True", "ConfigMapNotFound"))
    assert said(waiting(125, stalled.status or {}), "Stalled") == ("True", "ConfigMapNotFound")


def test_the_two_minutes_begin_when_it_is_missing_and_not_with_something_else() -> None:
    compiling = plan_guardrail(seen(verdict=None)).status
    assert said(waiting(300, compiling or {}), "Reconciling") == ("True", "ConfigMapNotFound")


def test_of_detectors_outside_of_the_gateways_gateways_tell() -> None:
    served = guardrail(detectors=[PII, {"name": "judge", "type": "chat-guard"}])
    assert said(plan_guardrail(seen(guardrail=served)), "DetectorsHealthy") == ("Unknown", "NotUsed")
    well = GatewayState("s", 9.0, detectors={f"{policy_key('tales', 'safe', NEW)}/judge": DetectorState("", 1.0)})
    gateways = (GatewayPod("g", "g", well, 0.0),)
    plan = plan_guardrail(seen(guardrail=served, users=(User(STORY, table(NEW)),), gateways=gateways))
    assert said(plan, "DetectorsHealthy") == ("True", "Well")


def test_detectors_are_judged_by_the_policy_that_holds() -> None:
    served = guardrail(detectors=[{"name": "judge", "type": "chat-guard"}])
    first = plan_guardrail(seen(guardrail=served, verdict=None))
    assert said(first, "DetectorsHealthy") == ("Unknown", "NoPolicy")
    ill = {f"{policy_key('tales', 'safe', NEW)}/judge": DetectorState("it finds nothing", 1.0)}
    gateways = (GatewayPod("g", "g", GatewayState("s", 9.0, detectors=ill), 0.0),)
    assert said(plan_guardrail(seen(guardrail=served, gateways=gateways)), "DetectorsHealthy") == ("False", "Unwell")


@pytest.mark.parametrize("detectors", [[PII], None])
def test_those_in_the_gateways_work_when_gateways_do(detectors: Any) -> None:
    plan = plan_guardrail(seen(guardrail=guardrail(detectors=detectors)))
    assert said(plan, "DetectorsHealthy") == ("True", "InGateways")
    assert message(plan, "DetectorsHealthy") == "all of them run in the gateways themselves"


# Whether it is enforced.


def table(*policies: str, deployment: str = "story", generation: int = 3) -> dict[str, Any]:
    guards = tuple(
        Guard("safe", policy, (guard_shard("safe", policy, 0), guard_shard("safe", policy, 1))) for policy in policies
    )
    spec = table_spec(Table(epoch=1, served_names=(), variants=(), guards=guards))
    meta = {"name": deployment, "uid": "table", "generation": generation, "resourceVersion": "9"}
    return {"metadata": meta, "spec": spec}


def gateway(
    name: str = "g-1", *, says: str = LOADED, generation: int = 3, age: float = 0.0, ready: bool = True
) -> GatewayPod:
    served = {str(STORY): DeploymentState("table", generation)}
    return GatewayPod(name, name, GatewayState("s", 1.0, served, {NEW: says} if says else {}), age, ready)


def used(*gateways: GatewayPod, by: tuple[User, ...] = (User(STORY, table(NEW)),)) -> GuardrailPlan:
    return plan_guardrail(seen(users=by, gateways=gateways))


def test_it_is_enforced_when_every_ready_gateway_has_loaded_it_and_serves_by_the_tables_that_name_it() -> None:
    plan = used(gateway(), gateway("g-2"), gateway("g-3", says="", ready=False))
    assert said(plan, "Enforcing") == ("True", "Enforced")
    assert message(plan, "Enforcing") == "every gateway enforces it on story"
    assert plan.requeue_after == CALM


def test_of_many_deployments_ten_are_named() -> None:
    served = {f"tales/d{n}": DeploymentState("table", 3) for n in range(12)}
    pod = GatewayPod("g", "g", GatewayState("s", 1.0, served, {NEW: LOADED}), 0.0)
    users = tuple(User(Key("tales", f"d{n}"), table(NEW, deployment=f"d{n}")) for n in range(12))
    assert message(used(pod, by=users), "Enforcing").endswith("d8, d9 and 2 more")


@pytest.mark.parametrize(
    ("made", "reason", "says"),
    [
        (
            lambda: used(gateway(), by=()),
            "NotUsed",
            "no ModelDeployment of this namespace names it, and none is selected",
        ),
        (lambda: used(), "NoGateway", "there is no gateway that is ready"),
        (lambda: used(gateway(ready=False)), "NoGateway", "there is no gateway that is ready"),
        (lambda: used(gateway(), gateway("g-2", age=3.5)), "NoAnswer", "no answer from gateway g-2"),
        (lambda: used(GatewayPod("g-1", "g-1", None, float("inf"))), "NoAnswer", "no answer from gateway g-1"),
        (
            lambda: used(gateway(), by=(User(STORY, None),)),
            "NotProgrammed",
            "the routing table of ModelDeployment story does not name the policy yet",
        ),
        (
            lambda: used(gateway(), by=(User(STORY, table(OLD)),)),
            "NotProgrammed",
            "the routing table of ModelDeployment story does not name the policy yet",
        ),
        (
            lambda: used(gateway(), by=(User(STORY, {**table(NEW), "spec": {}}),)),
            "NotProgrammed",
            "the routing table of ModelDeployment story does not name the policy yet",
        ),
        (
            lambda: used(gateway(), gateway("g-2", generation=2)),
            "NotProgrammed",
            "gateway g-2 does not serve ModelDeployment story by the table that names it",
        ),
        (
            lambda: used(gateway(), by=(User(Key("tales", "other"), table(NEW, deployment="other")),)),
            "NotProgrammed",
            "gateway g-1 does not serve ModelDeployment other by the table that names it",
        ),
        (
            lambda: used(gateway(), gateway("g-2", says="")),
            "NotLoaded",
            "gateway g-2 does not enforce Guardrail safe: it has not loaded it yet",
        ),
        (
            lambda: used(gateway(says="ConfigMap x is not there")),
            "NotLoaded",
            "gateway g-1 does not enforce Guardrail safe: ConfigMap x is not there",
        ),
    ],
)
def test_else_it_says_who_does_not(made: Callable[[], GuardrailPlan], reason: str, says: str) -> None:
    # Made here: what is made with the table of cases is made before anything could have gone wrong.
    plan = made()
    assert (said(plan, "Enforcing"), message(plan, "Enforcing")) == (("False", reason), says)
    assert plan.requeue_after == (CALM if reason == "NotUsed" else SOON)
    assert said(plan, "Ready") == ("True", "Compiled")


RUNGS = [
    {"per": "session", "count": 3, "within": "10m", "action": "CoolDown"},
    {"per": "player", "count": 3, "within": "10m", "action": "SwitchModel", "to": "calm"},
]


def test_a_model_to_switch_to_that_nobody_serves_is_asked_for() -> None:
    observed = seen(users=(User(STORY, table(NEW)),), gateways=(gateway(),), guardrail=guardrail(ladder=RUNGS))
    plan = plan_guardrail(observed)
    assert said(plan, "Enforcing") == ("False", "TargetNotFound")
    assert message(plan, "Enforcing") == (
        "ladder[1].to: no ModelDeployment of namespace tales is called 'calm' or serves that name: make one, or write "
        "another; until then whom it switches is not served, unless failurePolicy is Open"
    )
    # It is the gateway's to refuse those few; nobody else waits for it.
    assert said(plan, "Ready") == ("True", "Compiled")
    assert plan.requeue_after == SOON
    assert said(plan_guardrail(replace(observed, served=frozenset({"calm"}))), "Enforcing") == ("True", "Enforced")


# What is swept away.


def test_parts_of_an_old_policy_stay_for_an_hour_after_the_last_table_named_them() -> None:
    observed = seen(shards=shards(NEW, OLD))
    old = [guard_shard("safe", OLD, n) for n in (0, 1)]
    named = plan_guardrail(replace(observed, named=frozenset(old)))
    assert (named.actions, named.unused) == ((), {})
    first = plan_guardrail(observed)
    assert (first.actions, first.unused) == ((), dict.fromkeys(old, 50.0))
    late = replace(observed, unused=first.unused, now=Now(1_800_000_000.0, 50.0 + LINGER, "p"))
    assert plan_guardrail(replace(late, now=Now(0.0, 49.0 + LINGER, "p"))).actions == ()
    deletions = plan_guardrail(late).actions
    assert [d.name for d in deletions if isinstance(d, Delete)] == old
    assert deletions[0] == Delete("v1", "ConfigMap", "tales", old[0], "uid-00", why="no table has named it for an hour")
    # One that is named again begins its hour anew.
    assert plan_guardrail(replace(late, named=frozenset(old))).unused == {}


def test_those_of_a_guardrail_that_is_gone_or_going_are_swept_too_and_those_that_tables_name_stay() -> None:
    for gone in (None, {**guardrail(), "metadata": {**guardrail()["metadata"], "deletionTimestamp": "now"}}):
        first = plan_guardrail(seen(guardrail=gone, shards=shards(NEW), named=frozenset([guard_shard("safe", NEW, 0)])))
        assert (first.status, first.actions) == (None, ())
        assert list(first.unused) == [guard_shard("safe", NEW, 1)]
        assert first.requeue_after == LINGER


def test_one_that_is_gone_with_all_its_parts_is_looked_at_no_more() -> None:
    assert plan_guardrail(seen(guardrail=None)) == GuardrailPlan()
    assert not needs_verdict(seen(guardrail=None, policy=""))


def test_a_probe_set_that_can_be_read_is_named_by_the_status() -> None:
    plan = plan_guardrail(seen(probes=Probes("prompts.jsonl", "ab" * 32, 40)))
    assert (plan.status or {})["probeSet"] == {"key": "prompts.jsonl", "hash": "ab" * 32, "prompts": 40}
    assert "probeSet" not in (plan_guardrail(seen()).status or {})


def test_a_probe_set_that_is_wrong_is_a_mistake_in_the_guardrail_and_the_policy_before_holds_on() -> None:
    first = seen()
    compiled = after(first, plan_guardrail(first))
    plan = plan_guardrail(replace(compiled, mistake="probeSet.configMapRef: line 3 is no JSON object"))
    assert said(plan, "Ready") == ("False", "InvalidSpec")
    assert said(plan, "Stalled") == ("True", "InvalidSpec")
    assert message(plan, "Stalled").startswith("probeSet.configMapRef: line 3 is no JSON object; policy 5a5a5a5a")
    assert (plan.status or {})["policyHash"] == NEW
