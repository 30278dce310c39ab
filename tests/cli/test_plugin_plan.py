"""`kubectl understudy plan -f`: what would happen, by the real planner, with nothing written."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Plugin
from tests.cli.plugin_world import NAME, NAMESPACE, Cluster, rolling, served_by, stamped, store
from tests.engine.fake_api import status_error
from tests.plan.test_guards import compiled, guardrail, mistaken
from tests.plan.world import rollout, serving
from understudy.domain.names import API_VERSION
from understudy.kube.client import Object, Page, Scope
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL_DEPLOYMENT,
    NETWORK_POLICY,
    NODE,
    POD,
    SECRET,
)
from understudy.plan.desired.children import policy_manifest

OPERATOR: Object = {
    "metadata": {
        "name": "understudy-operator",
        "namespace": "understudy-system",
        "labels": {"app.kubernetes.io/component": "operator"},
    },
    "spec": {
        "template": {"spec": {"containers": [{"args": ["operator", "--sim-image=sim:1", "--gateway-url=http://g"]}]}}
    },
}
CONSUMING = {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def manifest(cluster: Cluster, **spec: Any) -> dict[str, Any]:
    """The file that the deployment was applied from, with some fields changed."""
    whole = {**cluster.deployment["spec"], **spec}
    return {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": NAME}, "spec": whole}


def written(folder: Path, *documents: Object) -> str:
    path = folder / "file.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def engine(cluster: Cluster, **fields: Any) -> dict[str, Any]:
    return {"engine": {**cluster.deployment["spec"]["engine"], **fields}}


def begun(kubectl: Plugin, cluster: Cluster) -> Cluster:
    served_by(kubectl.api, cluster)
    store(kubectl.api, DEPLOYMENT, OPERATOR)
    if ("ModelDeployment", NAME) in cluster.objects:
        store(kubectl.api, NETWORK_POLICY, policy_manifest(stamped(cluster.deployment), "understudy-system"))
    return cluster


def test_an_edit_of_the_engine_would_be_rolled_out(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1", replicas=4))
    serves = cluster.revision("v1")
    code, out, errors = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))
    assert (code, errors) == (0, "")
    cluster.apply("v2", replicas=4)
    new = str(cluster.turn().status["target"]["revision"])  # type: ignore[index]
    steps = "10 % for 3 s, 50 % for 3 s, 100 % for 3 s, each with at least 5 requests seen"
    stuck = "2 of 4 pods of stable would have to make way: write capacity.maxUnavailable: 2"
    places = f"Surge: 1 more pod beside the 4 of {serves}; if no node is found, it waits: {stuck}"
    next_step = f"then 10 % of the conversations. {places}"
    way = "without room it waits until 2 of them may make way (capacity.maxUnavailable: 2)"
    assert (
        out
        == f"""\
tales/story: the new revision {new} would be rolled out; {serves} serves until it has passed

changes    engine.image: v1 → v2
strategy   Canary: {steps}; then {serves} stays ready for 10 s more
pods       Auto: 1 pod for the first step, 4 at the end, beside the 4 of {serves}: at most 8 at once; {way}
first      create ModelSnapshot story-{new}   record {new}
           create Secret story-{new}-key      engine key of {new}
           create Service story-{new}         Service of {new}
           create Deployment story-{new}      1 pods of {new}
then       0 of 1 pods of {new} have answered; {next_step}

Nothing was written.
"""
    )


def test_copies_before_the_first_step_are_told(kubectl: Plugin, folder: Path) -> None:
    terms = rollout(shadow={"percent": 60, "samples": 200})
    cluster = begun(kubectl, serving("v1", replicas=4, rollout=terms))
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))[1]
    assert "Canary: copies of 60 % of the requests until 200 pairs of answers are compared, then 10 % for 3 s" in out
    assert "Auto: 3 pods for the copies, 4 at the end, beside the 4 of" in out
    assert "0 of 3 pods of" in out
    assert "have answered; then copies of 60 % of the requests" in out


def test_nothing_is_written(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    before = kubectl.api.read(MODEL_DEPLOYMENT, NAMESPACE, NAME)
    written_before = len(kubectl.api.writes())
    kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))
    assert len(kubectl.api.writes()) == written_before
    assert kubectl.api.read(MODEL_DEPLOYMENT, NAMESPACE, NAME) == before


def test_the_same_again_changes_nothing(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    code, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster)))
    assert code == 0
    assert (
        out
        == f"tales/story: nothing would change: {cluster.revision('v1')} is what it asks for\n\nNothing was written.\n"
    )


def test_more_replicas_start_no_revision(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, replicas=3)))[1]
    revision = cluster.revision("v1")
    assert f"no new revision: the pods of {revision} stay as they are" in out
    assert "changes    replicas: 1 → 3" in out
    assert f"first      change Deployment story-{revision}   3 pods of {revision}" in out


def test_a_first_deployment_is_promoted_as_soon_as_it_answers(kubectl: Plugin, folder: Path) -> None:
    cluster = Cluster()
    cluster.apply_model()
    begun(kubectl, cluster)
    cluster.apply("v1", replicas=2)
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster)))[1]
    assert "would be the first revision: it serves as soon as one of its pods answers" in out
    assert "create RoutingTable story" in out
    assert "create NetworkPolicy story-gateways-only" in out
    assert "strategy   none: the first revision has nothing to be compared with" in out
    assert "pods       2 pods" in out


def test_an_edit_in_mid_rollout_takes_the_candidate_back_first(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, rolling())
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v3"))))[1]
    assert f"{cluster.revision('v2')}, which is being rolled out, is taken back first; then the new revision" in out
    assert "change RoutingTable story" in out
    assert "create Deployment" not in out


def test_going_back_to_what_serves_is_said_so(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, rolling())
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v1"))))[1]
    assert f"{cluster.revision('v2')}, which is being rolled out, would be taken back" in out


def test_an_edit_that_is_no_revision_lets_the_rollout_go_on(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, rolling())
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, probes={"interval": "7s"})))[1]
    assert f"no new revision, and nothing is written: the rollout of {cluster.revision('v2')} goes on" in out
    assert "probes.interval: 7s (new)" in out


def test_names_change_the_table_and_no_pod_while_the_rollout_goes_on(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, rolling())
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, servedNames=["tale"])))[1]
    assert f"no new revision: the rollout of {cluster.revision('v2')} goes on" in out
    assert "first      change RoutingTable story" in out


def test_an_edit_of_a_first_revision_that_still_starts_replaces_it(kubectl: Plugin, folder: Path) -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    begun(kubectl, cluster.turns(3))
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))[1]
    assert f"{cluster.revision('v1')}, which is being rolled out, is taken back first; then " in out
    assert "would be the first revision" in out


def test_immediate_and_zero_replicas_are_said(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    at_once = {"strategy": "Immediate", "watch": "10s"}
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, rollout=at_once, **engine(cluster, image="v2"))))[
        1
    ]
    assert "Immediate: all conversations at once when its pods answer" in out
    asleep = manifest(cluster, replicas=0, **engine(cluster, image="v2"))
    assert "none: replicas is 0, so nothing starts" in kubectl.run("plan", "-f", written(folder, asleep))[1]


def test_a_gap_in_service_is_said(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    one_by_one = {"strategy": "Immediate", "capacity": {"mode": "Recreate"}}
    planned = manifest(cluster, rollout=one_by_one, **engine(cluster, image="v2"))
    out = kubectl.run("plan", "-f", written(folder, planned))[1]
    assert f"{cluster.revision('v1')} makes way for it" in out
    assert f"Recreate: 1 pod when those of {cluster.revision('v1')} are gone; nobody is served meanwhile" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "BlueGreen: all conversations at once by `promote`; only"),
        ({"autoPromoteAfter": "10m"}, "at once by `promote`, or by itself after 10 min; only"),
    ],
)
def test_what_blue_green_waits_for_is_said(kubectl: Plugin, folder: Path, more: dict[str, str], said: str) -> None:
    cluster = begun(kubectl, serving("v1"))
    by_hand = {"strategy": "BlueGreen", "watch": "10s", **more}
    planned = manifest(cluster, rollout=by_hand, **engine(cluster, image="v2"))
    assert said in kubectl.run("plan", "-f", written(folder, planned))[1]


def test_what_pods_ask_for_is_said(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    sized = manifest(
        cluster, resources={"requests": {"cpu": "2", "memory": "4Gi"}}, accelerator={"resource": "nvidia.com/gpu"}
    )
    assert "each asks for cpu 2, memory 4Gi, nvidia.com/gpu 1" in kubectl.run("plan", "-f", written(folder, sized))[1]


def one_gpu(kubectl: Plugin) -> None:
    for name, gpus in (("node-a", "1"), ("node-b", "0")):
        status = {"allocatable": {"nvidia.com/gpu": gpus}, "conditions": [{"type": "Ready", "status": "True"}]}
        store(kubectl.api, NODE, {"metadata": {"name": name, "namespace": ""}, "spec": {}, "status": status})


def test_where_there_is_room_for_more_is_foreseen(kubectl: Plugin, folder: Path) -> None:
    accelerator = {"resource": "nvidia.com/gpu"}
    cluster = begun(kubectl, serving("v1", replicas=2, accelerator=accelerator))
    planned = written(folder, manifest(cluster, **engine(cluster, image="v2")))
    serves = cluster.revision("v1")
    one_gpu(kubectl)
    out = kubectl.run("plan", "-f", planned)[1]
    assert "Surge: 1 more pod fits on node node-a" in out
    assert f"beside the 2 of {serves}: at most 4 at once; without room 1 of them makes way" in out
    # When somebody else takes it
    spec = {"nodeName": "node-a", "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    store(kubectl.api, POD, {"metadata": {"name": "trainer", "namespace": "science"}, "spec": spec})
    out = kubectl.run("plan", "-f", planned)[1]
    assert f"no node has a free nvidia.com/gpu; if that lasts for 30 s, 1 of 2 pods of {serves} makes way" in out


def test_the_policy_of_its_pods_goes_when_the_operator_is_told_to_make_none(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    path = written(folder, manifest(cluster))
    args = ["operator", "--sim-image=sim:1", "--gateway-url=http://g", "--no-engine-policies"]
    told = {**OPERATOR, "spec": {"template": {"spec": {"containers": [{"args": args}]}}}}
    store(kubectl.api, DEPLOYMENT, told)
    assert (
        "first      delete NetworkPolicy story-gateways-only   engine policies are off"
        in kubectl.run("plan", "-f", path)[1]
    )


def test_a_policy_that_may_not_be_seen_is_not_foreseen_and_all_else_is(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(status_error(403, "Forbidden"), verb="list", kind="NetworkPolicy")
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))[1]
    assert "you may not list networkpolicies\n" in out
    assert "create ModelSnapshot" in out
    assert "NetworkPolicy" not in out


def test_three_of_which_one_may_make_way_would_wait(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1", replicas=3))
    for mode, way in (
        ("Auto", "without room it waits until 2 of them may make way (capacity.maxUnavailable: 2)"),
        ("Borrow", "without room 2 of them make way"),
    ):
        settings = {**cluster.deployment["spec"]["rollout"], "capacity": {"mode": mode}}
        planned = manifest(cluster, **engine(cluster, image="v2"), rollout=settings)
        assert f"at most 6 at once; {way}" in kubectl.run("plan", "-f", written(folder, planned))[1]
    settings["capacity"] = {"mode": "Surge"}
    planned = manifest(cluster, **engine(cluster, image="v2"), rollout=settings)
    assert "without room" not in kubectl.run("plan", "-f", written(folder, planned))[1]


@pytest.mark.parametrize("code", [403, 500])
def test_pods_of_others_that_may_not_be_listed_are_noted(kubectl: Plugin, folder: Path, code: int) -> None:
    cluster = begun(kubectl, serving("v1", accelerator={"resource": "nvidia.com/gpu"}))
    one_gpu(kubectl)
    planned = written(folder, manifest(cluster, **engine(cluster, image="v2")))
    listing = kubectl.api.list_page

    async def refusing(scope: Scope, *, limit: int = 500, continue_token: str = "") -> Page:
        if scope.resource == POD and not scope.namespace:
            raise status_error(code, "Forbidden" if code == 403 else "InternalError")
        return await listing(scope, limit=limit, continue_token=continue_token)

    kubectl.api.list_page = refusing  # type: ignore[method-assign]
    status, out, _ = kubectl.run("plan", "-f", planned)
    assert ("where there is room for more is not foreseen" in out) is (code == 403)
    assert (status == 0) is (code == 403)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"engine": {"type": "vllm", "image": "v", "args": ["--port=1"]}}, "--port"),
        ({"podTemplate": {"hostNetwork": True}}, "InvalidSpec: spec.podTemplate"),
        (
            {"modelRef": {"name": "nobody"}},
            "would wait two minutes for what is missing, and then be Stalled: ModelNotFound",
        ),
        ({"replicas": "many"}, "InvalidSpec: spec.replicas"),
    ],
)
def test_what_the_planner_refuses_is_said_with_its_words(
    kubectl: Plugin, folder: Path, spec: dict[str, Any], said: str
) -> None:
    cluster = begun(kubectl, serving("v1"))
    code, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster, **spec)))
    assert code == 1
    assert said in out


def test_a_closed_guardrail_and_a_failed_revision_are_in_the_way(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    store(kubectl.api, GUARDRAIL, mistaken(guardrail()))
    guarded = manifest(cluster, guardrailRefs=[{"name": "safe"}], **engine(cluster, image="v2"))
    code, out, _ = kubectl.run("plan", "-f", written(folder, guarded))
    assert (code, "would be Stalled: GuardrailInvalid: Guardrail safe: rules[0]: no" in out) == (1, True)
    failed = serving("v1")
    failed.apply("v2")
    failed.until_phase("Canary").ask("abort")
    failed.turns(60)
    failed.apply("v3")
    failed.until_phase("Canary")
    served_by(kubectl.api, failed)
    assert (
        "is taken back first"
        in kubectl.run("plan", "-f", written(folder, manifest(failed, **engine(failed, image="v4"))))[1]
    )


WORDS = {"name": "words", "type": "lexicon", "configMapRef": {"name": "list"}}
BLOCK = {"category": "words", "actions": {"high": ["Block"]}}


def guard(**spec: Any) -> dict[str, Any]:
    """A Guardrail in a file."""
    whole = {"selector": {}, "detectors": [WORDS], "rules": [BLOCK], **spec}
    return {"apiVersion": API_VERSION, "kind": "Guardrail", "metadata": {"name": "safe"}, "spec": whole}


def words(text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "list"}, "data": {"t": text}}


def test_a_guardrail_of_the_files_is_compiled_with_the_texts_of_the_files_or_the_cluster(
    kubectl: Plugin, folder: Path
) -> None:
    cluster = begun(kubectl, serving("v1"))
    wants = manifest(cluster, **engine(cluster, image="v2"))
    code, out, _ = kubectl.run("plan", "-f", written(folder, wants, guard(), words("knave\tgrave")))
    assert (code, "GuardrailInvalid: Guardrail safe: detectors[words]: line 1: severity 'grave'" in out) == (1, True)
    code, out, _ = kubectl.run("plan", "-f", written(folder, wants, guard(), words("knave")))
    assert (code, "change RoutingTable story" in out) == (0, True)
    code, out, _ = kubectl.run("plan", "-f", written(folder, wants, guard()))
    assert code == 1
    assert "would wait two minutes for what is missing, and then be Stalled: GuardrailPending: Guardrail safe" in out
    assert "ConfigMap list does not exist in namespace tales: make it" in out
    store(kubectl.api, CONFIG_MAP, words("knave"))
    assert kubectl.run("plan", "-f", written(folder, wants, guard()))[0] == 0


def test_a_guardrail_alone_concerns_the_deployments_for_which_it_would_hold(kubectl: Plugin, folder: Path) -> None:
    begun(kubectl, serving("v1"))
    pii = {"detectors": [{"name": "pii", "type": "pii"}], "rules": [{**BLOCK, "category": "pii"}]}
    code, out, _ = kubectl.run("plan", "-f", written(folder, guard(**pii)))
    assert (code, "no new revision: the pods of" in out, "change RoutingTable story" in out) == (0, True, True)
    code, out, _ = kubectl.run("plan", "-f", written(folder, guard(**{**pii, "detectors": []})))
    assert (code, "GuardrailInvalid: Guardrail safe: rules[0]: no detector finds 'pii'" in out) == (1, True)
    elsewhere = guard(**pii, selector={"matchLabels": {"app": "other"}})
    code, _, errors = kubectl.run("plan", "-f", written(folder, elsewhere))
    assert (code, "nor a Guardrail for one" in errors) == (1, True)


def test_a_text_of_the_files_is_compiled_for_the_guardrail_that_is_stored(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    store(kubectl.api, GUARDRAIL, {**compiled(selector={}, detectors=[WORDS], rules=[BLOCK])})
    wants = manifest(cluster, **engine(cluster, image="v2"))
    assert kubectl.run("plan", "-f", written(folder, wants))[0] == 0
    code, out, _ = kubectl.run("plan", "-f", written(folder, wants, words("[No]")))
    assert (code, "detectors[words]: line 1" in out) == (1, True)


def test_a_text_that_may_not_be_read_is_noted(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(status_error(403, "Forbidden", "no texts"), verb="get", kind="ConfigMap")
    _, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster), guard()))
    assert "note       Guardrail safe is not foreseen: no texts" in out


def test_a_guardrail_that_is_named_and_missing_is_waited_for(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    wants = manifest(cluster, guardrailRefs=[{"name": "lost"}], **engine(cluster, image="v2"))
    code, out, _ = kubectl.run("plan", "-f", written(folder, wants))
    assert (code, "then be Stalled: GuardrailNotFound: Guardrail lost does not exist" in out) == (1, True)


def test_what_the_api_server_refuses_is_said_with_its_words(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(
        status_error(422, "Invalid", "spec.rollout.steps: write weight: 100 in the last step"), verb="replace"
    )
    code, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster)))
    assert code == 1
    assert "tales/story: it would be refused: spec.rollout.steps: write weight: 100 in the last step" in out


def test_a_refused_model_refuses_the_deployment_with_it(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(status_error(422, "Invalid", "repo is immutable"), verb="replace", kind="Model")
    model = {"apiVersion": API_VERSION, "kind": "Model", "metadata": {"name": "tiny"}, "spec": {}}
    assert "repo is immutable" in kubectl.run("plan", "-f", written(folder, model, manifest(cluster)))[1]


def test_a_model_of_the_files_counts_and_alone_it_concerns_its_users(kubectl: Plugin, folder: Path) -> None:
    begun(kubectl, serving("v1"))
    source = {"source": {"enginePath": "/models/other"}}
    model = {"apiVersion": API_VERSION, "kind": "Model", "metadata": {"name": "tiny"}, "spec": source}
    code, out, _ = kubectl.run("plan", "-f", written(folder, model))
    assert code == 0
    assert "changes    Model source.enginePath: /models/tiny → /models/other" in out
    unused = {**model, "metadata": {"name": "unused"}}
    code, _, errors = kubectl.run("plan", "-f", written(folder, unused))
    assert (code, "holds no ModelDeployment, and no Model that one uses" in errors) == (1, True)


def test_the_content_of_a_secret_counts_from_the_cluster_or_the_files(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    wants = manifest(cluster, **engine(cluster, **CONSUMING))
    assert "SecretNotFound" in kubectl.run("plan", "-f", written(folder, wants))[1]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"t": "x"}}
    filed = kubectl.run("plan", "-f", written(folder, wants, secret))[1]
    assert "the new revision" in filed
    store(kubectl.api, SECRET, {"metadata": {"name": "token"}, "data": {"t": "eA=="}})
    assert kubectl.run("plan", "-f", written(folder, wants))[1] == filed


def test_a_secret_that_may_not_be_read_is_taken_as_unchanged(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(status_error(403, "Forbidden"), verb="get", kind="Secret")
    code, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, **CONSUMING))))
    assert code == 0
    assert "note       Secret token may not be read: its content is taken as unchanged" in out


def test_a_configmap_is_copied_for_the_revision(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    store(kubectl.api, CONFIG_MAP, {"metadata": {"name": "template"}, "data": {"t": "x"}})
    volumes = [{"name": "t", "configMap": {"name": "template"}}]
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, podTemplate={"volumes": volumes})))[1]
    assert "copy of ConfigMap template" in out


def test_a_name_that_another_deployment_holds_is_waited_for(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    other = {
        "metadata": {"name": "elder", "namespace": "other"},
        "spec": {"modelRef": {"name": "m"}, "servedNames": ["hers"]},
    }
    store(kubectl.api, MODEL_DEPLOYMENT, other)
    claim = manifest(cluster, servedNames=["hers"])
    assert "NameTaken: hers is held by other/elder" in kubectl.run("plan", "-f", written(folder, claim))[1]


def test_without_rights_the_rest_is_still_told(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.api.fail(status_error(403, "Forbidden", "no deployments"), verb="list", kind="Deployment")
    kubectl.api.fail(status_error(403, "Forbidden", "no patch"), verb="replace")
    kubectl.api.fail(status_error(403, "Forbidden", "no routes"), verb="list", kind="RoutingTable")
    kubectl.api.fail(status_error(403, "Forbidden", "no guardrails"), verb="list", kind="Guardrail")
    out = kubectl.run("plan", "-f", written(folder, manifest(cluster, **engine(cluster, image="v2"))))[1]
    assert "the new revision" in out
    assert "the operator's settings were not found in namespace understudy-system" in out
    assert "the API server was not asked whether it takes this: no patch" in out
    assert "you may list routingtables of this namespace only: a name that is taken elsewhere would not show" in out
    assert "you may not list guardrails\n" in out
    assert "first      create ModelSnapshot" in out


def test_without_sight_of_the_children_no_write_is_foretold(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    path = written(folder, manifest(cluster, **engine(cluster, image="v2")))
    for kind in ("Pod", "Deployment"):
        kubectl.api.fail(status_error(403, "Forbidden"), verb="list", kind=kind, times=2)
    out = kubectl.run("plan", "-f", path)[1]
    assert "you may not list deployments, pods: what would be written first is not foreseen" in out
    assert "would be rolled out" in out
    assert "\nfirst" not in out
    assert "\nthen" not in out
    kubectl.api.fail(status_error(403, "Forbidden"), verb="list", kind="Pod")
    more = written(folder, manifest(cluster, replicas=3))
    assert "no new revision: the pods of" in kubectl.run("plan", "-f", more)[1]


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "ModelDeployment", "spec": [1]},
        {"kind": "ModelDeployment", "spec": {"modelRef": "tiny", "engine": "sim"}},
        {
            "kind": "ModelDeployment",
            "spec": {"modelRef": {"name": "tiny"}, "engine": {"type": "sim"}, "servedNames": 7},
        },
        {"kind": "Model", "spec": "tiny"},
        {"kind": "Guardrail"},
    ],
)
def test_a_misshapen_object_that_no_server_has_looked_at_is_told(
    kubectl: Plugin, folder: Path, broken: dict[str, Any]
) -> None:
    cluster = begun(kubectl, serving("v1"))
    for verb in ("create", "replace"):
        kubectl.api.fail(status_error(403, "Forbidden", "no patch"), verb=verb, times=3)
    name = NAME if broken["kind"] == "ModelDeployment" else "tiny"
    document = {"apiVersion": API_VERSION, "metadata": {"name": name}, **broken}
    rest = [manifest(cluster)] if broken["kind"] != "ModelDeployment" else []
    code, out, errors = kubectl.run("plan", "-f", written(folder, document, *rest))
    assert (code, errors) == (1, "")
    assert "it would be refused: " in out


def test_a_namespace_that_the_operator_does_not_watch(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    deaf = json.loads(json.dumps(OPERATOR))
    deaf["spec"]["template"]["spec"]["containers"][0]["args"].append("--watch-namespace=shop")
    store(kubectl.api, DEPLOYMENT, deaf)
    code, out, _ = kubectl.run("plan", "-f", written(folder, manifest(cluster)))
    assert (code, "the operator works in shop only" in out) == (1, True)


def test_a_namespace_that_the_files_make(kubectl: Plugin, folder: Path) -> None:
    cluster = Cluster()
    cluster.apply("v1")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}
    model = {
        "apiVersion": API_VERSION,
        "kind": "Model",
        "metadata": {"name": "tiny"},
        "spec": {"source": {"enginePath": "/m"}},
    }
    gone = status_error(404, "NotFound", 'namespaces "new" not found')
    kubectl.api.fail(gone, verb="create", times=2)
    code, out, _ = kubectl.run("plan", "-n", "new", "-f", written(folder, space, model, manifest(cluster)))
    assert (code, "namespace new does not exist yet; the files make it" in out) == (0, True)
    kubectl.api.fail(gone, verb="create", times=2)
    code, out, _ = kubectl.run("plan", "-n", "new", "-f", written(folder, manifest(cluster)))
    assert (code, 'it would be refused: namespaces "new" not found' in out) == (1, True)


def test_fields_that_the_file_no_longer_has_are_removed_and_those_of_others_stay(kubectl: Plugin, folder: Path) -> None:
    cluster = serving("v1", replicas=2)
    applied = manifest(cluster, probes={"interval": "5s"})
    del applied["spec"]["replicas"]
    cluster.edit(probes={"interval": "5s"})
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    cluster.deployment["metadata"]["annotations"] = last
    begun(kubectl, cluster)
    now = manifest(cluster)
    del now["spec"]["replicas"], now["spec"]["probes"]
    out = kubectl.run("plan", "-f", written(folder, now))[1]
    assert "probes.interval: 5s (removed)" in out
    assert "replicas" not in out


def test_server_side_is_asked_as_kubectl_would(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    kubectl.run("plan", "--server-side", "-f", written(folder, manifest(cluster)))
    assert [c.manager for c in kubectl.api.calls if c.verb == "try-apply"] == ["kubectl"]


def test_machines_get_documents(kubectl: Plugin, folder: Path) -> None:
    cluster = begun(kubectl, serving("v1"))
    path = written(folder, manifest(cluster, **engine(cluster, image="v2")))
    [told] = json.loads(kubectl.run("plan", "-f", path, "-o", "json")[1])["items"]
    assert (told["outcome"], told["changes"]) == ("rollout", [{"path": "engine.image", "before": "v1", "after": "v2"}])
    assert told["writes"][0] == {
        "verb": "create",
        "kind": "ModelSnapshot",
        "name": f"story-{told['revision']}",
        "why": f"record {told['revision']}",
    }


def test_files_come_from_folders_lists_and_standard_input(
    kubectl: Plugin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = begun(kubectl, serving("v1"))
    (folder / "notes.txt").write_text("not: [yaml")
    (folder / "all.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [manifest(cluster), None]})
    )
    (folder / "empty.yml").write_text("---\n")
    (folder / "other.json").write_text(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}))
    assert kubectl.run("plan", "-f", str(folder))[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(manifest(cluster))))
    assert kubectl.run("plan", "-f", "-")[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [b", "file.yaml is not YAML"),
        ("words", "file.yaml holds no object: write apiVersion, kind, metadata and spec"),
        ("kind: List\nitems: 5", "file.yaml is a list without items: write its objects under items"),
        ("metadata: {name: x}", "file.yaml has no kind: write kind: ModelDeployment"),
        (
            "kind: ModelDeployment\nmetadata: {name: x}",
            "has apiVersion none: write apiVersion: understudy.dev/v1alpha1",
        ),
        ("apiVersion: understudy.dev/v1\nkind: Model", "has apiVersion understudy.dev/v1: write"),
        (f"apiVersion: {API_VERSION}\nkind: ModelDeployment", "file.yaml has no name: write metadata: {name: …}"),
        (f"---\n---\napiVersion: {API_VERSION}\nkind: Model\nmetadata: []", "file.yaml, document 2 has no name"),
        (
            f"apiVersion: {API_VERSION}\nkind: Model\nmetadata: {{name: x, namespace: y}}",
            "is for namespace y, and -n says z",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_write(kubectl: Plugin, folder: Path, text: str, said: str) -> None:
    (folder / "file.yaml").write_text(text)
    code, _, errors = kubectl.run("plan", "-n", "z", "-f", str(folder / "file.yaml"))
    assert code == 1
    assert said in errors


def test_a_file_that_is_not_there_or_not_text(kubectl: Plugin, folder: Path) -> None:
    assert "cannot read /nowhere: No such file" in kubectl.run("plan", "-f", "/nowhere")[2]
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "it is not text" in kubectl.run("plan", "-f", str(folder))[2]
