"""The planner run ahead in memory, and the merge that `kubectl apply` makes: pure, at every moment of a life."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.cli.plugin_world import Cluster, stamped
from understudy.cli.plugin.merging import LAST_APPLIED, merged
from understudy.cli.plugin.rehearsal import Rehearsal, rehearse
from understudy.plan.observed import Observed


def edited(cluster: Cluster, image: str) -> Observed:
    """What a forecast of another image looks at: nothing is remembered of the passes before."""
    seen, spec = cluster.observe(), cluster.deployment["spec"]
    changed = {**spec, "engine": {**spec["engine"], "image": image}}
    return replace(seen, deployment={**cluster.deployment, "spec": changed}, memory=None)


def sound(played: Rehearsal) -> None:
    """No pass broke an invariant: what stands in for gateways and pods is a world that can be."""
    stalled = next(c for c in played.status["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] != "InvariantViolated", stalled["message"]


@pytest.mark.slow
def test_at_every_moment_a_rehearsal_ends_and_foresees_deletions_as_well_as_starts() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1", replicas=2)
    foreseen: set[tuple[str, str]] = set()
    for turn in range(140):
        if turn == 30:
            cluster.apply("v2", replicas=2)
        if turn == 80:
            cluster.apply("v3", replicas=2)
        if turn == 90:
            cluster.ask("abort")
        cluster.pass_time(1.0)
        played = rehearse(cluster.observe())
        sound(rehearse(edited(cluster, "v9")))
        sound(played)
        foreseen |= {(write.verb, write.kind) for write in played.writes}
        assert played.status["phase"]
        cluster.reconcile()
    children = ("Deployment", "Service", "Secret")
    assert {("create", kind) for kind in (*children, "ModelSnapshot", "RoutingTable")} <= foreseen
    assert {("delete", kind) for kind in children} <= foreseen
    assert {("change", "RoutingTable"), ("change", "Deployment")} <= foreseen


def test_at_rest_nothing_is_foreseen() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    assert rehearse(cluster.until(lambda c: c.says("Ready")[0] == "True").observe()).writes == ()


def test_records_beyond_those_that_are_kept_would_go() -> None:
    cluster = Cluster()
    cluster.apply_model()
    for image in ("v1", "v2", "v3"):
        cluster.apply(image)
        cluster.turns(3).until_phase("Stable").turns(60)
    cluster.edit(snapshots={"keep": 2})
    [write] = rehearse(cluster.observe()).writes
    assert (write.verb, write.kind) == ("delete", "ModelSnapshot")


def live(last: Any, **spec: Any) -> dict[str, Any]:
    annotations = {LAST_APPLIED: last if isinstance(last, str) else json.dumps(last)} if last is not None else {}
    meta = {"name": "x", "uid": "u", "annotations": annotations, "managedFields": [1]}
    return stamped({"kind": "K", "metadata": meta, "spec": spec, "status": {"phase": "Stable"}})


@pytest.mark.parametrize(
    ("last", "before", "wanted", "after"),
    [
        (None, {"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"spec": {"a": 1, "b": 2}}, {"a": 1, "b": 2, "c": 3}, {"a": 1}, {"a": 1, "c": 3}),
        ({"spec": {"a": {"b": 1}}}, {"a": {"b": 1, "c": 2}}, {"a": {}}, {"a": {"c": 2}}),
        ({"spec": {"a": [1, 2]}}, {"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"spec": {"a": 1}}, {"a": {"b": 1}}, {"a": {"c": 1}}, {"a": {"b": 1, "c": 1}}),
        ({"spec": {}}, {"a": 1}, {"a": None}, {}),
        ("not JSON", {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ("[]", {"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_an_apply_merges_three_ways(last: Any, before: Any, wanted: Any, after: Any) -> None:
    found = merged(
        live(last, **before), {"kind": "K", "metadata": {"name": "x"}, "spec": wanted, "status": {"phase": "x"}}
    )
    assert found["spec"] == after
    assert found["status"] == {"phase": "Stable"}
    assert found["metadata"]["uid"] == "u"
    assert "managedFields" not in found["metadata"]


def test_labels_merge_as_well() -> None:
    old = live({"metadata": {"labels": {"mine": "1"}}})
    old["metadata"]["labels"] = {"mine": "1", "theirs": "2"}
    found = merged(old, {"metadata": {"name": "x", "labels": {"new": "3"}}})
    assert found["metadata"]["labels"] == {"theirs": "2", "new": "3"}
