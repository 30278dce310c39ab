"""What is kept of an object, and what never is."""

from typing import Any

import orjson
import pytest

from understudy.kube.resources import CONFIG_MAP, DEPLOYMENT, NETWORK_POLICY, NODE, POD, SECRET, SERVICE, Resource
from understudy.kube.trim import CONTENT_HASH, FOREIGN, content_hash, foreign_managers, trim


def entry(manager: str, operation: str = "Apply", subresource: str = "", fields: Any = None) -> dict[str, Any]:
    found = {"manager": manager, "operation": operation, "fieldsV1": fields or {"f:spec": {}}, "time": "2026-01-01"}
    return {**found, "subresource": subresource} if subresource else found


def obj(kind: str = "Deployment", **fields: Any) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", **fields.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **fields}


@pytest.mark.parametrize("resource", [SERVICE, NETWORK_POLICY])
def test_of_what_a_plan_reads_whether_it_is_there_nothing_else_is_kept(resource: Resource) -> None:
    foreign = [entry("kubectl", "Update")]
    trimmed = trim(resource, obj(resource.kind, metadata={"managedFields": foreign}, spec={"ports": []}, status={}))
    assert trimmed.keys() == {"apiVersion", "kind", "metadata", FOREIGN}


def test_managed_fields_go() -> None:
    trimmed = trim(DEPLOYMENT, obj(metadata={"managedFields": [entry("understudy")]}, spec={"replicas": 1}))
    assert "managedFields" not in trimmed["metadata"]
    assert FOREIGN not in trimmed
    assert trimmed["spec"] == {"replicas": 1}


def test_the_operators_own_managers_leave_no_mark() -> None:
    assert foreign_managers([entry("understudy"), entry("understudy-status", subresource="status")]) == ""


def test_a_foreign_status_leaves_no_mark() -> None:
    assert foreign_managers([entry("kube-controller-manager", "Update", "status")]) == ""


def test_a_foreign_writer_leaves_a_mark() -> None:
    assert foreign_managers([entry("understudy"), entry("kubectl-edit", "Update")])


def test_a_write_through_the_scale_subresource_leaves_a_mark() -> None:
    assert foreign_managers([entry("kubectl", "Update", "scale")])


def test_the_mark_does_not_depend_on_order_or_time() -> None:
    one, two = entry("a", "Update"), entry("b", "Update")
    later = {**one, "time": "2027-01-01"}
    assert foreign_managers([one, two]) == foreign_managers([two, later])


def test_the_mark_changes_with_the_fields_owned() -> None:
    assert foreign_managers([entry("a")]) != foreign_managers([entry("a", fields={"f:metadata": {}})])


def test_a_missing_list_of_managers_is_no_mark() -> None:
    assert FOREIGN not in trim(DEPLOYMENT, obj(metadata={"managedFields": None}))


def test_what_client_side_apply_remembers_goes_and_other_annotations_stay() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "kept": "yes"}
    trimmed = trim(DEPLOYMENT, obj(metadata={"annotations": annotations}))
    assert trimmed["metadata"]["annotations"] == {"kept": "yes"}
    assert len(annotations) == 2, "the original is not changed"


def test_kind_and_version_are_those_of_the_resource() -> None:
    bare = obj()
    del bare["apiVersion"], bare["kind"]
    trimmed = trim(DEPLOYMENT, bare)
    assert (trimmed["apiVersion"], trimmed["kind"]) == ("apps/v1", "Deployment")


def test_a_secrets_content_is_hashed_and_forgotten() -> None:
    trimmed = trim(SECRET, obj("Secret", data={"password": "aHVudGVyMg=="}, type="Opaque"))
    assert len(trimmed[CONTENT_HASH]) == 64
    assert "aHVudGVyMg" not in orjson.dumps(trimmed).decode()
    assert "data" not in trimmed


def test_a_config_maps_content_is_hashed_and_whether_it_is_immutable_is_kept() -> None:
    trimmed = trim(CONFIG_MAP, obj("ConfigMap", data={"a": "1"}, immutable=True))
    assert "data" not in trimmed
    assert trimmed["immutable"] is True


def test_the_hash_is_of_the_content_alone() -> None:
    one = obj("ConfigMap", data={"a": "1", "b": "2"}, metadata={"labels": {"x": "y"}})
    two = obj("ConfigMap", data={"b": "2", "a": "1"}, metadata={"resourceVersion": "9"})
    assert content_hash(one) == content_hash(two)


def test_binary_content_and_text_content_differ() -> None:
    assert content_hash(obj(data={"a": "MQ=="})) != content_hash(obj(binaryData={"a": "MQ=="}))


def test_no_content_and_empty_content_are_the_same() -> None:
    assert content_hash(obj()) == content_hash(obj(data={}, binaryData=None))


def test_a_pod_keeps_what_tells_its_state_and_loses_its_environment() -> None:
    container = {"name": "engine", "image": "i", "env": [{"name": "S", "value": "secret"}], "resources": {"limits": {}}}
    status = {"phase": "Running", "podIP": "10.0.0.1", "qosClass": "Burstable", "conditions": [{"type": "Ready"}]}
    pod = obj("Pod", spec={"nodeName": "n1", "containers": [container], "volumes": [1]}, status=status)
    trimmed = trim(POD, pod)
    expected = {"name": "engine", "image": "i", "resources": {"limits": {}}}
    assert trimmed["spec"] == {"nodeName": "n1", "containers": [expected]}
    assert trimmed["status"] == {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready"}]}


def test_a_pod_that_has_nothing_yet_is_survived() -> None:
    assert trim(POD, obj("Pod"))["spec"] == {"containers": []}


def test_a_node_keeps_capacity_and_condition_but_no_heartbeat() -> None:
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "now"}
    status = {"capacity": {"cpu": "2"}, "images": [1], "conditions": [condition], "addresses": [1]}
    node = trim(NODE, obj("Node", spec={"unschedulable": True, "podCIDR": "x"}, status=status))
    assert node["spec"] == {"unschedulable": True}
    assert node["status"] == {"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]}
