"""Which keys a change wakes: everybody it concerns, and hardly anybody else."""

from typing import Any

import pytest

from tests.engine.objects import SPACE, child, deployment, made, scope
from understudy.domain.key import Key
from understudy.domain.names import ANNOTATION_GUARDRAIL, LABEL_GUARD_SHARD, guard_shard
from understudy.engine.cache import Cache
from understudy.engine.wake import Waker, Work, claimed_names, model_name, table_names
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    NETWORK_POLICY,
    NODE,
    POD,
    ROUTING_TABLE,
    SECRET,
    SERVICE,
    Resource,
)
from understudy.kube.trim import CONTENT_HASH
from understudy.telemetry.operator import OperatorMetrics

HASHED: dict[str, Any] = {CONTENT_HASH: "a"}


class Stage:
    """A cache with a waker that writes down whom it wakes."""

    def __init__(self) -> None:
        self.cache = Cache(OperatorMetrics(), lambda: 0.0)
        self._woken: list[Work] = []
        self.waker = Waker(self.cache)
        self.waker.begin(self._woken.append)
        self.cache.listen(self.waker.changed)

    def put(self, resource: Resource, obj: dict[str, Any]) -> set[str]:
        """Who was woken by the object's arrival or change."""
        self._woken.clear()
        self.cache.upsert(scope(resource), obj)
        return self.woken

    def remove(self, resource: Resource, obj: dict[str, Any]) -> set[str]:
        self._woken.clear()
        self.cache.remove(scope(resource), obj)
        return self.woken

    @property
    def woken(self) -> set[str]:
        return {f"{work.kind} {work.key.name}" for work in self._woken}


def table(name: str, *served: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    return child(ROUTING_TABLE, name, name, version=version, spec={"servedNames": list(served), **spec})


def shard(guardrail: str, number: int) -> dict[str, Any]:
    """A part of the policy of a Guardrail."""
    about = {"labels": {LABEL_GUARD_SHARD: "true"}, "annotations": {ANNOTATION_GUARDRAIL: guardrail}}
    return made(CONFIG_MAP, guard_shard(guardrail, "5a", number), metadata=about, **HASHED)


def hashed(resource: Resource, name: str, content: str, version: int = 1) -> dict[str, Any]:
    return made(resource, name, version, **{CONTENT_HASH: content})


def test_a_deployment_wakes_itself_and_at_its_birth_its_model() -> None:
    stage = Stage()
    assert stage.put(MODEL_DEPLOYMENT, deployment("talk")) == {"ModelDeployment talk", "Model storyteller"}
    assert stage.put(MODEL_DEPLOYMENT, deployment("talk", version=2)) == {"ModelDeployment talk"}


def test_a_changed_model_reference_wakes_the_old_model_and_the_new() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    moved = deployment("talk", {"modelRef": {"name": "poet"}}, version=2)
    assert stage.put(MODEL_DEPLOYMENT, moved) == {"ModelDeployment talk", "Model storyteller", "Model poet"}


def test_a_deleted_deployment_wakes_itself_and_its_model() -> None:
    stage = Stage()
    gone = deployment("talk")
    stage.put(MODEL_DEPLOYMENT, gone)
    assert stage.remove(MODEL_DEPLOYMENT, gone) == {"ModelDeployment talk", "Model storyteller"}


def test_each_kind_of_child_wakes_its_deployment() -> None:
    stage = Stage()
    for resource in (DEPLOYMENT, SERVICE, POD, MODEL_SNAPSHOT, NETWORK_POLICY):
        obj = child(resource, "talk-1", "talk")
        assert stage.put(resource, obj) == {"ModelDeployment talk"}, resource.kind
        assert stage.remove(resource, obj) == {"ModelDeployment talk"}, resource.kind
    assert stage.put(ROUTING_TABLE, table("talk", "talk")) == {"ModelDeployment talk"}
    assert stage.put(SECRET, child(SECRET, "talk-1-key", "talk", **HASHED)) == {"ModelDeployment talk"}
    assert stage.put(CONFIG_MAP, child(CONFIG_MAP, "c", "talk", **HASHED)) == {"ModelDeployment talk"}


def test_a_child_that_changes_hands_wakes_both() -> None:
    stage = Stage()
    stage.put(POD, child(POD, "p", "talk"))
    assert stage.put(POD, child(POD, "p", "walk", version=2)) == {"ModelDeployment talk", "ModelDeployment walk"}


def test_a_stranger_wakes_nobody() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    for resource in (DEPLOYMENT, SERVICE, POD, SECRET, CONFIG_MAP):
        assert stage.put(resource, made(resource, "other", **HASHED)) == set()


def test_a_models_new_spec_wakes_those_who_use_it() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    stage.put(MODEL_DEPLOYMENT, deployment("walk", {"modelRef": {"name": "poet"}}))
    assert stage.put(MODEL, made(MODEL, "storyteller", spec={"a": 1})) == {"Model storyteller", "ModelDeployment talk"}


def test_a_models_new_status_wakes_only_itself() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    stage.put(MODEL, made(MODEL, "storyteller", 1, spec={"a": 1}))
    changed = made(MODEL, "storyteller", 2, spec={"a": 1}, status={"usedBy": ["talk"]})
    assert stage.put(MODEL, changed) == {"Model storyteller"}


def test_a_guardrails_spec_wakes_every_deployment_of_its_namespace() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    stage.put(MODEL_DEPLOYMENT, deployment("walk"))
    rail = made(GUARDRAIL, "safe", spec={"selector": {}})
    assert stage.put(GUARDRAIL, rail) == {"Guardrail safe", "ModelDeployment talk", "ModelDeployment walk"}
    found = {"counters": {"pii": 1}, "conditions": [{"type": "Enforcing", "status": "True"}]}
    again = made(GUARDRAIL, "safe", 2, spec={"selector": {}}, status=found)
    assert stage.put(GUARDRAIL, again) == {"Guardrail safe"}


@pytest.mark.parametrize(
    "status",
    [{"policyHash": "5a"}, {"observedGeneration": 2}, {"conditions": [{"type": "Stalled", "status": "True"}]}],
)
def test_so_does_what_its_policy_has_come_to(status: dict[str, Any]) -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    stage.put(GUARDRAIL, made(GUARDRAIL, "safe", spec={}))
    changed = made(GUARDRAIL, "safe", 2, spec={}, status=status)
    assert stage.put(GUARDRAIL, changed) == {"Guardrail safe", "ModelDeployment talk"}
    assert stage.remove(GUARDRAIL, changed) == {"Guardrail safe", "ModelDeployment talk"}


def test_a_text_that_a_guardrail_names_wakes_it_when_it_changes() -> None:
    stage = Stage()
    detectors = [{"name": "words", "type": "lexicon", "configMapRef": {"name": "list"}}]
    stage.put(GUARDRAIL, made(GUARDRAIL, "safe", spec={"detectors": detectors}))
    stage.put(GUARDRAIL, made(GUARDRAIL, "other", spec={}))
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "list", "a")) == {"Guardrail safe"}
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "list", "a", 2)) == set()
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "list", "b", 3)) == {"Guardrail safe"}


def test_a_part_of_a_policy_wakes_its_guardrail_when_somebody_deletes_it() -> None:
    stage = Stage()
    part = shard("safe", 0)
    assert stage.put(CONFIG_MAP, part) == {"Guardrail safe"}
    assert stage.remove(CONFIG_MAP, part) == {"Guardrail safe"}


def test_a_table_wakes_the_guardrails_that_it_names_and_no_longer_names() -> None:
    stage = Stage()
    assert stage.put(ROUTING_TABLE, table("talk", guards=[{"name": "old"}])) >= {"Guardrail old"}
    woken = stage.put(ROUTING_TABLE, table("talk", version=2, guards=[{"name": "safe"}]))
    assert woken == {"Guardrail old", "Guardrail safe", "ModelDeployment talk"}
    woken = stage.put(ROUTING_TABLE, table("talk", version=3, guards=[{"name": "safe"}], salt="x"))
    assert woken == {"ModelDeployment talk"}


def test_a_deployment_wakes_the_guardrails_beside_it_when_others_may_hold_for_it() -> None:
    stage = Stage()
    stage.put(GUARDRAIL, made(GUARDRAIL, "safe", spec={}))
    stage.put(GUARDRAIL, made(GUARDRAIL, "far", namespace="far", spec={}))
    talk = {"Guardrail safe", "ModelDeployment talk", "Model storyteller"}
    assert stage.put(MODEL_DEPLOYMENT, deployment("talk")) == talk
    assert "Guardrail safe" not in stage.put(MODEL_DEPLOYMENT, deployment("talk", {"replicas": 2}, version=2))
    named = {"replicas": 2, "guardrailRefs": [{"name": "safe"}]}
    assert "Guardrail safe" in stage.put(MODEL_DEPLOYMENT, deployment("talk", named, version=3))
    assert "Guardrail safe" in stage.put(MODEL_DEPLOYMENT, deployment("talk", named, version=4, labels={"a": "b"}))


def test_content_that_a_spec_names_wakes_it_when_it_changes() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"engine": {"envFrom": [{"configMapRef": {"name": "tuning"}}]}}))
    stage.put(MODEL_DEPLOYMENT, deployment("walk"))
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "tuning", "a")) == {"ModelDeployment talk"}
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "tuning", "a", 2)) == set(), "same content"
    assert stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "tuning", "b", 3)) == {"ModelDeployment talk"}
    assert stage.remove(CONFIG_MAP, hashed(CONFIG_MAP, "tuning", "b", 3)) == {"ModelDeployment talk"}


def test_content_named_by_a_kind_of_the_same_name_is_told_apart() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"engine": {"envFrom": [{"configMapRef": {"name": "tuning"}}]}}))
    assert stage.put(SECRET, hashed(SECRET, "tuning", "a")) == set()


def test_content_that_only_a_snapshot_names_still_wakes_its_deployment() -> None:
    stage = Stage()
    spec = {"podTemplate": {"volumes": [{"secret": {"secretName": "certs"}}]}}
    snapshot = child(MODEL_SNAPSHOT, "talk-1", "talk", spec=spec)
    stage.put(MODEL_SNAPSHOT, snapshot)
    assert stage.put(SECRET, hashed(SECRET, "certs", "a")) == {"ModelDeployment talk"}
    stage.remove(MODEL_SNAPSHOT, snapshot)
    assert stage.put(SECRET, hashed(SECRET, "certs", "b", 2)) == set()


def test_a_snapshot_without_a_label_names_for_nobody() -> None:
    stage = Stage()
    spec = {"podTemplate": {"volumes": [{"secret": {"secretName": "certs"}}]}}
    stage.put(MODEL_SNAPSHOT, made(MODEL_SNAPSHOT, "lost", spec=spec))
    assert stage.put(SECRET, hashed(SECRET, "certs", "a")) == set()


def test_the_secret_of_a_model_wakes_those_who_use_the_model() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    source = {"huggingFace": {"repo": "a/b", "tokenSecretRef": {"name": "hf", "key": "token"}}}
    stage.put(MODEL, made(MODEL, "storyteller", spec={"source": source}))
    assert stage.put(SECRET, hashed(SECRET, "hf", "a")) == {"ModelDeployment talk"}


def test_a_reference_that_was_dropped_wakes_nobody() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"engine": {"envFrom": [{"secretRef": {"name": "s"}}]}}))
    stage.put(MODEL_DEPLOYMENT, deployment("talk", version=2))
    assert stage.put(SECRET, hashed(SECRET, "s", "a")) == set()


def test_a_claimed_name_wakes_the_other_claimants() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"servedNames": ["tales", "talk"]}))
    claims = deployment("walk", {"servedNames": ["tales"]})
    assert stage.put(MODEL_DEPLOYMENT, claims) == {"ModelDeployment walk", "ModelDeployment talk", "Model storyteller"}
    drops = deployment("walk", {"servedNames": ["walk"]}, version=2)
    assert stage.put(MODEL_DEPLOYMENT, drops) == {"ModelDeployment walk", "ModelDeployment talk"}


def test_a_new_deployment_wakes_who_claims_its_full_name() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"servedNames": [f"{SPACE}/walk"]}))
    found = stage.put(MODEL_DEPLOYMENT, deployment("walk"))
    assert found == {"ModelDeployment walk", "ModelDeployment talk", "Model storyteller"}


def test_an_edit_that_claims_nothing_new_wakes_no_claimant() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"servedNames": ["tales"]}))
    stage.put(MODEL_DEPLOYMENT, deployment("walk", {"servedNames": ["tales"]}))
    edit = deployment("walk", {"servedNames": ["tales"], "replicas": 3}, version=2)
    assert stage.put(MODEL_DEPLOYMENT, edit) == {"ModelDeployment walk"}


def test_a_table_that_takes_up_or_drops_a_name_wakes_its_claimants() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"servedNames": ["tales"]}))
    stage.put(MODEL_DEPLOYMENT, deployment("walk", {"servedNames": ["tales"]}))
    both = {"ModelDeployment talk", "ModelDeployment walk"}
    assert stage.put(ROUTING_TABLE, table("walk", "tales")) == both
    assert stage.put(ROUTING_TABLE, table("walk", "tales", version=2, epoch=9)) == {"ModelDeployment walk"}
    assert stage.put(ROUTING_TABLE, table("walk", "tales", version=3, retired=True)) == both


def node(version: int, ready: str = "True", **labels: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready}
    meta = {"labels": labels}
    return made(NODE, "n1", version, metadata=meta, spec={}, status={"capacity": {}, "conditions": [condition]})


def test_a_node_wakes_those_with_a_pod_on_it_or_waiting_for_one() -> None:
    stage = Stage()
    for name, where in (("talk", {"nodeName": "n1"}), ("walk", {"nodeName": "n2"}), ("wait", {})):
        stage.put(POD, child(POD, f"{name}-pod", name, spec=where))
    stage.put(POD, made(POD, "stranger", spec={"nodeName": "n1"}))
    concerned = {"ModelDeployment talk", "ModelDeployment wait"}
    assert stage.put(NODE, node(1)) == concerned
    assert stage.put(NODE, node(2)) == set(), "nothing that placement reads has changed"
    assert stage.put(NODE, node(3, ready="False")) == concerned
    assert stage.put(NODE, node(4, ready="False", gpu="L4")) == concerned


def test_everything_is_every_object_of_ours_and_every_deployment_that_left_something_behind() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk"))
    stage.put(MODEL_SNAPSHOT, child(MODEL_SNAPSHOT, "gone-1", "gone"))
    stage.put(MODEL, made(MODEL, "storyteller"))
    stage.put(GUARDRAIL, made(GUARDRAIL, "safe"))
    stage.put(CONFIG_MAP, shard("swept", 0))
    stage.put(CONFIG_MAP, hashed(CONFIG_MAP, "understudy-guard-of-somebody", "a"))
    assert {f"{work.kind} {work.key.name}" for work in stage.waker.everything()} == {
        "ModelDeployment talk",
        "ModelDeployment gone",
        "Model storyteller",
        "Guardrail safe",
        "Guardrail swept",
    }


def test_claimants_are_known_across_namespaces() -> None:
    stage = Stage()
    stage.put(MODEL_DEPLOYMENT, deployment("talk", {"servedNames": ["tales"]}))
    far = deployment("talk", {"servedNames": ["tales"]}, namespace="far")
    stage.put(MODEL_DEPLOYMENT, far)
    assert stage.waker.claimants("tales") == {Key(SPACE, "talk"), Key("far", "talk")}
    stage.remove(MODEL_DEPLOYMENT, far)
    assert stage.waker.claimants("tales") == {Key(SPACE, "talk")}
    assert stage.waker.claimants("nobody") == set()


def test_a_deployment_that_names_nothing_serves_under_its_own_name() -> None:
    assert claimed_names(deployment("talk")) == {"talk"}
    assert claimed_names(deployment("talk", {"servedNames": ["a", "b"]})) == {"a", "b"}


def test_a_retired_table_serves_nothing() -> None:
    assert table_names(table("talk", "a")) == {"a"}
    assert table_names(table("talk", "a", retired=True)) == frozenset()


def test_a_deployment_without_a_model_names_none() -> None:
    assert model_name({"metadata": {"name": "x"}}) == ""


def test_before_it_is_told_whom_to_tell_it_only_learns_who_uses_what() -> None:
    cache = Cache(OperatorMetrics(), lambda: 0.0)
    waker = Waker(cache)
    cache.listen(waker.changed)
    cache.upsert(scope(MODEL_DEPLOYMENT), deployment("a", {"modelRef": {"name": "weights"}}))
    assert waker.users_of(Key(SPACE, "weights")) == {Key(SPACE, "a")}
    woken: list[Work] = []
    waker.begin(woken.append)
    cache.upsert(scope(MODEL), made(MODEL, "weights", spec={"a": 1}))
    assert Work("ModelDeployment", Key(SPACE, "a")) in woken
