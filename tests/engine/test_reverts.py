"""Which plans begin a revert, and the word that it is counted by."""

from typing import Any

import pytest

from tests.engine.cluster import Cluster, Operator
from tests.engine.test_process import on_a_cluster
from understudy.engine.reverts import revert_reason
from understudy.plan.actions import Plan

NEW, OLD = "a90b1234", "6f1c9a02"


def status(phase: str, weight: int = 0, failed: dict[str, str] | None = None, **registers: str) -> dict[str, Any]:
    entries = [{"revision": revision, "reason": reason} for revision, reason in (failed or {}).items()]
    share = {"candidate": {"desired": weight}}
    return {"phase": phase, "stable": OLD, "candidate": NEW, "weights": share, "failed": entries, **registers}


def reason(before: dict[str, Any], after: dict[str, Any], said: str = "Superseded: another is asked for") -> str:
    return revert_reason(before, Plan(status=after, reasons=(said,)))


@pytest.mark.parametrize("phase", ["Preparing", "Shadow", "Canary", "Promoting"])
def test_a_branded_candidate_gives_the_reason(phase: str) -> None:
    assert reason(status(phase, 10), status("Reverting", failed={OLD: "Older", NEW: "EngineCrash"})) == "EngineCrash"


def test_without_a_brand_the_rule_that_moved_gives_it() -> None:
    assert reason(status("Canary", 10), status("Reverting")) == "Superseded"


def test_a_restore_is_counted_by_what_stable_did() -> None:
    before = status("Watching", stable=NEW, previous=OLD, candidate="")
    for phase in ("Restoring", "Replacing"):
        after = status(phase, 100, {NEW: "ErrorRate"}, stable=NEW, candidate=OLD)
        assert reason(before, after) == "ErrorRate"


def test_where_pods_make_way_turning_round_is_a_revert_and_going_forward_is_none() -> None:
    assert reason(status("Stable"), status("Replacing", 100)) == ""
    assert reason(status("Replacing", 100), status("Replacing", 100)) == ""
    assert reason(status("Replacing", 100), status("Replacing", 0, {NEW: "EngineCrash"})) == "EngineCrash"
    assert reason(status("Promoting", 100), status("Replacing", 0, {NEW: "EngineCrash"})) == "EngineCrash"
    assert reason(status("Replacing", 0), status("Replacing", 0)) == ""


def test_a_revert_under_way_is_not_begun_again() -> None:
    assert reason(status("Reverting"), status("Reverting")) == ""
    assert reason(status("Reverting"), status("RolledBack")) == ""


def test_steps_forward_are_none() -> None:
    assert reason({}, status("Preparing")) == ""
    assert reason(status("Canary", 10), status("Canary", 50)) == ""
    assert revert_reason(status("Canary", 10), Plan()) == ""


@pytest.mark.slow
@on_a_cluster
async def test_a_rollout_that_goes_back_is_counted_once(cluster: Cluster) -> None:
    operator = Operator(cluster)
    cluster.deployment()
    await cluster.until("Stable")
    assert counted(operator) == {}
    cluster.deployment(engine={"args": ["--text=bad"]})
    await cluster.until("Canary")
    cluster.failing.add(cluster.status()["candidate"])
    await cluster.until("RolledBack")
    (entry,) = cluster.status()["failed"]
    assert counted(operator) == {entry["reason"]: 1}
    await operator.kill()


def counted(operator: Operator) -> dict[str, float]:
    (family,) = operator.process.metrics.reverts.collect()
    return {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")}
