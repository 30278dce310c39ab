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
        (facts(waiting("ContainerCreating"), scheduled_for=89.9), None),
        (
            facts({"state": RUNNING}, {**UNREADY, "lastTransitionTime": None}, scheduled_for=None, start_deadline=1.0),
            None,
        ),
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


def test_it_takes_thirty_seconds_until_three_pulls_have_failed_and_five_until_unready_counts() -> None:
    # Numbers of the kubelet (its back-off), and of the page.
    assert (THREE_PULLS, UNREADY_GRACE) == (30.0, 5.0)


@pytest.mark.parametrize(
    "said",
    [
        "docker.io/x:1: not found",
        "rpc error: code = NotFound",
        "manifest unknown",
        "repository does not exist",
        "pull access denied",
        "401 Unauthorized",
        "403 Forbidden",
    ],
)
def test_every_word_of_a_registry_for_an_image_that_is_not_to_be_had_is_understood(said: str) -> None:
    fault = fault_of(facts(waiting("ErrImagePull", said), scheduled_for=30.0), POD_FAULTS)
    assert fault is not None
    assert (fault.reason, fault.message) == ("ImagePull", f"pod: {said}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (facts(ended(137, "OOMKilled")), "pod: the engine was killed for its memory (OOMKilled)"),
        (facts(ended(143)), "pod: the engine was restarted because it did not answer its health probe"),
        (facts(ended(139)), "pod: the engine ended with exit code 139"),
        (facts(waiting("ErrImageNeverPull")), "pod: ErrImageNeverPull"),
        (facts(waiting("InvalidImageName", "bad name")), "pod: bad name"),
        (facts({"state": RUNNING}, UNREADY), "pod: was ready and fails its health probe now"),
        (facts({}, scheduled_for=90.0), "pod: not ready 90 s after it was scheduled"),
    ],
)
def test_a_fault_names_the_pod_and_what_it_did(given: PodFacts, message: str) -> None:
    fault = fault_of(given, POD_FAULTS)
    assert fault is not None
    assert (fault.message, fault.safety) == (message, False)


def test_an_end_without_a_code_is_a_restart_by_the_kubelet() -> None:
    fault = fault_of(facts({"lastState": {"terminated": {"reason": "Completed"}}, "restartCount": 1}), POD_FAULTS)
    assert fault is not None
    assert fault.reason == "ProbeFailed"


def test_a_pull_that_says_nothing_is_not_yet_known_to_be_in_vain() -> None:
    silent = {"state": {"waiting": {"reason": "ErrImagePull"}}}
    assert fault_of(facts(silent, scheduled_for=30.0), POD_FAULTS) is None
