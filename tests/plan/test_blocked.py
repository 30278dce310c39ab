"""A spec that cannot become a revision now: what is said, when it stalls, and that nothing else is disturbed."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.test_canary import canary
from tests.plan.world import NAME, NAMESPACE, Cluster, rollout, serving
from understudy.domain.key import Key


def new(**spec: Any) -> Cluster:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1", **spec)
    return cluster


def test_a_missing_model_is_waited_for_two_minutes_before_it_stalls() -> None:
    cluster = Cluster()
    cluster.apply("v1")
    cluster.turns(60)
    assert (cluster.says("Reconciling"), cluster.says("Stalled")[0]) == (("True", "ModelNotFound"), "False")
    cluster.turns(70)
    assert (cluster.says("Reconciling")[0], cluster.says("Stalled")) == ("False", ("True", "ModelNotFound"))
    assert "Model tiny does not exist in namespace tales" in cluster.condition("Stalled")["message"]
    cluster.apply_model()
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_what_stalled_stays_stalled_when_the_operator_restarts() -> None:
    cluster = Cluster()
    cluster.apply("v1")
    cluster.turns(130)
    cluster.restart_operator()
    cluster.turns(3)
    assert cluster.says("Stalled") == ("True", "ModelNotFound")


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_a_missing_reference_is_named(kind: str) -> None:
    reference = {"secretKeyRef" if kind == "Secret" else "configMapKeyRef": {"name": "tokens", "key": "t"}}
    cluster = new(engine={"type": "sim", "image": "v1", "env": [{"name": "T", "valueFrom": reference}]})
    cluster.references = {(kind, "tokens"): None}
    cluster.turns(3)
    assert cluster.says("Reconciling") == ("True", f"{kind}NotFound")
    assert f"{kind} tokens" in cluster.condition("Reconciling")["message"]
    cluster.references = {(kind, "tokens"): "a" * 64}
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def prompts(*schemas: dict[str, Any]) -> dict[str, Any]:
    """Probes with a prompt for each schema."""
    message = {"role": "user", "content": "Tell me a story as JSON."}
    return {
        "prompts": [
            {"name": f"json-{n}", "messages": [message], "expect": {"jsonSchema": schema}}
            for n, schema in enumerate(schemas)
        ]
    }


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"engine": {"type": "sim", "image": "v2", "args": ["--port=1"]}}, "spec.engine.args[0]"),
    ({"podTemplate": {"labels": {"understudy.dev/x": "y"}}}, "understudy.dev/x"),
    (
        {"probes": prompts({"type": "object"}, {"properties": {"title": {"format": "date"}}})},
        "spec.probes.prompts[1].expect.jsonSchema.properties.title.format: is not supported in a probe; use type,",
    ),
]


@pytest.mark.parametrize(("change", "says"), INVALID)
def test_an_invalid_spec_stalls_at_once_and_what_serves_goes_on(change: dict[str, Any], says: str) -> None:
    cluster = serving("v1")
    cluster.edit(**change)
    cluster.turn()
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    assert says in cluster.condition("Stalled")["message"]
    assert (cluster.weights(), cluster.replicas()) == ({"v1": 100}, {"v1": 1})
    assert cluster.says("Available")[0] == "True"


def test_what_is_expected_by_mistake_is_held_against_no_pod() -> None:
    cluster = serving("v1", probes=prompts({"type": "object"}))
    assert {prompt.name for probe in cluster.probed for prompt in probe.prompts} == {"json-0"}
    cluster.edit(probes=prompts({"type": "object"}, {"$ref": "https://example.com/story.json"}))
    cluster.turns(3)
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    (probe,) = cluster.probed
    assert [(prompt.name, prompt.expect["jsonSchema"]) for prompt in probe.prompts] == [("json-0", {"type": "object"})]


def test_a_spec_that_is_not_one_leaves_everything_as_it_is() -> None:
    cluster = canary(10)
    before = cluster.weights(), cluster.replicas(), cluster.phase
    good = cluster.deployment["spec"]
    cluster.put("ModelDeployment", NAME, {"spec": {**good, "replicas": "many"}})
    cluster.turns(3)
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    assert "spec.replicas" in cluster.condition("Stalled")["message"]
    assert (cluster.weights(), cluster.replicas(), cluster.phase) == before
    cluster.put("ModelDeployment", NAME, {"spec": good})
    cluster.until_phase("Watching")


def test_one_that_never_was_a_spec_is_said_without_anything_to_keep() -> None:
    cluster = Cluster()
    cluster.put("ModelDeployment", NAME, {"spec": {"replicas": "many"}})
    cluster.turn()
    assert cluster.says("Stalled") == ("True", "InvalidSpec")


def test_what_the_api_server_refuses_is_passed_on() -> None:
    cluster = serving("v1")
    cluster.refused = "Deployment.apps story-x is invalid: spec.template.spec.volumes[0]: unknown field"
    cluster.turn()
    assert cluster.says("Stalled") == ("True", "Refused")
    assert "volumes[0]" in cluster.condition("Stalled")["message"]


def test_two_revisions_with_the_same_short_hash_are_told_apart() -> None:
    cluster = serving("v1")
    ((name, record),) = cluster.of_kind("ModelSnapshot").items()
    cluster._store("ModelSnapshot", name, {**record, "spec": {**record["spec"], "hash": "0" * 64}})
    cluster.turn()
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    assert "already called" in cluster.condition("Stalled")["message"]


def test_another_version_of_the_hash_restarts_nothing() -> None:
    cluster = serving("v1")
    uids = {p.uid for p in cluster.pods.values()}
    cluster.settings = replace(cluster.settings, hash_version=2, prestop_seconds=9)
    cluster.restart_operator()
    cluster.turns(10)
    assert (cluster.phase, {p.uid for p in cluster.pods.values()}) == ("Stable", uids)
    cluster.apply("v2")
    cluster.until(lambda c: c.image("stable") == "v2")


# Served names.


def test_a_taken_name_is_waited_for_and_the_old_names_go_on() -> None:
    cluster = serving("v1", servedNames=["old"])
    cluster.name_holders = {"new": Key(NAMESPACE, "holder")}
    cluster.edit(servedNames=["new", "free"])
    cluster.turns(60)
    assert cluster.says("Stalled") == ("True", "NameTaken")
    assert "new is held by tales/holder" in cluster.condition("Stalled")["message"]
    assert cluster.table is not None
    assert cluster.table.served_names == ("free", "old", f"{NAMESPACE}/{NAME}")
    cluster.name_holders = {}
    cluster.turns(40)
    assert cluster.table.served_names == ("new", "free", f"{NAMESPACE}/{NAME}")
    assert cluster.says("Stalled")[0] == "False"


def test_a_dropped_name_is_served_for_half_a_minute() -> None:
    cluster = serving("v1", servedNames=["a", "b"])
    cluster.edit(servedNames=["a"])
    cluster.turns(20)
    assert cluster.table is not None
    assert "b" in cluster.table.served_names
    cluster.turns(15)
    assert cluster.table.served_names == ("a", f"{NAMESPACE}/{NAME}")


def test_or_until_its_claimant_serves_it() -> None:
    cluster = serving("v1", servedNames=["a", "b"])
    cluster.edit(servedNames=["a"])
    cluster.turns(3)
    cluster.name_holders = {"b": Key(NAMESPACE, "claimant")}
    cluster.turn()
    assert cluster.table is not None
    assert cluster.table.served_names == ("a", f"{NAMESPACE}/{NAME}")


# What pods consume.


def test_a_changed_secret_is_a_new_revision_and_the_old_one_is_drifted() -> None:
    reference = {"secretKeyRef": {"name": "tokens", "key": "t"}}
    engine = {"type": "sim", "image": "v1", "env": [{"name": "T", "valueFrom": reference}]}
    cluster = new(engine=engine)
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert cluster.condition("ConfigDrifted") == {}
    first = cluster.status["stable"]
    cluster.references = {("Secret", "tokens"): "b" * 64}
    cluster.turns(3)
    assert cluster.says("ConfigDrifted") == ("True", "ContentChanged")
    assert "Secret tokens" in cluster.condition("ConfigDrifted")["message"]
    record = cluster.objects["ModelSnapshot", f"{NAME}-{first}"]
    assert [(c["type"], c["status"]) for c in record["status"]["conditions"]] == [("ConfigDrifted", "True")]
    cluster.until(lambda c: c.phase == "Stable" and c.status["stable"] != first)
    assert cluster.condition("ConfigDrifted") == {}


def test_a_drifted_revision_that_has_gone_cold_does_not_come_back_by_itself() -> None:
    reference = {"secretKeyRef": {"name": "tokens", "key": "t"}}
    engine = {"type": "sim", "image": "v1", "env": [{"name": "T", "valueFrom": reference}]}
    terms = rollout(strategy="Immediate", watch="200s")
    cluster = new(engine=engine, rollout=terms)
    cluster.references = {("Secret", "tokens"): "a" * 64}
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    cluster.references = {("Secret", "tokens"): "b" * 64}
    cluster.until_phase("Watching")
    previous = cluster.status["previous"]
    cluster.vandalise("Deployment", f"{NAME}-{previous}")
    cluster.turns(4)
    (pod,) = [p for p in cluster.pods.values() if p.revision == cluster.status["stable"]]
    cluster.crash(pod)
    cluster.until(lambda c: c.says("Stalled") == ("True", "ConfigDrifted"))
    assert "Secret tokens" in cluster.condition("Stalled")["message"]


def test_configmaps_are_copied_before_the_pods_that_mount_them() -> None:
    reference = {"configMapKeyRef": {"name": "template", "key": "t"}}
    cluster = new(engine={"type": "sim", "image": "v1", "env": [{"name": "T", "valueFrom": reference}]})
    cluster.references = {("ConfigMap", "template"): "a" * 64}
    cluster.put("ConfigMap", "template", {"data": {"t": "hello"}})
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    revision = cluster.status["stable"]
    copy = cluster.objects["ConfigMap", f"{NAME}-{revision}-template"]
    assert (copy["data"], copy["immutable"]) == ({"t": "hello"}, True)
    cluster.apply("v2")
    cluster.until(lambda c: c.image("stable") == "v2" and len(c.replicas()) == 1).turns(3)
    assert copy["metadata"]["name"] in cluster.of_kind("ConfigMap")  # its record may still be asked for
    cluster.vandalise("ModelSnapshot", f"{NAME}-{revision}")
    cluster.turns(3)
    assert list(cluster.of_kind("ConfigMap")) == ["template"]


def test_content_that_changed_under_the_hash_is_not_copied() -> None:
    reference = {"configMapKeyRef": {"name": "template", "key": "t"}}
    cluster = new(engine={"type": "sim", "image": "v1", "env": [{"name": "T", "valueFrom": reference}]})
    cluster.references = {("ConfigMap", "template"): "a" * 64}
    cluster.turn()
    cluster.put("ConfigMap", "template", {"data": {"t": "other"}})
    record = next(iter(cluster.of_kind("ModelSnapshot").values()))
    reference_then = {**record["spec"]["references"][0], "hash": "c" * 64}
    cluster._store(
        "ModelSnapshot",
        record["metadata"]["name"],
        {**record, "spec": {**record["spec"], "references": [reference_then]}},
    )
    cluster.turn()
    assert list(cluster.of_kind("ConfigMap")) == ["template"]


# Keys.


def test_a_revision_keeps_its_engine_key_when_the_master_key_changes() -> None:
    cluster = serving("v1")
    revision = cluster.revision("v1")
    (before,) = cluster.of_kind("Secret").values()
    key = base64.b64decode(before["data"]["api-key"]).decode()
    kept = {f"{NAMESPACE}.{NAME}-{revision}": key}
    cluster.settings = replace(cluster.settings, master_key=b"n" * 32, kept_keys=kept)
    cluster.restart_operator()
    cluster.events.clear()
    cluster.turns(3)
    assert list(cluster.of_kind("Secret").values()) == [before]
    assert {probe.key for probe in cluster.probed} == {key}
    assert cluster.says("EngineKeyKept") == ("True", "MasterKeyChanged")
    assert [e.reason for e in cluster.events] == ["EngineKeyKept"]
    cluster.apply("v2")
    cluster.until(lambda c: c.image("stable") == "v2" and c.phase == "Stable").turns(3)
    assert {probe.key for probe in cluster.probed}.isdisjoint({key})
    assert cluster.condition("EngineKeyKept") == {}
