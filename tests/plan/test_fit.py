"""Where more pods would find their accelerators, node by node."""

from typing import Any

import pytest

from understudy.plan.fit import Need, listed, need_of, pieces, places, room, wanted_by
from understudy.plan.observed import Object

GPU = "nvidia.com/gpu"
L4 = Need(GPU, 1, "NVIDIA-L4")


def node(name: str, gpus: Any = "2", ready: str = "True", **spec: Any) -> Object:
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034", "zone": "a"}
    status = {"allocatable": {GPU: gpus, "cpu": "8"}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": spec.pop("labels", labels)}, "spec": spec, "status": status}


def pod(count: Any = "1", resource: str = GPU, **spec: Any) -> dict[str, Any]:
    return {
        "spec": {"containers": [{"name": "engine", "resources": {"limits": {resource: count, "cpu": "1"}}}], **spec}
    }


def affine(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = [{"matchExpressions": [expression]} for expression in expressions]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return pod(affinity={"nodeAffinity": required})


def test_what_a_pod_wants_is_called_by_the_products_that_it_may_run_on() -> None:
    products = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4", "NVIDIA-L40S"]}
    memory = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["20000"]}
    assert need_of(affine(memory, products)) == Need(GPU, 1, "NVIDIA-L4 or NVIDIA-L40S")
    assert need_of(affine(memory)) == Need(GPU, 1, GPU)
    assert need_of(pod("4", "amd.com/gpu")) == Need("amd.com/gpu", 4, "amd.com/gpu")


@pytest.mark.parametrize("resource", ["cpu", "hugepages-2Mi", "attachable.kubernetes.io/disk"])
def test_what_no_device_plugin_offers_is_no_accelerator(resource: str) -> None:
    assert need_of(pod("1", resource)) is None


def test_what_others_hold_is_not_free_and_rooms_are_never_added_up() -> None:
    nodes = [node("a", "4"), node("b", "4"), node("c", "1"), node("d", "no number"), node("e", "0")]
    held = {"a": {GPU: 3}, "b": {"amd.com/gpu": 9}}
    assert room(nodes, held, pod(), L4) == {"a": 1, "b": 4, "c": 1}
    assert room(nodes, held, pod("2"), Need(GPU, 2, GPU)) == {"b": 2}
    assert room(nodes, held, pod("0"), Need(GPU, 0, GPU)) == {}


@pytest.mark.parametrize(
    ("there", "template", "fits"),
    [
        (node("a"), pod(), True),
        (node("a", ready="Unknown"), pod(), False),
        (node("a", unschedulable=True), pod(), False),
        (node("a"), pod(nodeSelector={"zone": "a"}), True),
        (node("a"), pod(nodeSelector={"zone": "b"}), False),
        (node("a"), affine({"key": "zone", "operator": "In", "values": ["a", "b"]}), True),
        (node("a"), affine({"key": "zone", "operator": "In", "values": ["b"]}), False),
        (node("a"), affine({"key": "zone", "operator": "NotIn", "values": ["a"]}), False),
        (node("a"), affine({"key": "zone", "operator": "Exists"}), True),
        (node("a"), affine({"key": "zone", "operator": "DoesNotExist"}), False),
        (node("a"), affine({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["22000"]}), True),
        (node("a"), affine({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["23034"]}), False),
        (node("a"), affine({"key": "nvidia.com/gpu.memory", "operator": "Lt", "values": ["24000"]}), True),
        (node("a"), affine({"key": "zone", "operator": "Gt", "values": ["1"]}), False),
        (node("a", labels={}), affine({"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["1"]}), False),
        (
            node("a"),
            affine({"key": "zone", "operator": "In", "values": ["b"]}, {"key": "zone", "operator": "Exists"}),
            True,
        ),
        (node("a", taints=[{"key": GPU, "effect": "NoSchedule"}]), pod(), False),
        (node("a", taints=[{"key": GPU, "effect": "PreferNoSchedule"}]), pod(), True),
        (node("a", taints=[{"key": GPU, "effect": "NoSchedule"}]), pod(tolerations=[{"operator": "Exists"}]), True),
        (
            node("a", taints=[{"key": GPU, "effect": "NoSchedule"}]),
            pod(tolerations=[{"key": GPU, "operator": "Exists", "effect": "NoExecute"}]),
            False,
        ),
        (node("a", taints=[{"key": GPU, "effect": "NoSchedule"}]), pod(tolerations=[{"key": "other"}]), False),
        (
            node("a", taints=[{"key": "for", "value": "llm", "effect": "NoExecute"}]),
            pod(tolerations=[{"key": "for", "value": "llm"}]),
            True,
        ),
        (
            node("a", taints=[{"key": "for", "value": "llm", "effect": "NoExecute"}]),
            pod(tolerations=[{"key": "for", "value": "games"}]),
            False,
        ),
    ],
)
def test_a_node_takes_a_pod_by_its_state_labels_and_taints(there: Object, template: dict[str, Any], fits: bool) -> None:
    assert bool(room([there], {}, template, L4)) is fits


def test_a_pod_holds_what_runs_together_or_before_if_that_is_more() -> None:
    both = [{"resources": {"limits": {GPU: "1"}}}, {"resources": {"requests": {GPU: "2", "cpu": "1"}}}, {}]
    assert wanted_by({"spec": {"containers": both}}) == {GPU: 3}
    before = [{"resources": {"limits": {GPU: "4"}}}, {"resources": {"limits": {GPU: "2"}}}]
    assert wanted_by({"spec": {"containers": both, "initContainers": before}}) == {GPU: 4}
    assert wanted_by({}) == {}


def test_nodes_with_most_room_are_named_first_and_no_more_than_needed() -> None:
    free = {"a": 1, "b": 2, "c": 1}
    assert places(free, 2) == ("b",)
    assert places(free, 3) == ("a", "b")
    assert places(free, 9) == ("a", "b", "c")
    assert listed(["a"]) == "node a"
    assert listed("abcdef") == "nodes a, b, c, d and 2 more"


def test_what_is_no_quantity_counts_nothing() -> None:
    assert [pieces(amount) for amount in ("2", 3, "many", "1k")] == [2, 3, 0, 1000]
