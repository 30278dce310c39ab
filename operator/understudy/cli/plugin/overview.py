"""What there is to say about one deployment, from its objects: read only, for eyes and for machines alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.domain.conditions import find
from understudy.domain.names import LABEL_REVISION
from understudy.kube.client import Object
from understudy.plan.evidence import read_record
from understudy.plan.state import Failure, State, read_state
from understudy.plan.strategy import Terms, terms
from understudy.plan.trial import tag_of, trial_of

# Fine when True; every other condition is fine when it is not.
_FINE_WHEN_TRUE: Final = frozenset({"Ready", "Available", "TrafficProgrammed", "AnalysisHealthy", "GuardrailsEnforced"})
# These say that work is under way, which the phase and the plan say better.
_WORK: Final = frozenset({"Reconciling", "Progressing"})

# Phases that count towards a next step.
_BY_STEPS: Final = ("Shadow", "Canary")


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """A pod that is not ready, and why as far as Kubernetes says."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Part:
    """One revision: its role, its share of the conversations in percent as served and as written, its pods.

    `ready` and `wanted` are None where pods may not be listed; `attempts` and `failed` are what counts as evidence for
    the current weight, None where nothing is counted.
    """

    revision: str
    role: str
    weight: int
    written: int
    ready: int | None
    wanted: int | None
    model: str = ""
    attempts: int | None = None
    failed: int | None = None
    trouble: tuple[PodTrouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the present step is: samples (pairs if so) and seconds under observation, of those that it takes."""

    of_pairs: bool
    samples: int
    samples_wanted: int
    observed_seconds: float
    observed_seconds_wanted: float


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that one screen shows; `current` is False until the operator has seen the latest edit."""

    namespace: str
    name: str
    created: str
    phase: str
    paused: bool
    current: bool
    ready: str
    reason: str
    message: str
    step: int
    steps: int
    target: str
    weight: int
    verdict: str
    verdict_reason: str
    plan: str
    request: str
    request_applied: bool
    request_message: str
    served_names: tuple[str, ...]
    url: str
    replicas: int
    pods: str
    progress: Progress | None = None
    parts: tuple[Part, ...] = ()
    concerns: tuple[Mapping[str, Any], ...] = ()
    failed: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Children:
    """What belongs to deployments, of any of them; `counted` is False where pools or pods may not be listed."""

    snapshots: Sequence[Object] = ()
    pools: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    notes: tuple[str, ...] = ()
    counted: bool = True


def overview(deployment: Object, children: Children) -> Overview:
    """All that is known of one deployment; an object that no operator has seen yet is fine."""
    meta, spec, status = deployment["metadata"], deployment.get("spec") or {}, deployment.get("status") or {}
    state = read_state(status) or State()
    agreed = _terms(spec, state)
    ready = find(status.get("conditions") or (), "Ready") or {}
    request = (status.get("rollout") or {}).get("request") or {}
    verdict = status.get("verdict") or {}
    return Overview(
        namespace=meta["namespace"],
        name=meta["name"],
        created=str(meta.get("creationTimestamp", "")),
        phase=status.get("phase", ""),
        paused=state.paused,
        current=int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0)),
        ready=ready.get("status", "Unknown"),
        reason=ready.get("reason", ""),
        message=ready.get("message", ""),
        step=int(status.get("step", 0)),
        steps=len(agreed.steps) if agreed is not None else 0,
        target=(status.get("target") or {}).get("revision", ""),
        weight=_shares(status)[0],
        verdict=verdict.get("result", ""),
        verdict_reason=verdict.get("reason", ""),
        plan=status.get("plan", ""),
        request=state.request.value,
        request_applied=bool(request.get("applied", False)),
        request_message=str(request.get("message", "")),
        served_names=tuple(status.get("servedNames") or ()),
        url=status.get("url", ""),
        replicas=int(spec.get("replicas", 1)),
        pods=status.get("readyText", ""),
        progress=_progress(state, agreed, children),
        parts=_parts(state, status, children),
        concerns=tuple(_not_fine(status.get("conditions") or ())),
        failed=state.failed,
        notes=children.notes,
    )


def _terms(spec: Mapping[str, Any], state: State) -> Terms | None:
    """The terms of the rollout; None for a spec that cannot be read, which a condition says."""
    try:
        parsed = ModelDeploymentSpec.model_validate(spec)
    except ValidationError:
        return None
    return terms(parsed.rollout, state.frozen if state.candidate or state.previous else {})


def _shares(status: Mapping[str, Any]) -> tuple[int, int]:
    """The candidate's share as every gateway serves it, and as it is written."""
    weights = (status.get("weights") or {}).get("candidate") or {}
    return int(weights.get("programmed", 0)), int(weights.get("written", 0))


def _progress(state: State, agreed: Terms | None, children: Children) -> Progress | None:
    found = read_record(_record(children, trial_of(state).subject).get("status") or {})
    if agreed is None or found is None or state.phase not in _BY_STEPS or found.evidence.tag != tag_of(state):
        return None
    seen, weight = found.evidence, state.weight
    return Progress(not weight, seen.subject[0], agreed.samples(weight), seen.soak, agreed.soak(weight))


def _parts(state: State, status: Mapping[str, Any], children: Children) -> tuple[Part, ...]:
    served, written = _shares(status)
    # A revision that is restored is the candidate and the previous one at once.
    named = {state.previous: "previous", state.candidate: "candidate", state.stable: "stable"}
    roles = dict(reversed(named.items()))
    others = sorted({_revision(obj) for obj in (*children.pools, *children.pods)} - {*roles, ""})
    counted = _counted(state, children)
    found = []
    for revision, role in (*roles.items(), *((name, "leaving") for name in others)):
        if not revision:
            continue
        # Stable has what the candidate has not, once there is a table at all.
        share = {"stable": (100 - served, 100 - written), "candidate": (served, written)}.get(role, (0, 0))
        pods = [pod for pod in children.pods if _revision(pod) == revision and not _ended(pod)]
        wanted = [
            int((pool.get("spec") or {}).get("replicas", 0)) for pool in children.pools if _revision(pool) == revision
        ]
        attempts, failed = counted.get(revision, (None, None))
        found.append(
            Part(
                revision,
                role,
                *share,
                ready=sum(_ready(pod) for pod in pods) if children.counted else None,
                wanted=sum(wanted) if children.counted else None,
                model=str(((_record(children, revision).get("spec") or {}).get("model") or {}).get("name", "")),
                attempts=attempts,
                failed=failed,
                trouble=tuple(PodTrouble(pod["metadata"]["name"], _why(pod)) for pod in pods if not _ready(pod)),
            )
        )
    return tuple(found)


def _counted(state: State, children: Children) -> dict[str, tuple[int, int]]:
    """Attempts and failed attempts since the present weight is served, by revision; in Shadow, halves of pairs."""
    who = trial_of(state)
    found = read_record(_record(children, who.subject).get("status") or {})
    if found is None or found.evidence.tag != tag_of(state) or state.phase not in _BY_STEPS:
        return {}
    return {who.subject: found.evidence.subject, **({who.other: found.evidence.other} if who.other else {})}


def _not_fine(conditions: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Conditions that somebody should look at; while a rollout goes on, Ready is not among them."""
    said = list(conditions)
    busy = (find(said, "Reconciling") or {}).get("status") == "True"
    return [
        c
        for c in said
        if c["type"] not in _WORK
        and not (c["type"] == "Ready" and busy)
        and (c["status"] == "True") != (c["type"] in _FINE_WHEN_TRUE)
    ]


def _record(children: Children, revision: str) -> Object:
    return next((s for s in children.snapshots if revision and s["spec"]["revision"] == revision), {})


def _revision(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(LABEL_REVISION, ""))


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _ready(pod: Object) -> bool:
    condition = find((pod.get("status") or {}).get("conditions") or (), "Ready") or {}
    return condition.get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def _why(pod: Object) -> str:
    """Why a pod is not ready: what a container waits for or ended with, or why no node takes it."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "ending"
    scheduled = find(status.get("conditions") or (), "PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'no node')}: {scheduled.get('message', '')}".rstrip(": ")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        last = (container.get("lastState") or {}).get("terminated") or {}
        if last:
            ended = f"{last.get('reason', 'ended')}, exit code {last.get('exitCode', '?')}"
            return f"{ended}, {container.get('restartCount', 0)} restarts"
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    return "starting"
