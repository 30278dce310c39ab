"""ModelDeployments as metrics: what their status says, from the leader alone."""

from typing import Any

import pytest

from understudy.telemetry.operator import OperatorMetrics

CANARY = {
    "phase": "Canary",
    "weights": {"candidate": {"desired": 50, "written": 50, "programmed": 10}},
    "conditions": [
        {"type": "Ready", "status": "False"},
        {"type": "Reconciling", "status": "True"},
        {"type": "GatewaySilent", "status": "True"},
    ],
}


@pytest.fixture
def metrics() -> OperatorMetrics:
    made = OperatorMetrics()
    made.deployments.leading = lambda: True
    return made


def of(metrics: OperatorMetrics, deployment: str) -> dict[str, float]:
    """Values of one ModelDeployment by name, and the label that tells its series apart."""
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.labels.get("deployment") == deployment:
                other = sample.labels.get("phase") or sample.labels.get("condition") or ""
                found[f"{sample.name.removeprefix('understudy_modeldeployment_')} {other}".strip()] = sample.value
    return found


def test_phase_conditions_and_share_are_those_of_the_status(metrics: OperatorMetrics) -> None:
    metrics.deployments.tell("shop/talk", CANARY)
    assert of(metrics, "shop/talk") == {
        "status_phase Canary": 1,
        "status_condition Ready": 0,
        "status_condition Reconciling": 1,
        "status_condition Stalled": 0,
        "status_condition GuardrailsEnforced": 0,
        "status_condition GuardrailBreached": 0,
        "candidate_weight_ratio": 0.1,
    }


def test_it_has_one_phase_at_a_time(metrics: OperatorMetrics) -> None:
    metrics.deployments.tell("shop/talk", CANARY)
    metrics.deployments.tell("shop/talk", {"phase": "Stable"})
    assert {name for name in of(metrics, "shop/talk") if "phase" in name} == {"status_phase Stable"}
    assert of(metrics, "shop/talk")["candidate_weight_ratio"] == 0


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": 1}])
def test_one_that_is_gone_or_was_never_looked_at_is_not_shown(metrics: OperatorMetrics, status: Any) -> None:
    metrics.deployments.tell("shop/talk", CANARY)
    metrics.deployments.tell("shop/talk", status)
    metrics.deployments.tell("shop/other", status)
    assert of(metrics, "shop/talk") == of(metrics, "shop/other") == {}


def test_a_standby_shows_none() -> None:
    metrics = OperatorMetrics()
    metrics.deployments.tell("shop/talk", CANARY)
    assert of(metrics, "shop/talk") == {}
