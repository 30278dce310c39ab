"""What a pod's status says about the revision: the same symptoms, told apart by cause."""

from typing import Any

import pytest

from understudy.plan.faults import POD_FAULTS, THREE_PULLS, UNREADY_GRACE, PodFacts, fault_of

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}
UNREADY = {**READY, "status": "False"}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:10Z"}}


def facts(engine: dict[str, Any] | None = None, *conditions: dict[str, Any], **known: Any) -> PodFacts:
    status: dict[str, Any] = {"conditions": list(conditions)}
    if engine is not None:
        status["containerStatuses"] = [{"name": "sidecar", "state": {}}, {"name": "engine", **engine}]
    usual: dict[str, Any] = {
        "name": "pod",
        "status": {**status, **known.pop("status", {})},
        "terminating": False,
        "node_lost": False,
        "restarted": 0,
        "scheduled_for": 10.0,
        "unready_for": 10.0,
        "start_deadline": 90.0,
    }
    return PodFacts(**{**usual, **known})


def ended(code: int = 1, reason: str = "Error", restarts: int = 1, where: str = "lastState") -> dict[str, Any]:
    return {where: {"terminated": {"exitCode": code, "reason": reason}}, "restartCount": restarts}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (facts(), None),
        (facts({"state": RUNNING}, READY), None),
        (facts(ended(1)), "EngineCrash"),
        (facts(ended(1, where="state", restarts=0)), "EngineCrash"),
        (facts(ended(139)), "EngineCrash"),
        (facts(ended(137)), "EngineCrash"),
        (facts(ended(137, "OOMKilled")), "OutOfMemory"),
        (facts(ended(0)), "ProbeFailed"),
        (facts(ended(143)), "ProbeFailed"),
        # What a node lost sight of is the node's doing.
        (facts(ended(255, "Unknown")), None),
        (facts(ended(137, "ContainerStatusUnknown")), None),
        # Restarts from before the rollout are history, further ones are not.
        (facts(ended(1, restarts=3), restarted=3), None),
        (facts(ended(1, restarts=4), restarted=3), "EngineCrash"),
        (facts(waiting("ErrImageNeverPull")), "ImagePull"),
        (facts(waiting("InvalidImageName", "bad name")), "ImagePull"),
        (facts(waiting("ErrImagePull", "not found"), scheduled_for=THREE_PULLS - 1), None),
        (facts(waiting("ErrImagePull", "manifest unknown"), scheduled_for=THREE_PULLS), "ImagePull"),
        (facts(waiting("ImagePullBackOff", "pull access Denied"), scheduled_for=THREE_PULLS), "ImagePull"),
        # Weights are fetched by a container that runs before the engine, of the same image.
        (
            facts(
                waiting("PodInitializing"),
                status={"initContainerStatuses": [{}, waiting("ErrImagePull", "not found")]},
                scheduled_for=THREE_PULLS,
            ),
            "ImagePull",
        ),
        # The registry's own trouble.
        (facts(waiting("ImagePullBackOff", "dial tcp: i/o timeout"), scheduled_for=THREE_PULLS), None),
        (facts(waiting("ImagePullBackOff", "dial tcp: i/o timeout"), scheduled_for=90.0), "StartDeadline"),
        (facts(waiting("ContainerCreating"), scheduled_for=THREE_PULLS), None),
        (facts(waiting("ErrImagePull", "not found"), scheduled_for=None), None),
        (facts({"state": RUNNING}, UNREADY, unready_for=UNREADY_GRACE), "ProbeFailed"),
        (facts({"state": RUNNING}, UNREADY, unready_for=UNREADY_GRACE - 1), None),
        (facts({"state": RUNNING}, UNREADY, unready_for=None), None),
        # Not ready yet is something else than not ready any more.
        (facts({"state": {"running": {"startedAt": "2026-01-01T00:01:00Z"}}}, UNREADY), None),
        (facts({"state": RUNNING}, {"type": "Ready", "status": "False"}), None),
        (
            facts({"state": {"running": {"startedAt": "2026-01-01T00:01:00Z"}}}, UNREADY, scheduled_for=90.0),
            "StartDeadline",
        ),
        (facts({"state": RUNNING}, READY, scheduled_for=900.0), None),
        (facts({"state": RUNNING}, UNREADY, scheduled_for=900.0), "ProbeFailed"),
    ],
)
def test_the_fault_of_a_pod(given: PodFacts, reason: str | None) -> None:
    fault = fault_of(given, POD_FAULTS)
    assert (fault.reason if fault is not None else None) == reason


@pytest.mark.parametrize(
    "lost",
    [
        {"terminating": True},
        {"node_lost": True},
        {"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}},
        {"status": {"reason": "Evicted"}},
        {"status": {"reason": "Preempting"}},
        {"status": {"reason": "NodeLost"}},
        {"status": {"reason": "NodeShutdown"}},
        {"status": {"reason": "Terminated"}},
    ],
)
def test_a_pod_that_was_lost_has_no_fault(lost: dict[str, Any]) -> None:
    given = facts(ended(1), **lost)
    assert given.disrupted
    assert fault_of(given, POD_FAULTS) is None


def test_only_what_something_else_may_cause_needs_a_comparator() -> None:
    unready = fault_of(facts({"state": RUNNING}, UNREADY), POD_FAULTS)
    crash = fault_of(facts(ended(1)), POD_FAULTS)
    assert unready is not None
    assert crash is not None
    assert (unready.shared, crash.shared) == (True, False)


def test_a_late_start_names_the_image_it_waits_for() -> None:
    late = fault_of(facts(waiting("ErrImagePull", "i/o timeout"), scheduled_for=90.0), POD_FAULTS)
    assert late is not None
    assert late.message == "pod: not ready 90 s after it was scheduled (image: i/o timeout)"
    silent = fault_of(facts(waiting("ImagePullBackOff"), scheduled_for=90.0), POD_FAULTS)
    assert silent is not None
    assert silent.message.endswith("(image: ImagePullBackOff)")
