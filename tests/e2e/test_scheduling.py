"""GPUs that are not there: the real scheduler places by what a node claims, and says no when it has too little."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

GPU = "nvidia.com/gpu"
ONE_L4: dict[str, Any] = {"resource": GPU, "count": 1, "products": ["NVIDIA-L4"], "minMemory": "20Gi"}


def give_gpus(cluster: Cluster, count: int) -> None:
    """Let the node claim `count` GPUs (none: 0)."""
    (node,) = cluster.list("node")
    name = node["metadata"]["name"]
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034"}
    cluster.patch("node", name, "", {"metadata": {"labels": labels if count else dict.fromkeys(labels)}})
    capacity = {GPU: str(count) if count else None}
    cluster.patch("node", name, "", {"status": {"capacity": capacity, "allocatable": capacity}}, subresource="status")


@pytest.fixture
def gpus(stage: Stage) -> Iterator[Stage]:
    give_gpus(stage.cluster, 2)
    yield stage
    give_gpus(stage.cluster, 0)


def test_placed_by_product_count_and_memory(gpus: Stage) -> None:
    revision = gpus.serving("story", accelerator=ONE_L4)
    (pod,) = gpus.pods("story", revision)
    (container,) = (c for c in pod["spec"]["containers"] if GPU in c["resources"].get("limits", {}))
    assert container["resources"]["limits"][GPU] == "1"
    terms = json.dumps(pod["spec"]["affinity"]["nodeAffinity"])
    assert "NVIDIA-L4" in terms
    assert "nvidia.com/gpu.memory" in terms


def test_too_few_gpus_leave_stable_untouched_and_it_goes_on_when_there_are_more(gpus: Stage) -> None:
    # Given both GPUs taken by v1
    rollout = {**FAST_ROLLOUT, "deadlines": {"scheduling": "5s"}, "capacity": {"mode": "Surge"}}
    v1 = gpus.serving("story", "--seed=1", replicas=2, accelerator=ONE_L4, rollout=rollout)
    before = {p["metadata"]["uid"] for p in gpus.pods("story", v1)}
    with Traffic(gpus.base_url, gpus.key, gpus.served("story"), streams=8) as traffic:
        # When v2 needs a third
        gpus.deployment("story", "--seed=2", replicas=2, accelerator=ONE_L4, rollout=rollout)
        gpus.becomes(
            "story",
            "InsufficientGPU",
            lambda s: any(c["type"] == "Stalled" and c["reason"] == "InsufficientGPU" for c in s["conditions"]),
        )
        # Then v1 is untouched and nothing is branded
        assert {p["metadata"]["uid"] for p in gpus.pods("story", v1)} == before
        status = gpus.status("story")
        assert (status["phase"], status["stable"], status.get("failed", [])) == ("Preparing", v1, [])
        # When GPUs appear
        give_gpus(gpus.cluster, 6)
        # Then it goes on by itself
        v2 = gpus.becomes_ready("story")
        assert v2 != v1
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


def test_without_a_free_gpu_one_of_two_makes_way_and_the_rollout_goes_to_its_end(gpus: Stage) -> None:
    # Given both GPUs taken by v1, and somebody who talks
    rollout = {**FAST_ROLLOUT, "deadlines": {"scheduling": "5s"}}
    v1 = gpus.serving("story", "--seed=1", replicas=2, accelerator=ONE_L4, rollout=rollout)
    with Traffic(gpus.base_url, gpus.key, gpus.served("story"), streams=8) as traffic:
        # When v2 is wanted on as many
        gpus.deployment("story", "--seed=2", replicas=2, accelerator=ONE_L4, rollout=rollout)
        said = gpus.becomes("story", "no place", lambda s: "no node has a free NVIDIA-L4" in s["plan"])["plan"]
        assert f"1 of 2 pods of {v1} makes way while the rest carry the load" in said
        # Then one pod of v1 makes way, never both, until v2 is stable
        status = gpus.phase("story", "Canary")
        v2 = status["candidate"]
        kept = [p for p in gpus.pods("story", v1) if "deletionTimestamp" not in p["metadata"]]
        assert (len(kept), len(gpus.pods("story", v2))) == (1, 1)
        assert gpus.becomes_ready("story") == v2
    # And v2 has both GPUs
    eventually("v1 has left", lambda: not gpus.pods("story", v1))
    eventually("v2 has taken its place", lambda: len(gpus.pods("story", v2)) == 2)
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


def test_a_candidate_that_fails_gives_its_gpu_back(gpus: Stage) -> None:
    # Given both GPUs taken by v1
    rollout = {**FAST_ROLLOUT, "capacity": {"mode": "Borrow"}}
    v1 = gpus.serving("story", "--seed=1", replicas=2, accelerator=ONE_L4, rollout=rollout)
    with Traffic(gpus.base_url, gpus.key, gpus.served("story"), streams=8) as traffic:
        # When v2 borrows one of them and crashes
        gpus.deployment("story", "--crash=now", replicas=2, accelerator=ONE_L4, rollout=rollout)
        status = gpus.phase("story", "RolledBack")
        # Then v1 has both again
        assert status["stable"] == v1
        assert [f["reason"] for f in status["failed"]] == ["EngineCrash"]
        gpus.becomes("story", "both pods of v1 ready", lambda s: s["readyReplicas"] == s["replicas"] == 2)
        eventually("v1 has its two pods", lambda: len(gpus.pods("story", v1)) == 2)
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


@pytest.mark.alone
def test_eviction_and_a_drained_node_brand_nothing(stage: Stage) -> None:
    # Given a rollout half way
    rollout = {**FAST_ROLLOUT, "steps": [{"weight": 50, "soak": "8s"}, {"weight": 100, "soak": "2s"}]}
    v1 = stage.serving("story", "--seed=1", replicas=2, rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
        stage.deployment("story", "--seed=2", replicas=2, rollout=rollout)
        status = stage.phase("story", "Canary")
        v2 = status["candidate"]
        (node,) = stage.cluster.list("node")
        name = node["metadata"]["name"]
        # When the node is drained: cordoned, and the candidate's pods evicted
        stage.cluster.patch("node", name, "", {"spec": {"unschedulable": True}})
        try:
            for pod in stage.pods("story", v2):
                stage.cluster.evict(pod["metadata"]["name"], stage.namespace)
            eventually(
                "the replacement is Pending",
                lambda: any(p["status"]["phase"] == "Pending" for p in stage.pods("story", v2)),
            )
        finally:
            stage.cluster.patch("node", name, "", {"spec": {"unschedulable": None}})
        # Then the rollout goes on to its end
        assert stage.becomes_ready("story") == v2
    print(traffic.report())
    assert v1 != v2
    assert stage.status("story").get("failed", []) == []
    assert traffic.failed() == []
    assert traffic.truncated() == []
