"""Why a revision's pod is not serving, classified: what is the revision's own fault and what is not.

A fault brands the revision as failed. Loss of a pod by deletion, eviction, preemption or a dead node
never does, nor does a pod that finds no node, nor a pull that failed for the registry's own reasons.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.duration import instant
from understudy.plan.desired.pod_template import ENGINE
from understudy.plan.rulebook import FaultRule

# Kubelet pulls at 0, 10 and 30 s (its back-off doubles from 10 s): after that, three pulls have failed, or two
# slow ones. They cannot be counted: a pod's status tells what it waits for now, not how often it has tried, and
# of its changes between ErrImagePull and ImagePullBackOff a watch may leave some out.
THREE_PULLS: Final = 30.0
# Kubelet's own failureThreshold already smooths single missed probes; this covers one flap more.
UNREADY_GRACE: Final = 5.0
_PULLING: Final = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
_CERTAIN: Final = ("ErrImageNeverPull", "InvalidImageName")
_MISSING: Final = ("not found", "notfound", "manifest unknown", "does not exist", "denied", "unauthorized", "forbidden")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something the revision itself did wrong.

    `reason` is the classified word of the condition. `safety` faults go back to stable whatever its
    state, because every answer is wrong; `shared` ones count only if the comparator does not show
    the same.
    """

    reason: str
    message: str
    safety: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the kubelet and the scheduler say about one pod, with the times that matter.

    `restarted` is how often the engine had been restarted before the rollout began: that is history.
    `scheduled_for` and `unready_for` are observed seconds, None where they do not apply.
    """

    name: str
    status: Mapping[str, Any]
    terminating: bool
    node_lost: bool
    restarted: int
    scheduled_for: float | None
    unready_for: float | None
    start_deadline: float

    @property
    def engine(self) -> Mapping[str, Any]:
        """Status of the engine's container; empty before there is one."""
        statuses: Iterable[Mapping[str, Any]] = self.status.get("containerStatuses") or ()
        return next((s for s in statuses if s.get("name") == ENGINE), {})

    @property
    def ready(self) -> bool:
        """The Ready condition is True."""
        return condition(self.status, "Ready").get("status") == "True"

    @property
    def disrupted(self) -> bool:
        """Deleted, evicted, preempted, or on a node that is gone: nobody's fault."""
        return (
            self.terminating
            or self.node_lost
            or condition(self.status, "DisruptionTarget").get("status") == "True"
            or self.status.get("reason") in ("Evicted", "Preempting", "NodeLost", "NodeShutdown", "Terminated")
        )


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A pod's condition of that type; empty when it has none."""
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def ended(facts: PodFacts) -> Mapping[str, Any] | None:
    """How the engine's container last ended during this rollout, or None."""
    states = [facts.engine.get("state") or {}]
    if int(facts.engine.get("restartCount", 0)) > facts.restarted:
        states.append(facts.engine.get("lastState") or {})
    ends: Iterable[Mapping[str, Any]] = (state["terminated"] for state in states if state.get("terminated"))
    # A node that comes back reports containers it lost sight of; that is the node's end, not the engine's.
    return next((e for e in ends if e.get("reason") not in ("Unknown", "ContainerStatusUnknown")), None)


def out_of_memory(facts: PodFacts) -> Fault | None:
    """The kernel killed the engine for its memory."""
    last = ended(facts)
    if last is None or last.get("reason") != "OOMKilled":
        return None
    return Fault("OutOfMemory", f"{facts.name}: the engine was killed for its memory (OOMKilled)")


def startup_probe(facts: PodFacts) -> Fault | None:
    """The kubelet asked the engine to end (SIGTERM), which it does when the health probe fails."""
    last = ended(facts)
    if last is None or int(last.get("exitCode", 0)) not in (0, 143):
        return None
    return Fault("ProbeFailed", f"{facts.name}: the engine was restarted because it did not answer its health probe")


def engine_crash(facts: PodFacts) -> Fault | None:
    """The engine ended by itself."""
    last = ended(facts)
    if last is None:
        return None
    code = int(last.get("exitCode", 0))
    return Fault("EngineCrash", f"{facts.name}: the engine ended with exit code {code}")


def image_missing(facts: PodFacts) -> Fault | None:
    """The image does not exist or may not be pulled, after three pulls."""
    waiting = _pulling(facts)
    if waiting is None:
        return None
    message = str(waiting.get("message", ""))
    if waiting["reason"] in _CERTAIN:
        return Fault("ImagePull", f"{facts.name}: {message or waiting['reason']}")
    lasted = facts.scheduled_for or 0.0
    if lasted < THREE_PULLS or not any(word in message.lower() for word in _MISSING):
        return None
    return Fault("ImagePull", f"{facts.name}: {message}")


def start_deadline(facts: PodFacts) -> Fault | None:
    """The pod was scheduled long ago and has never been ready."""
    if facts.ready or was_ready(facts) or (facts.scheduled_for or 0.0) < facts.start_deadline:
        return None
    late = f"{facts.name}: not ready {facts.start_deadline:.0f} s after it was scheduled"
    return Fault("StartDeadline", late + _pull(facts))


def went_unready(facts: PodFacts) -> Fault | None:
    """The pod was ready and its health probe fails now.

    A pod whose Ready is False while its container is ready was marked by the node's controller: the node
    was out of sight for a while, which says nothing about the engine.
    """
    if facts.ready or facts.engine.get("ready") or not was_ready(facts) or (facts.unready_for or 0.0) < UNREADY_GRACE:
        return None
    return Fault("ProbeFailed", f"{facts.name}: was ready and fails its health probe now", shared=True)


def was_ready(facts: PodFacts) -> bool:
    """Ready turned False after the running container had started, so it was True in between."""
    began = ((facts.engine.get("state") or {}).get("running") or {}).get("startedAt")
    turned = condition(facts.status, "Ready").get("lastTransitionTime")
    return began is not None and turned is not None and instant(turned) > instant(began)


# The order is the order of certainty: the most specific sentence wins.
POD_FAULTS: Final[tuple[FaultRule, ...]] = (
    out_of_memory,
    startup_probe,
    engine_crash,
    image_missing,
    start_deadline,
    went_unready,
)


def fault_of(facts: PodFacts, rules: Iterable[FaultRule]) -> Fault | None:
    """The first fault that applies, None for a pod that is well or was lost through no fault of its own."""
    if facts.disrupted:
        return None
    return next((fault for rule in rules if (fault := rule(facts)) is not None), None)


def _pulling(facts: PodFacts) -> Mapping[str, Any] | None:
    """What the pod's image pull is at, if it waits for one: the engine's, or that of what runs before it."""
    before: Iterable[Mapping[str, Any]] = facts.status.get("initContainerStatuses") or ()
    states = (container.get("state") or {} for container in (*before, facts.engine))
    waits: Iterable[Mapping[str, Any]] = (state.get("waiting") or {} for state in states)
    return next((waiting for waiting in waits if waiting.get("reason") in _PULLING), None)


def _pull(facts: PodFacts) -> str:
    waiting = _pulling(facts)
    return f" (image: {waiting.get('message') or waiting['reason']})" if waiting is not None else ""
