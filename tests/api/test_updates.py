"""What may change once an object exists, and what its status says from the first second."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.examples import KINDS, NAMESPACE, Object, changed, example, examples, to_store
from tests.api.rules import rules
from tests.api.server import Answer, Server, collection, until
from understudy.api.v1alpha1.metadata import UNOBSERVED
from understudy.crdgen.kinds import KINDS as DEFINED

pytestmark = pytest.mark.cluster

MODELS = {document["metadata"]["name"]: document for document in examples("Model")}
_KIND = "the kind of source cannot be changed: make another Model"
STAYS = [
    ("storyteller", {"spec.source": {"enginePath": "/x"}}, _KIND),
    ("from-claim", {"spec.source": {"enginePath": "/x"}}, _KIND),
    ("storyteller", {"spec.source.huggingFace.repo": "Qwen/Qwen3-4B"}, "huggingFace.repo cannot be changed"),
    ("from-claim", {"spec.source.pvc.claimName": "others"}, "pvc.claimName cannot be changed"),
    ("from-claim", {"spec.source.pvc.path": "other"}, "pvc.path cannot be changed"),
    ("from-claim", {"spec.source.pvc": {"claimName": "weights"}}, "pvc.path cannot be changed"),
    ("from-image", {"spec.source.image.path": "/other"}, "image.path cannot be changed"),
    ("from-engine", {"spec.source.enginePath": "/models/tiny-b"}, "enginePath cannot be changed"),
    ("from-bucket", {"spec.source.s3.uri": "s3://bucket/other"}, "s3.uri cannot be changed"),
]
CHANGES = [
    ("storyteller", {"spec.source.huggingFace.revision": "main"}),
    ("storyteller", {"spec.source.huggingFace.tokenSecretRef.name": "other"}),
    ("storyteller", {"spec.adapters.0.source": {"enginePath": "/x"}}),
    ("storyteller", {"spec.adapters": []}),
    ("from-image", {"spec.source.image.reference": "registry.example/models/qwen3-8b:v4"}),
    ("from-bucket", {"spec.source.s3.endpoint": "https://other.example"}),
    ("storyteller", {"spec.contextLength": 4096, "spec.tasks": ["chat"]}),
]


@pytest.fixture(scope="module")
def models(server: Server, stored: dict[str, Object]) -> Iterator[dict[str, Object]]:
    """All example Models, stored."""
    kept = {name: to_store(document) for name, document in MODELS.items()}
    for document in kept.values():
        if document != stored["Model"]:
            server.delete(document)
            assert server.create(document).ok
    yield kept
    for document in kept.values():
        server.delete(document)


def _updated(server: Server, document: Object) -> Any:
    """A dry run of an edit; without resourceVersion, since an operator may write the status meanwhile."""
    patch: Any = [{"op": "replace", "path": "/spec", "value": document["spec"]}]
    path = f"{collection(document)}/{document['metadata']['name']}"
    return server.request("PATCH", path, patch, "application/json-patch+json", dryRun="All")


@pytest.mark.parametrize(("name", "changes", "message"), STAYS, ids=str)
def test_what_a_model_is_stays(
    server: Server, models: dict[str, Object], name: str, changes: dict[str, Any], message: str
) -> None:
    answer = _updated(server, changed(models[name], changes))
    assert answer.status == 422, answer.message
    assert message in answer.message


@pytest.mark.parametrize(("name", "changes"), CHANGES, ids=str)
def test_what_may_change_may(server: Server, models: dict[str, Object], name: str, changes: dict[str, Any]) -> None:
    answer = _updated(server, changed(models[name], changes))
    assert answer.ok, answer.message


def test_every_rule_about_updates_has_a_case() -> None:
    about_updates = {message for _, _, message in rules() if "cannot be changed" in message}
    assert [m for m in about_updates if not any(case[2] in m for case in STAYS) and "a snapshot" not in m] == []


def test_a_snapshot_never_changes(server: Server, stored: dict[str, Object]) -> None:
    answer = _updated(server, changed(stored["ModelSnapshot"], {"spec.identity.root": "/models/tiny-b"}))
    assert answer.status == 422
    assert "a snapshot cannot be changed: edit the ModelDeployment" in answer.message


@pytest.mark.parametrize("kind", ["Guardrail", "Model", "ModelDeployment"])
def test_status_is_unready_and_reconciling_before_the_operator_has_seen_it(server: Server, kind: str) -> None:
    # kstatus: in progress while observedGeneration lags, Reconciling is True, Ready is not.
    fresh = changed(example(kind), {"metadata.name": f"fresh-{kind.lower()}"})
    server.delete(fresh)
    before = server.request("GET", collection(fresh)).body["metadata"]["resourceVersion"]
    assert server.create(fresh).ok
    # The first event shows the object as everybody first saw it, whatever has happened since.
    first = server.first_event(collection(fresh), fresh["metadata"]["name"], before)
    server.delete(fresh)
    assert first["status"] == UNOBSERVED
    assert first["metadata"]["generation"] > first["status"]["observedGeneration"]


def test_a_status_that_names_both_conditions_replaces_the_defaults(server: Server, stored: dict[str, Object]) -> None:
    document = stored["ModelDeployment"]
    conditions = [
        {"type": kind, "status": "False", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("Ready", "Reconciling")
    ]
    path = f"{collection(document)}/{document['metadata']['name']}/status"
    body = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": {"name": document["metadata"]["name"], "namespace": NAMESPACE},
        "status": {"observedGeneration": 1, "conditions": conditions},
    }
    answer = server.request(
        "PATCH", path, body, "application/apply-patch+yaml", fieldManager="t", force="true", dryRun="All"
    )
    assert answer.ok, answer.message
    found = {c["type"]: c for c in answer.body["status"]["conditions"]}
    assert [found[c["type"]] | c for c in conditions] == [found["Ready"], found["Reconciling"]]


def test_contract_defaults_are_stored_and_no_others(server: Server) -> None:
    smallest = example("ModelDeployment", "smallest")
    assert server.dry_create(smallest).body["spec"] == smallest["spec"] | {"replicas": 1}
    rule = [{"category": "pii", "actions": {"high": ["Block"]}}]
    guardrail = changed(example("Guardrail"), {"spec": {"rules": rule}})
    stored = server.dry_create(guardrail).body["spec"]
    assert stored == {"rules": rule, "mode": "enforce", "audience": "mixed", "failurePolicy": "Closed"}


def test_a_deployment_scales_by_the_scale_subresource(server: Server, stored: dict[str, Object]) -> None:
    document = stored["ModelDeployment"]
    status = {"status": {"replicas": 3, "selector": "understudy.dev/deployment=storyteller"}}
    path = f"{collection(document)}/{document['metadata']['name']}"

    def shown() -> Answer:
        assert server.request("PATCH", f"{path}/status", status, "application/merge-patch+json").ok
        scale = server.request("GET", f"{path}/scale").body
        right = scale["status"] == status["status"] and scale["spec"].get("replicas", 0) == 0
        return Answer(200 if right else 409, {"message": str(scale)})

    until(shown)  # an operator may write its own status at any time
    scaled = server.request(
        "PATCH", f"{path}/scale", {"spec": {"replicas": 2}}, "application/merge-patch+json", dryRun="All"
    )
    assert scaled.body["spec"]["replicas"] == 2


def test_names_for_kubectl(server: Server) -> None:
    found = {r["name"]: r for r in server.request("GET", "/apis/understudy.dev/v1alpha1").body["resources"]}
    for kind in DEFINED:
        resource = found[kind.plural]
        assert resource["shortNames"] == [kind.short]
        assert resource["categories"] == ["understudy"]
        assert resource["namespaced"]
        assert (f"{kind.plural}/status" in found) == kind.status
    assert "modeldeployments/scale" in found
    assert [kind.name for kind in DEFINED] == list(KINDS)


COLUMNS = {
    "Guardrail": ["Name", "Ready", "Mode", "Audience", "Failure", "Enforcing", "Reason", "Policy", "Age"],
    "Model": ["Name", "Ready", "Reason", "Revision", "Context", "Used By", "Age"],
    "ModelDeployment": [
        *("Name", "Ready", "Phase", "Stable", "Candidate", "Weight", "Pods", "Reason", "URL", "Age"),
    ],
    "ModelSnapshot": ["Name", "Deployment", "Number", "Revision", "Model", "State", "Promoted", "Verdict", "Age"],
    "RoutingTable": ["Name", "Names", "Revisions", "Weights", "Epoch", "Retired", "Age"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_kubectl_get(server: Server, stored: dict[str, Object], kind: str) -> None:
    document = stored[kind]
    path = f"{collection(document)}/{document['metadata']['name']}"
    table = server.request("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
    assert [column["name"] for column in table["columnDefinitions"]] == COLUMNS[kind]


def test_columns_show_the_status(server: Server, stored: dict[str, Object]) -> None:
    document = stored["ModelDeployment"]
    path = f"{collection(document)}/{document['metadata']['name']}"
    status = {"status": example("ModelDeployment")["status"]}
    expected = [
        "stored-storyteller", "False", "Canary", "6f1c9a02", "a90b1234", "10%", "2/2", "Progressing",
        "http://understudy-gateway.understudy-system/v1",
    ]  # fmt: skip

    def shown() -> Answer:
        assert server.request("PATCH", f"{path}/status", status, "application/merge-patch+json").ok
        table = server.request("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
        cells = table["rows"][0]["cells"]
        return Answer(200 if cells[:9] == expected else 409, {"message": str(cells)})

    until(shown)  # an operator may write its own status at any time


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_field_is_named(server: Server, kind: str) -> None:
    answer = server.dry_create(changed(example(kind), {"spec.mispelt": 1}))
    assert answer.status == 400
    assert 'unknown field "spec.mispelt"' in answer.message
