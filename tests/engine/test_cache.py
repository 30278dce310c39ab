"""The cache: what it holds, whose children it knows, and whether it has caught up with our own writes."""

from typing import Any

import pytest

from tests.engine.objects import SPACE, child, deployment, made, scope
from understudy.domain.key import Key
from understudy.engine.cache import BEHIND_TIMEOUT, Cache, Change, Ref
from understudy.kube.client import Scope
from understudy.kube.resources import DEPLOYMENT, MODEL, NODE, POD, SERVICE
from understudy.telemetry.operator import OperatorMetrics

TALK = Key(SPACE, "talk")


class Stage:
    """A cache whose clock the test turns, and a diary of its changes."""

    def __init__(self) -> None:
        self.time = 0.0
        self.metrics = OperatorMetrics()
        self.cache = Cache(self.metrics, lambda: self.time)
        self.changes: list[Change] = []
        self.cache.listen(self.changes.append)

    def put(self, obj: dict[str, Any], resource: Any) -> None:
        self.cache.upsert(scope(resource), obj)

    def list(self, where: Scope, *objects: dict[str, Any]) -> None:
        """What a reflector delivers after a list."""
        for obj in objects:
            self.cache.upsert(where, obj)
        self.cache.retain(where, {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in objects})

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def test_an_object_is_found_by_its_name() -> None:
    stage = Stage()
    pool = made(DEPLOYMENT, "a")
    stage.put(pool, DEPLOYMENT)
    assert stage.cache.get(DEPLOYMENT, SPACE, "a") == pool
    assert stage.cache.holds(DEPLOYMENT, SPACE, "a")
    assert stage.cache.get(DEPLOYMENT, "elsewhere", "a") is None
    assert not stage.cache.holds(DEPLOYMENT, "elsewhere", "a")
    assert stage.cache.get(SERVICE, SPACE, "a") is None
    assert not stage.cache.holds(SERVICE, SPACE, "a")


def test_all_of_a_kind_can_be_narrowed_to_a_namespace() -> None:
    stage = Stage()
    stage.put(made(MODEL, "a"), MODEL)
    stage.put(made(MODEL, "b", namespace="other"), MODEL)
    assert [obj["metadata"]["name"] for obj in stage.cache.all(MODEL)] == ["a", "b"]
    assert [obj["metadata"]["name"] for obj in stage.cache.all(MODEL, "other")] == ["b"]


def test_a_cluster_scoped_object_has_no_namespace() -> None:
    stage = Stage()
    stage.put(made(NODE, "n1"), NODE)
    assert stage.cache.get(NODE, "", "n1") is not None


def test_children_are_found_by_label_in_the_order_of_their_names() -> None:
    stage = Stage()
    for name in ("talk-b", "talk-a"):
        stage.put(child(DEPLOYMENT, name, "talk"), DEPLOYMENT)
    stage.put(child(DEPLOYMENT, "other", "walk"), DEPLOYMENT)
    assert [obj["metadata"]["name"] for obj in stage.cache.children(DEPLOYMENT, TALK)] == ["talk-a", "talk-b"]
    assert stage.cache.children(SERVICE, TALK) == []
    assert stage.cache.parents(DEPLOYMENT) == {TALK, Key(SPACE, "walk")}


def test_a_child_that_changes_its_label_changes_its_parent() -> None:
    stage = Stage()
    stage.put(child(POD, "p", "talk", version=1), POD)
    stage.put(child(POD, "p", "walk", version=2), POD)
    assert stage.cache.children(POD, TALK) == []
    assert len(stage.cache.children(POD, Key(SPACE, "walk"))) == 1
    assert stage.cache.parents(POD) == {Key(SPACE, "walk")}


def test_a_child_that_is_removed_is_no_child() -> None:
    stage = Stage()
    pod = child(POD, "p", "talk")
    stage.put(pod, POD)
    stage.cache.remove(scope(POD), pod)
    assert stage.cache.children(POD, TALK) == []
    assert stage.cache.parents(POD) == set()


def test_every_change_is_reported_with_before_and_after() -> None:
    stage = Stage()
    one, two = made(MODEL, "a", 1), made(MODEL, "a", 2)
    stage.put(one, MODEL)
    stage.put(two, MODEL)
    stage.cache.remove(scope(MODEL), two)
    ref = Ref(MODEL, SPACE, "a")
    assert stage.changes == [Change(ref, None, one), Change(ref, one, two), Change(ref, two, None)]


def test_the_same_version_again_is_no_change() -> None:
    stage = Stage()
    stage.put(made(MODEL, "a"), MODEL)
    stage.put(made(MODEL, "a"), MODEL)
    assert len(stage.changes) == 1


def test_a_relist_reports_what_vanished_and_what_is_new() -> None:
    stage = Stage()
    stage.list(scope(MODEL), made(MODEL, "ghost"), made(MODEL, "stays"))
    stage.changes.clear()
    stage.list(scope(MODEL), made(MODEL, "stays"), made(MODEL, "fresh"))
    assert [(c.ref.name, c.after is not None) for c in stage.changes] == [("fresh", True), ("ghost", False)]


def test_a_relist_of_one_namespace_leaves_the_others_alone() -> None:
    stage = Stage()
    stage.list(Scope(MODEL, "a"), made(MODEL, "m", namespace="a"))
    stage.list(Scope(MODEL, "b"), made(MODEL, "m", namespace="b"))
    stage.list(Scope(MODEL, "a"))
    assert [obj["metadata"]["namespace"] for obj in stage.cache.all(MODEL)] == ["b"]


def test_removing_what_is_not_there_is_no_change() -> None:
    stage = Stage()
    stage.cache.remove(scope(MODEL), made(MODEL, "a"))
    assert stage.changes == []


def test_it_counts_its_objects() -> None:
    stage = Stage()
    stage.list(scope(MODEL), made(MODEL, "a"), made(MODEL, "b"))
    assert stage.sample("understudy_cache_objects", resource="models") == 2
    stage.list(scope(MODEL))
    assert stage.sample("understudy_cache_objects", resource="models") == 0


POOL = Ref(DEPLOYMENT, SPACE, "pool")


def test_nobody_waits_who_wrote_nothing() -> None:
    assert Stage().cache.behind(TALK) == 0


def test_a_writer_waits_until_the_cache_shows_its_write() -> None:
    stage = Stage()
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 7))
    assert stage.cache.behind(TALK) == BEHIND_TIMEOUT
    stage.put(made(DEPLOYMENT, "pool", 6), DEPLOYMENT)
    assert stage.cache.behind(TALK) > 0
    stage.put(made(DEPLOYMENT, "pool", 7), DEPLOYMENT)
    assert stage.cache.behind(TALK) == 0


def test_a_later_version_will_do() -> None:
    stage = Stage()
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 9))
    stage.put(made(DEPLOYMENT, "pool", 10), DEPLOYMENT)
    assert stage.cache.behind(TALK) == 0


def test_versions_compare_as_numbers() -> None:
    stage = Stage()
    stage.put(made(DEPLOYMENT, "pool", 9), DEPLOYMENT)
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 10))
    assert stage.cache.behind(TALK) > 0


def test_only_the_writer_waits() -> None:
    stage = Stage()
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 7))
    assert stage.cache.behind(Key(SPACE, "walk")) == 0


def test_all_writes_must_show() -> None:
    stage = Stage()
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 7))
    stage.cache.wrote(TALK, Ref(SERVICE, SPACE, "pool"), made(SERVICE, "pool", 8))
    stage.put(made(DEPLOYMENT, "pool", 7), DEPLOYMENT)
    assert stage.cache.behind(TALK) > 0
    stage.put(made(SERVICE, "pool", 8), SERVICE)
    assert stage.cache.behind(TALK) == 0


def test_a_write_that_never_shows_is_counted_and_forgotten() -> None:
    stage = Stage()
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 7))
    stage.time = BEHIND_TIMEOUT - 1
    assert stage.cache.behind(TALK) == pytest.approx(1)
    stage.time = BEHIND_TIMEOUT
    assert stage.cache.behind(TALK) == 0
    assert stage.sample("understudy_cache_behind_timeouts_total") == 1


def test_a_written_object_that_was_deleted_meanwhile_is_not_waited_for() -> None:
    stage = Stage()
    stage.put(made(DEPLOYMENT, "pool", 6), DEPLOYMENT)
    stage.cache.wrote(TALK, POOL, made(DEPLOYMENT, "pool", 7))
    stage.cache.remove(scope(DEPLOYMENT), made(DEPLOYMENT, "pool", 8))
    assert stage.cache.behind(TALK) == 0


@pytest.mark.parametrize("how", ["gone", "going", "another"])
def test_a_deletion_shows_when_the_object_is_gone_going_or_another(how: str) -> None:
    stage = Stage()
    pool = made(DEPLOYMENT, "pool", 6)
    stage.put(pool, DEPLOYMENT)
    stage.cache.deleted(TALK, POOL, "uid-pool")
    assert stage.cache.behind(TALK) > 0
    if how == "gone":
        stage.cache.remove(scope(DEPLOYMENT), pool)
    elif how == "going":
        stage.put(made(DEPLOYMENT, "pool", 7, metadata={"deletionTimestamp": "now"}), DEPLOYMENT)
    else:
        stage.put(made(DEPLOYMENT, "pool", 8, metadata={"uid": "uid-new"}), DEPLOYMENT)
    assert stage.cache.behind(TALK) == 0


def test_a_version_that_is_no_number_is_not_waited_for() -> None:
    stage = Stage()
    stored = made(DEPLOYMENT, "pool")
    stored["metadata"]["resourceVersion"] = "opaque"
    stage.put(made(DEPLOYMENT, "pool", 1), DEPLOYMENT)
    stage.cache.wrote(TALK, POOL, stored)
    assert stage.cache.behind(TALK) == 0


def test_a_deployment_is_nobodys_child() -> None:
    stage = Stage()
    stage.put(deployment(), DEPLOYMENT)
    assert stage.cache.parents(DEPLOYMENT) == set()


def test_names_of_a_kind_can_be_narrowed_to_a_namespace() -> None:
    stage = Stage()
    stage.put(made(MODEL, "a"), MODEL)
    stage.put(made(MODEL, "b", namespace="other"), MODEL)
    assert stage.cache.names(MODEL) == [Key(SPACE, "a"), Key("other", "b")]
    assert stage.cache.names(MODEL, "other") == [Key("other", "b")]
    assert stage.cache.names(SERVICE) == []


def test_what_a_reader_does_to_an_object_does_not_reach_the_cache() -> None:
    stage = Stage()
    stage.put(made(DEPLOYMENT, "pool", spec={"replicas": 1}), DEPLOYMENT)
    found: Any = stage.cache.get(DEPLOYMENT, SPACE, "pool")
    found["spec"]["replicas"] = 7
    again = stage.cache.get(DEPLOYMENT, SPACE, "pool")
    assert again is not None
    assert again["spec"] == {"replicas": 1}
