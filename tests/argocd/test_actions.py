"""The actions that Argo CD offers: when, and what they write."""

import copy
import re
from typing import Any

import pytest

from tests.argocd.lua import SCRIPTS, dump, run, script
from understudy.domain.names import ANNOTATION_REQUEST
from understudy.plan.verbs import VERBS

ACTIONS = sorted(path.parent.name for path in (SCRIPTS / "ModelDeployment" / "actions").glob("*/action.lua"))


def offered(obj: dict[str, Any]) -> set[str]:
    """Names of the actions that are not greyed."""
    found = run(script("ModelDeployment", "actions", "discovery.lua"), obj)
    assert sorted(found) == ACTIONS
    return {name for name, action in found.items() if not action["disabled"]}


def after(action: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The object that the action hands back."""
    changed: dict[str, Any] = run(script("ModelDeployment", "actions", action, "action.lua"), obj)
    return changed


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("deployment-preparing", {"pause"}),
        ("deployment-canary", {"abort", "pause", "promote", "promote-full"}),
        ("deployment-paused", {"abort", "resume", "promote", "promote-full"}),
        ("deployment-watching", {"pause", "rollback"}),
        ("deployment-stable", {"pause"}),
        ("deployment-rolled-back", {"pause", "retry"}),
    ],
)
def test_only_what_applies_is_offered(name: str, actions: set[str]) -> None:
    assert offered(dump(name)) == actions


def test_a_candidate_in_shadow_can_be_promoted_past_it() -> None:
    obj = dump("deployment-canary")
    obj["status"]["phase"] = "Shadow"
    assert offered(obj) == {"abort", "pause", "promote", "promote-full"}


def test_a_blue_green_candidate_that_waits_for_the_word_can_be_promoted() -> None:
    obj = dump("deployment-canary")
    obj["status"]["phase"] = "Preparing"
    assert offered(obj) == {"abort", "pause"}
    reconciling = next(c for c in obj["status"]["conditions"] if c["type"] == "Reconciling")
    reconciling["reason"] = "WaitingForPromote"
    assert offered(obj) == {"abort", "pause", "promote", "promote-full"}


def test_an_object_without_status_offers_a_pause_alone() -> None:
    obj = dump("deployment-stable")
    del obj["status"]
    assert offered(obj) == {"pause"}


def test_only_with_a_stable_revision_is_there_something_to_go_back_to() -> None:
    obj = dump("deployment-preparing")
    assert "stable" not in obj["status"]
    obj["status"]["stable"] = "6f1c9a02"
    assert offered(obj) == {"abort", "pause"}


def test_a_revision_that_the_spec_no_longer_asks_for_cannot_be_retried() -> None:
    obj = dump("deployment-rolled-back")
    obj["status"]["target"]["revision"] = "00000000"
    assert "retry" not in offered(obj)


HISTORY = [{"number": 4, "revision": "ce76eb35"}, {"number": 3, "revision": "ed415081"}, {"number": 2, "revision": "x"}]


@pytest.mark.parametrize(
    ("stable", "history", "number"),
    [
        ("ce76eb35", HISTORY, 3),
        ("ce76eb35", [{"number": 5, "revision": "ce76eb35"}, *HISTORY], 3),
        ("ed415081", HISTORY, 4),
        ("ce76eb35", HISTORY[:1], 0),
        ("ce76eb35", [], 0),
    ],
)
def test_a_rollback_goes_to_the_newest_promotion_of_another_revision(
    stable: str, history: list[dict[str, Any]], number: int
) -> None:
    obj = dump("deployment-stable")
    obj["status"].update(stable=stable, history=history)
    found = run(script("ModelDeployment", "actions", "discovery.lua"), obj)["rollback"]
    assert found["disabled"] is (number == 0)
    if number:
        assert found["displayName"] == f"Roll back to number {number}"
        request = after("rollback", obj)["metadata"]["annotations"][ANNOTATION_REQUEST]
        assert re.fullmatch(rf"rollback={number};\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", request)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_asks_by_annotation_and_changes_nothing_else(action: str) -> None:
    obj = dump("deployment-canary")
    obj["metadata"]["annotations"] = {"kept": "yes", ANNOTATION_REQUEST: "old"}
    before = copy.deepcopy(obj)
    changed = after(action, obj)
    request = changed["metadata"]["annotations"].pop(ANNOTATION_REQUEST)
    del before["metadata"]["annotations"][ANNOTATION_REQUEST]
    assert changed["metadata"] == before["metadata"]
    assert changed["spec"] == before["spec"]
    assert re.fullmatch(rf"{action}(@ed415081|=\d*)?;\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", request)
    assert ("@" in request) == action.startswith("promote")


def test_an_object_without_annotations_gets_one() -> None:
    obj = dump("deployment-canary")
    obj["metadata"].pop("annotations", None)
    assert list(after("abort", obj)["metadata"]["annotations"]) == [ANNOTATION_REQUEST]


def test_there_is_an_action_for_each_request_that_the_operator_takes() -> None:
    assert set(ACTIONS) == set(VERBS)
