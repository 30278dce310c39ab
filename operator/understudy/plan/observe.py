"""From plain Kubernetes objects to a World: reading only, nothing is decided here.

deployment ─► spec, state ─┐
model, references ─► target├─► World
pools, pods, nodes, probes ─► revisions ┤   (clocks carry on from the previous pass)
table, gateways ─► fleet, evidence ─────┘
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.domain.conditions import is_ready
from understudy.domain.duration import instant, seconds
from understudy.domain.names import ANNOTATION_REPLICAS, LABEL_REVISION
from understudy.plan import clocks, guards, trial
from understudy.plan.capacity import followed
from understudy.plan.desired.pod import START_MARGIN
from understudy.plan.faults import PodFacts, condition, fault_of
from understudy.plan.ladder import rungs_of
from understudy.plan.memory import Clock
from understudy.plan.observed import Object, Observed, ProbeReport
from understudy.plan.programmed import Fleet, TableView, programmed, view_fleet, view_table
from understudy.plan.replay import probe_sets
from understudy.plan.rulebook import Rulebook
from understudy.plan.state import State, read_state
from understudy.plan.strategy import Terms, terms
from understudy.plan.target import resolve
from understudy.plan.wanted import Blocked, Reading
from understudy.plan.world import Pod, Revision, World, lent


def observe(observed: Observed, rules: Rulebook) -> World | Blocked:
    """The world of one deployment that exists; Blocked if its spec cannot be read at all."""
    deployment = observed.deployment or {}
    state = read_state(deployment.get("status") or {}) or State()
    try:
        reading = _read(observed, state)
    except ValidationError as error:
        return Blocked("InvalidSpec", _first_mistake(error), passing=False)
    spec, target = reading.spec, reading.target
    snapshots = {str(s["spec"]["revision"]): s for s in observed.snapshots}
    table = view_table(observed.key.name, observed.table)
    fleet = view_fleet(observed.key, table, observed.gateways)
    grouped = _by_revision(observed.pods)
    holding = guards.holding(observed)
    guarding = guards.guarding(observed, table.table if table is not None else None)
    kept = clocks.read_starts(deployment.get("status") or {})
    agreed = terms(spec.rollout, state.frozen if state.candidate or state.previous else {})
    carrying = _carrying(state, agreed, table, spec)
    stamps = _stamps(observed, spec, state, target, table, fleet, grouped, kept, carrying)
    if guarding.blocked is not None:
        stamps[f"blocked:{guarding.blocked.reason}"] = None
    began = {**kept, **_losses(state, grouped, carrying)}
    running = clocks.advance(observed.memory, observed.now, stamps, began)
    revisions = _revisions(observed, rules, spec, state, snapshots, grouped, running)
    world = World(
        observed=observed,
        rules=rules,
        reading=reading,
        state=state,
        terms=agreed,
        revisions=revisions,
        table=table,
        fleet=fleet,
        programmed=programmed(fleet, table),
        clocks=running,
        evidence=None,
        cursors={},
        window=(),
        comparisons={},
        tallies={},
        judged="",
        glances=(),
        guarded=bool(holding),
        rungs=rungs_of(holding),
        probe_sets=probe_sets(holding),
        guarding=guarding,
    )
    return followed(trial.weigh(world))


def _read(observed: Observed, state: State) -> Reading:
    """The spec read and resolved, from memory if nothing that goes into it has changed."""
    deployment = observed.deployment or {}
    inputs = (
        deployment.get("spec"),
        (observed.model or {}).get("spec"),
        observed.references,
        observed.settings,
        tuple(s["spec"] for s in observed.snapshots),
        state.live(),
    )
    old = observed.memory.reading if observed.memory is not None else None
    if old is not None and old.inputs == inputs:
        return old
    spec = ModelDeploymentSpec.model_validate(deployment.get("spec") or {})
    return Reading(inputs, spec, resolve(observed, spec, state))


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"spec.{where}: {first['msg']}"


def _by_revision(pods: Iterable[Object]) -> dict[str, list[Object]]:
    grouped: dict[str, list[Object]] = {}
    for pod in pods:
        # A pod that has ended holds nothing and serves nobody; the ReplicaSet replaces it.
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            grouped.setdefault((pod["metadata"].get("labels") or {}).get(LABEL_REVISION, ""), []).append(pod)
    return grouped


def _stamps(
    observed: Observed,
    spec: ModelDeploymentSpec,
    state: State,
    target: object,
    table: TableView | None,
    fleet: Fleet,
    grouped: Mapping[str, list[Object]],
    kept: Mapping[str, float],
    carrying: int,
) -> dict[str, float | None]:
    """Which clocks run now, and since when where an object says so."""
    stamps: dict[str, float | None] = {}
    for pod in (pod for pods in grouped.values() for pod in pods):
        stamps.update(_pod_stamps(pod))
    serving = {r: sum(_is_serving(p) for p in pods) for r, pods in grouped.items()}
    weights = table.weights() if table is not None else {}
    if state.stable and spec.replicas and not serving.get(state.stable):
        stamps["stable-down"] = None
    # While stable has no pod either (an outage took both), going back to it would help nobody.
    if serving.get(state.stable) and serving.get(state.candidate, 0) < carrying:
        stamps["thin"] = None
    if state.stable and not any(_completed(observed, pod) for pod in grouped.get(state.stable, ())):
        stamps["unanswered"] = None
    if fleet.settling:
        stamps["settling"] = None
    if state.recalled:
        stamps["recalled"] = None
    if state.lent and _in_vain(state, spec, grouped):
        stamps["idle"] = None
    if isinstance(target, Blocked):
        stamps[f"blocked:{target.reason}"] = None
    sure = fleet.acknowledged or fleet.size == 0
    # A new operator has not heard of the gateways yet, a new gateway has no table yet: a drain that runs goes on.
    draining = (r for r in observed.pools if sure or (fleet.settling and f"drain:{r}" in kept))
    stamps.update({f"drain:{r}": None for r in draining if r not in weights})
    if state.phase == "Preparing" and state.candidate in weights:
        stamps["shown"] = None
    for pod in grouped.get(state.candidate, ()):
        stamps.update(_ready_since(pod))
    wanted = (*(spec.served_names or (observed.key.name,)), str(observed.key))
    if table is not None and table.table is not None:
        stamps.update({f"drop:{n}": None for n in table.table.served_names if n not in wanted})
    return stamps


def _ready_since(pod: Object) -> dict[str, float | None]:
    """Since when a pod could be asked who it is, if it can."""
    if not is_ready(pod):
        return {}
    return {f"ready:{pod['metadata']['uid']}": _instant(condition(pod["status"], "Ready").get("lastTransitionTime"))}


def _in_vain(state: State, spec: ModelDeploymentSpec, grouped: Mapping[str, list[Object]]) -> bool:
    """The pods that stable has lent are gone, and a pod of the candidate has no node all the same."""
    statuses = (pod.get("status") or {} for pod in grouped.get(state.candidate, ()))
    waiting = any(condition(status, "PodScheduled").get("status") != "True" for status in statuses)
    return waiting and len(grouped.get(state.stable, ())) + state.lent <= spec.replicas


def _carrying(state: State, agreed: Terms, table: TableView | None, spec: ModelDeploymentSpec) -> int:
    """Pods that the candidate's share in the table needs."""
    share = max(table.weights().get(state.candidate, 0), table.copied(state.candidate)) if table is not None else 0
    return -(-share * (spec.replicas - lent(state, agreed, spec.replicas)) // 100)


def _losses(state: State, grouped: Mapping[str, list[Object]], carrying: int) -> dict[str, float]:
    """Since when (Unix seconds) there are too few pods, as far as those that are there tell."""
    found = {
        "stable-down": _short_since(grouped.get(state.stable, ()), 1),
        "thin": _short_since(grouped.get(state.candidate, ()), carrying),
    }
    return {name: since for name, since in found.items() if since is not None}


def _short_since(pods: Sequence[Object], need: int) -> float | None:
    """Since when fewer than `need` pods are ready: since the last one that could be missed became unready.

    A pod that took a deleted one's place has been unready since it was made. None while nothing tells.
    """
    there = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    since = sorted(
        _instant(condition(pod.get("status") or {}, "Ready").get("lastTransitionTime"))
        or instant(pod["metadata"]["creationTimestamp"])
        for pod in there
        if not is_ready(pod)
    )
    spare = len(there) - need
    return since[spare] if 0 <= spare < len(since) else None


def _pod_stamps(pod: Object) -> dict[str, float | None]:
    uid, status = pod["metadata"]["uid"], pod.get("status") or {}
    if is_ready(pod):
        return {}
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") != "True":
        return {f"pending:{uid}": _instant(pod["metadata"].get("creationTimestamp"))}
    return {
        f"start:{uid}": _instant(scheduled.get("lastTransitionTime")),
        f"unready:{uid}": _instant(condition(status, "Ready").get("lastTransitionTime")),
    }


def _revisions(
    observed: Observed,
    rules: Rulebook,
    spec: ModelDeploymentSpec,
    state: State,
    snapshots: Mapping[str, Object],
    grouped: Mapping[str, list[Object]],
    running: Mapping[str, Clock],
) -> dict[str, Revision]:
    lost = _lost_nodes(observed)
    names = {*snapshots, *observed.pools, *observed.services, *observed.engine_keys, *grouped}
    return {
        name: Revision(
            name=name,
            pool=observed.pools.get(name),
            service=observed.services.get(name),
            engine_key=observed.engine_keys.get(name),
            snapshot=snapshots.get(name),
            wanted=_wanted(observed.pools.get(name)),
            told=_told(observed.pools.get(name)),
            pods=tuple(
                _pod(
                    pod,
                    rules,
                    lost(pod),
                    state.restarts,
                    _start_deadline(snapshots.get(name), spec),
                    running,
                    observed.probes,
                )
                for pod in grouped.get(name, ())
            ),
        )
        for name in sorted(names)
        if name
    }


def _wanted(pool: Object | None) -> int:
    return int((pool.get("spec") or {}).get("replicas", 0)) if pool is not None else 0


def _told(pool: Object | None) -> int:
    """The replicas that the operator wrote; of a pool that does not say, those that it has."""
    annotations = (pool["metadata"].get("annotations") or {}) if pool is not None else {}
    said = str(annotations.get(ANNOTATION_REPLICAS, ""))
    return int(said) if said.isdecimal() else _wanted(pool)


def _start_deadline(snapshot: Object | None, spec: ModelDeploymentSpec) -> float:
    """Seconds from PodScheduled: as recorded when the revision was prepared, by today's spec if its record is lost."""
    recorded = float(snapshot["spec"].get("startDeadlineSeconds", 0.0)) if snapshot is not None else 0.0
    return recorded or seconds(spec.engine.startup_timeout) + START_MARGIN


def _pod(
    pod: Object,
    rules: Rulebook,
    node_lost: bool,
    restarts: Mapping[str, int],
    deadline: float,
    running: Mapping[str, Clock],
    reports: Mapping[str, ProbeReport],
) -> Pod:
    uid, status = pod["metadata"]["uid"], pod.get("status") or {}
    report = reports.get(uid)
    facts = PodFacts(
        name=pod["metadata"]["name"],
        status=status,
        terminating="deletionTimestamp" in pod["metadata"],
        node_lost=node_lost,
        restarted=restarts.get(uid, 0),
        scheduled_for=_elapsed(running, f"start:{uid}"),
        unready_for=_elapsed(running, f"unready:{uid}"),
        start_deadline=deadline,
    )
    serving = facts.ready and not facts.disrupted
    scheduled = condition(status, "PodScheduled")
    return Pod(
        uid=uid,
        name=facts.name,
        address=str(status.get("podIP", "")),
        serving=serving,
        proven=serving and report is not None and _answers(report),
        disrupted=facts.disrupted,
        waiting_for=_elapsed(running, f"pending:{uid}"),
        unschedulable=str(scheduled.get("message", "")) if scheduled.get("reason") == "Unschedulable" else "",
        restarts=int(facts.engine.get("restartCount", 0)),
        image_id=str(facts.engine.get("imageID", "")),
        fault=fault_of(facts, rules.pod_faults),
        report=report,
    )


def _lost_nodes(observed: Observed) -> Any:
    """A function of a pod: whether its node is known to be gone or not ready."""
    ready = {node["metadata"]["name"]: is_ready(node) for node in observed.nodes}

    def lost(pod: Object) -> bool:
        node = (pod.get("spec") or {}).get("nodeName")
        return bool(ready and node) and not ready.get(node, False)

    return lost


def _is_serving(pod: Object) -> bool:
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _answers(report: ProbeReport) -> bool:
    """It said who it is, completed something, and the latest run of every prompt went well."""
    latest = {run.name: run.ok for run in report.recent}
    return report.identity == "ok" and report.completed_at is not None and all(latest.values())


def _completed(observed: Observed, pod: Object) -> bool:
    report = observed.probes.get(pod["metadata"]["uid"])
    return report is not None and report.completed_at is not None


def _elapsed(running: Mapping[str, Clock], name: str) -> float | None:
    clock = running.get(name)
    return clock.elapsed if clock is not None else None


def _instant(text: str | None) -> float | None:
    return instant(text) if text else None
