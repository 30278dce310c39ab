"""A deployment that is deleted, and one that is made again: the records know what was promoted and what failed."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.test_shadow import LONG, shadowing
from tests.plan.world import NAME, Cluster, rollout, serving
from understudy.domain.duration import stamp
from understudy.plan.actions import Apply
from understudy.plan.snapshots import ORPHANED


def test_its_last_promoted_revision_comes_back_before_anything_new() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")
    cluster.delete_deployment()
    cluster.turns(5)
    assert cluster.pods == {}
    cluster.apply("v3")
    order: list[str] = []
    for _ in range(60):
        cluster.turn()
        order.extend(i for i in sorted({p.image for p in cluster.pods.values()}) if i not in order)
        if cluster.phase == "Canary":
            break
    assert order == ["v2", "v3"]
    assert cluster.image("stable") == "v2"
    cluster.until(lambda c: c.image("stable") == "v3")
    numbers = {r: s["status"]["number"] for r, s in _records(cluster).items()}
    assert numbers == {"v1": 1, "v2": 2, "v3": 3}


def test_survivors_are_adopted_without_a_restart() -> None:
    cluster = serving("v1", replicas=2)
    uids = {p.uid for p in cluster.pods.values()}
    spec = cluster.deployment["spec"]
    cluster.delete_deployment(orphan=True)
    cluster.turns(3)
    cluster.put("ModelDeployment", NAME, {"spec": spec})
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert {p.uid for p in cluster.pods.values()} == uids
    owner = cluster.deployment["metadata"]["uid"]
    (pool,) = cluster.of_kind("Deployment").values()
    assert [o["uid"] for o in pool["metadata"]["ownerReferences"]] == [owner]
    assert not any("orphanedAt" in s["status"] for s in cluster.of_kind("ModelSnapshot").values())


def test_a_failed_revision_stays_failed() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    spec = cluster.deployment["spec"]
    cluster.delete_deployment()
    cluster.turns(5)
    cluster.put("ModelDeployment", NAME, {"spec": spec})
    cluster.until_phase("RolledBack").turns(20)
    assert (cluster.image("stable"), cluster.pods_of("v2")) == ("v1", [])
    assert [f["reason"] for f in cluster.status["failed"]] == ["EngineCrash"]


def test_made_again_in_mid_canary_it_starts_over_from_stable() -> None:
    cluster = canary(50)
    audit = Audit(cluster)
    spec = cluster.deployment["spec"]
    cluster.delete_deployment(orphan=True)
    audit.turn(1.0)
    cluster.put("ModelDeployment", NAME, {"spec": spec})
    audit.turn(1.0)
    assert cluster.weights() == {"v1": 100}
    for _ in range(60):
        audit.turn(1.0)
    assert cluster.image("stable") == "v2"


def test_made_again_in_mid_shadow_to_be_replaced_at_once_copies_may_still_end() -> None:
    cluster = shadowing(LONG)
    cluster.long_streams = True
    cluster.turns(3)
    audit = Audit(cluster)
    audit.turn(1.0)
    spec = {**cluster.deployment["spec"], "rollout": rollout(strategy="Immediate", capacity={"mode": "Recreate"})}
    cluster.delete_deployment(orphan=True)
    audit.turn(1.0)
    cluster.put("ModelDeployment", NAME, {"spec": spec})
    audit.until(lambda c: c.image("stable") == "v2")


def test_a_stable_that_cannot_start_does_not_stand_in_the_way() -> None:
    cluster = serving("v1")
    cluster.delete_deployment()
    cluster.turns(5)
    cluster.behaviours["v1"] = Behaviour(exit_code=1)
    cluster.apply("v2")
    cluster.until(lambda c: c.image("stable") == "v2")


def test_a_stable_that_finds_no_node_does_not_stand_in_the_way_for_ever() -> None:
    cluster = serving("v1")
    cluster.delete_deployment()
    cluster.turns(5)
    cluster.capacity = 0
    cluster.apply("v2")
    cluster.turns(20)
    assert cluster.says("Ready") == ("False", "StableStarting")
    cluster.turns(20)
    assert cluster.phase == "Preparing"


def test_deleted_it_retires_its_table_marks_its_records_and_forgets_them_after_a_week() -> None:
    cluster = serving("v1")
    cluster.delete_deployment(orphan=True)
    cluster.turn()
    assert cluster.table is not None
    assert cluster.table.retired
    (record,) = cluster.of_kind("ModelSnapshot").values()
    assert record["status"]["orphanedAt"] == stamp(cluster.wall)
    assert cluster.last.requeue_after == 3600.0
    before = dict(cluster.objects)
    cluster.turn()
    assert cluster.objects == before
    cluster.pass_time(ORPHANED)
    cluster.reconcile()
    assert cluster.of_kind("ModelSnapshot") == {}
    cluster.reconcile()
    assert cluster.last.requeue_after is None


def test_a_pinned_record_outlives_the_week() -> None:
    cluster = serving("v1")
    ((name, record),) = cluster.of_kind("ModelSnapshot").items()
    meta = {**record["metadata"], "annotations": {"understudy.dev/keep": "yes"}}
    cluster._store("ModelSnapshot", name, {**record, "metadata": meta})
    cluster.delete_deployment()
    cluster.turn()
    cluster.pass_time(2 * ORPHANED)
    cluster.reconcile()
    assert list(cluster.of_kind("ModelSnapshot")) == [name]


def test_one_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    cluster = serving("v1")
    meta = {**cluster.deployment["metadata"], "deletionTimestamp": stamp(cluster.wall)}
    cluster._store("ModelDeployment", NAME, {**cluster.deployment, "metadata": meta})
    cluster.turn()
    kinds = {a.obj["kind"] for a in cluster.last.actions if isinstance(a, Apply)}
    assert kinds == {"RoutingTable", "ModelSnapshot"}
    assert cluster.last.status is None


@pytest.mark.parametrize("keep", [2, 3])
def test_so_many_records_are_kept_as_the_spec_says(keep: int) -> None:
    cluster = serving("v1", snapshots={"keep": keep})
    for number in range(2, 7):
        cluster.apply(f"v{number}", snapshots={"keep": keep})
        cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == f"v{number}")  # noqa: B023
    cluster.turns(10)
    assert sorted(_records(cluster)) == [f"v{n}" for n in range(7 - keep, 7)]


@pytest.mark.parametrize(("value", "kept"), [("yes", True), ("true", True), ("false", False)])
def test_a_pinned_record_is_kept_beyond_the_number(value: str, kept: bool) -> None:
    cluster = serving("v1", snapshots={"keep": 2})
    ((name, record),) = cluster.of_kind("ModelSnapshot").items()
    meta = {**record["metadata"], "annotations": {"understudy.dev/keep": value}}
    cluster._store("ModelSnapshot", name, {**record, "metadata": meta})
    for number in range(2, 6):
        cluster.apply(f"v{number}", snapshots={"keep": 2})
        cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == f"v{number}")  # noqa: B023
    cluster.turns(10)
    assert sorted(_records(cluster)) == [("v1" if kept else "v4"), "v5"]


def _records(cluster: Cluster) -> dict[str, dict[str, Any]]:
    images = cluster.images()
    return {images[s["spec"]["revision"]]: s for s in cluster.of_kind("ModelSnapshot").values()}
