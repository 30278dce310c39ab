"""On a cluster that does not serve OCI image volumes no pod starts without its weights, and the status says why."""

from typing import Any

import pytest

from tests.plan.test_canary import canary
from tests.plan.world import Cluster, serving

VOLUMES: dict[str, Any] = {
    "podTemplate": {"volumes": [{"name": "lore", "image": {"reference": "registry/lore:v3"}}]},
}
DROPPED = ("True", "ImageVolumesDropped")


def images_of_pods(cluster: Cluster) -> set[str]:
    return {pod.image for pod in cluster.pods.values()}


def old_cluster() -> Cluster:
    cluster = Cluster()
    cluster.serves_image_volumes = False
    cluster.apply_model()
    return cluster


def test_a_candidate_that_would_lose_them_gets_no_pods_and_what_serves_goes_on() -> None:
    cluster = serving("v1")
    cluster.serves_image_volumes = False
    cluster.apply("v2", **VOLUMES)
    for _ in range(200):
        cluster.turn()
        assert images_of_pods(cluster) == {"v1"}
    assert (cluster.phase, cluster.says("Stalled"), cluster.status["failed"]) == ("Preparing", DROPPED, [])
    assert "OCI image volume lore of Deployment story-" in cluster.condition("Stalled")["message"]
    assert cluster.says("Available")[0] == "True"
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3")


def test_so_does_the_very_first_revision() -> None:
    cluster = old_cluster()
    cluster.apply("v1", **VOLUMES)
    cluster.turns(30)
    assert (cluster.pods, cluster.says("Stalled")) == ({}, DROPPED)
    cluster.apply("v1")
    cluster.until_phase("Stable")


def test_after_an_upgrade_and_without_the_old_pool_it_goes_on() -> None:
    cluster = old_cluster()
    cluster.apply("v1", **VOLUMES)
    cluster.turns(5)
    cluster.serves_image_volumes = True
    (pool,) = cluster.of_kind("Deployment")
    cluster.vandalise("Deployment", pool)
    cluster.until(lambda c: c.says("Ready")[0] == "True")


def test_a_cluster_that_serves_them_sees_nothing_of_it() -> None:
    cluster = serving("v1", replicas=2, **VOLUMES)
    cluster.apply("v2", replicas=2, **VOLUMES)
    cluster.until(lambda c: c.image("stable") == "v2" and c.phase == "Stable")
    assert cluster.says("Stalled")[0] == "False"
    assert [e.reason for e in cluster.events if e.type == "Warning"] == []


@pytest.mark.parametrize("image", ["v1", "v2"])
def test_a_pool_with_a_share_is_made_again_with_all_its_pods(image: str) -> None:
    cluster = canary(50, **VOLUMES)
    cluster.vandalise("Deployment", f"story-{cluster.revision(image)}")
    cluster.reconcile()
    assert cluster.replicas() == {"v1": 1, "v2": 1}


def test_what_serves_and_has_lost_them_says_so() -> None:
    cluster = serving("v1", **VOLUMES)
    cluster.serves_image_volumes = False
    (pool,) = cluster.of_kind("Deployment")
    cluster.vandalise("Deployment", pool)
    cluster.turns(5)
    assert cluster.says("ImageVolumesDropped") == DROPPED
    assert [e.reason for e in cluster.events if e.type == "Warning"] == ["ChildChanged", "ImageVolumesDropped"]
