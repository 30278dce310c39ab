"""What Argo CD shows for our kinds, by dumps of a real cluster, and for Guardrails by what their plans say."""

from typing import Any

import pytest

from tests.argocd.lua import dump, run, script
from understudy.api.v1alpha1.metadata import UNOBSERVED

SHOWN = [
    ("deployment-preparing", "Progressing", "Preparing: "),
    ("deployment-waiting-for-model", "Progressing", "Preparing: "),
    ("deployment-model-not-found", "Degraded", "ModelNotFound: "),
    ("deployment-canary", "Progressing", "Canary: 5 more requests on ed415081"),
    ("deployment-paused", "Suspended", "paused: "),
    ("deployment-watching", "Healthy", "Serving: "),
    ("deployment-stable", "Healthy", "Serving: "),
    ("deployment-scaled-to-zero", "Healthy", "ScaledToZero: "),
    ("deployment-reverting", "Progressing", "Reverting: "),
    ("deployment-rolled-back", "Degraded", "RolledBack: "),
    ("model-declared", "Healthy", "Declared"),
    ("guardrail-compiled", "Healthy", "Compiled: "),
    ("guardrail-waiting-for-words", "Progressing", "ConfigMapNotFound: "),
    ("guardrail-invalid", "Degraded", "InvalidSpec: "),
]


def health(obj: dict[str, Any]) -> dict[str, str]:
    """What the kind's script answers."""
    answer: dict[str, str] = run(script(obj["kind"], "health.lua"), obj)
    return answer


def conditions(obj: dict[str, Any], **statuses: str) -> dict[str, Any]:
    """The object with exactly these conditions."""
    stamp = "2026-01-01T00:00:00Z"
    return obj | {
        "status": obj["status"]
        | {
            "conditions": [
                {"type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": stamp}
                for kind, status in statuses.items()
            ]
        }
    }


@pytest.mark.parametrize(("name", "status", "message"), SHOWN)
def test_each_state_has_its_health(name: str, status: str, message: str) -> None:
    shown = health(dump(name))
    assert shown["status"] == status
    assert shown["message"].startswith(message)


def test_shadow_is_progress_and_says_what_is_waited_for() -> None:
    obj = dump("deployment-canary")
    obj["status"] |= {"phase": "Shadow", "plan": "41 of 200 pairs of answers (about 3 min at today's rate), then 10 %"}
    assert health(obj) == {"status": "Progressing", "message": f"Shadow: {obj['status']['plan']}"}


@pytest.mark.parametrize("name", ["deployment-stable", "model-declared", "guardrail-invalid"])
def test_a_spec_that_the_operator_has_not_seen_is_progressing(name: str) -> None:
    obj = dump(name)
    obj["metadata"]["generation"] += 1
    assert health(obj) == {"status": "Progressing", "message": "the operator has not seen this spec yet"}


@pytest.mark.parametrize("name", ["deployment-stable", "model-declared", "guardrail-invalid"])
@pytest.mark.parametrize("status", [None, UNOBSERVED])
def test_an_object_without_the_operators_status_is_progressing(name: str, status: dict[str, Any] | None) -> None:
    obj = dump(name)
    del obj["status"]
    shown = health(obj if status is None else obj | {"status": status})
    assert shown["status"] == "Progressing"


def test_deletion_is_progress() -> None:
    obj = dump("deployment-stable")
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert health(obj) == {"status": "Progressing", "message": "being deleted"}


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        # Something that serves and has no better word for itself is on its way, not broken.
        ({"Ready": "False", "Available": "True"}, "Progressing"),
        ({"Ready": "False", "Available": "False"}, "Degraded"),
        ({"Ready": "Unknown"}, "Progressing"),
        ({}, "Progressing"),
        # Stalled wins over all.
        ({"Stalled": "True", "Reconciling": "True", "Ready": "True"}, "Degraded"),
    ],
)
def test_conditions_decide(statuses: dict[str, str], status: str) -> None:
    assert health(conditions(dump("deployment-stable"), **statuses))["status"] == status


@pytest.mark.parametrize("name", ["model-declared", "guardrail-invalid"])
@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ({"Stalled": "True"}, "Degraded"),
        ({"Reconciling": "True", "Ready": "False"}, "Progressing"),
        ({"Ready": "True"}, "Healthy"),
        ({"Ready": "False"}, "Degraded"),
        ({"Ready": "Unknown"}, "Progressing"),
    ],
)
def test_conditions_decide_for_models_and_guardrails(name: str, statuses: dict[str, str], status: str) -> None:
    assert health(conditions(dump(name), **statuses))["status"] == status


def test_a_pause_outside_of_a_rollout_is_no_suspension() -> None:
    # Suspended would hold back Argo CD's sync waves for nothing.
    obj = dump("deployment-stable")
    obj["status"]["paused"] = True
    assert health(obj)["status"] == "Healthy"
