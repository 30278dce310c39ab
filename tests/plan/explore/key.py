"""When two simulated worlds count as one: everything that a decision looks at, with times and counters in buckets.

Left out are names, versions and numbers that only tell one object from another (uids, resource versions, the number
of a rollout or of a promotion), the order of histories, and sentences. A time is kept as which of the deadlines that
it is compared with are over; a counter as which of its bounds it has reached. `search.py` samples worlds that were
taken for one that was known, and compares what can follow from both.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from tests.plan.explore.fork import Node
from tests.plan.parts import Gateway, Pod, routing
from tests.plan.world import GRACE, NAME, Cluster, Ref
from understudy.domain.duration import instant
from understudy.domain.names import ANNOTATION_REPLICAS
from understudy.plan.capacity import LATE_TO_LEND, LATE_TO_RECALL, REST
from understudy.plan.evidence import read_record
from understudy.plan.load import SPAN, load, part
from understudy.plan.memory import Evidence, Memory
from understudy.plan.observed import Object
from understudy.plan.state import ROLLED_BACK, UNSAFE, State, read_state
from understudy.plan.trial import tag_of, trial_name

# Seconds: the patience with lost pods, the drain and the scheduling deadline of these worlds are all this long.
PATIENCE = 30.0
UNREADY, STARTED = 5.0, 61.0
SAMPLES = 5
# Clocks that only sentences and conditions depend on.
SAID = ("unanswered", "settling")


def key_of(node: Node) -> Hashable:
    """What tells this world from others."""
    cluster = node.cluster
    state = read_state(cluster.status) or State()
    return (
        node.left,
        _stored(cluster, cluster.objects),
        tuple(_stored(cluster, cluster.past[-1 - i]) for i in range(min(node.stale, len(cluster.past)))),
        tuple(sorted(_pod(cluster, pod, state) for pod in cluster.pods.values())),
        tuple(sorted(cluster.nodes.items())),
        cluster.capacity,
        cluster.pod_rate,
        tuple(sorted((image, repr(how)) for image, how in cluster.behaviours.items())),
        tuple(sorted(_gateway(cluster, gateway, state) for gateway in cluster.gateways)),
        _recorded(cluster, state),
        _memory(cluster.memory, state, cluster.process),
        cluster.long_streams,
        _replayed(cluster),
        _audited(node, state),
    )


def level(value: float, *bounds: float) -> int:
    """How many of the bounds are reached."""
    return sum(value >= bound for bound in bounds)


def _replayed(cluster: Cluster) -> Hashable:
    """What is known of the answers to probe sets, and what is being asked."""
    known, asked = cluster.replayed, cluster.last.replay
    if known is None:
        return cluster.unjudged, None
    sets = tuple((name, repr(report)) for name, report in sorted(known.sets.items()))
    there = (bool(asked.subjects), bool(asked.others)) if asked is not None else ()
    return cluster.unjudged, known.matter.revision, known.matter.against, sets, there


def _stored(cluster: Cluster, objects: Mapping[Ref, Object]) -> Hashable:
    """What the API server has, or had."""
    deployment = objects["ModelDeployment", NAME]
    status = deployment.get("status") or {}
    return (
        _spec(deployment),
        ("Model", "tiny") in objects,
        _registers(read_state(status) or State()),
        _since(cluster, status),
        _table(objects.get(("RoutingTable", NAME))),
        _children(objects),
    )


def _spec(deployment: Object) -> Hashable:
    spec, status = deployment["spec"], deployment.get("status") or {}
    request = (deployment["metadata"].get("annotations") or {}).get("understudy.dev/request", "")
    pending = request.partition(";")[0] if request != status.get("lastHandledRequest", "") else ""
    rollout = spec["rollout"]
    return spec["engine"]["image"], spec["replicas"], rollout.get("strategy", ""), "shadow" in rollout, pending


def _registers(state: State) -> Hashable:
    telling = (*UNSAFE, ROLLED_BACK)
    failed = sorted((f.revision, f.reason if f.reason in telling else "", f.left) for f in state.failed)
    frozen = state.frozen.get("strategy", ""), (state.frozen.get("capacity") or {}).get("mode", "")
    place = (state.phase, state.stable, state.candidate, state.previous, state.weight)
    loan = (state.lent, state.kept, state.recalled)
    orders = (state.pinned, state.paused, state.acted, state.exposed, state.skip_to)
    return (*place, *loan, *orders, frozen, tuple(failed))


def _since(cluster: Cluster, status: Mapping[str, Any]) -> Hashable:
    """Which of the clocks that the status keeps are over."""
    kept = (status.get("rollout") or {}).get("since") or {}
    return tuple(sorted((name, level(cluster.wall - instant(start), PATIENCE, REST)) for name, start in kept.items()))


def _table(table: Object | None) -> Hashable:
    if table is None:
        return None
    parsed = routing(table)
    return tuple((v.revision, v.track, v.weight) for v in parsed.variants), parsed.salt, parsed.cut


def _children(objects: Mapping[Ref, Object]) -> Hashable:
    found = []
    for (kind, name), obj in objects.items():
        if kind == "Deployment":
            told = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_REPLICAS, "")
            found.append((kind, name, obj["spec"]["replicas"], str(told)))
        elif kind in ("Service", "Secret", "ModelSnapshot"):
            found.append((kind, name, 0, ""))
    return tuple(sorted(found))


def _pod(cluster: Cluster, pod: Pod, state: State) -> tuple[Any, ...]:
    now = cluster.wall
    if pod.deleted is not None:
        return (pod.revision, False, level(cluster.true_time - pod.deleted, GRACE))
    fresh = pod.restarts > state.restarts.get(pod.uid, 0)
    report = cluster.reports.get(pod.uid)
    known: tuple[Any, ...] = ()
    if report is not None:
        failed = [run for run in report.recent if not run.ok]
        known = (report.identity, report.completed_at is not None, len(failed), all(r.other_ok for r in failed))
        known = (*known, bool(report.recent) and report.recent[-1].ok)
    return (
        pod.revision,
        True,
        pod.ready,
        pod.disrupted,
        pod.node,
        level(now - pod.created, PATIENCE) if pod.scheduled is None else -1,
        level(now - pod.scheduled, STARTED - 40.0, STARTED) if pod.scheduled is not None and not pod.ready else -1,
        pod.started is not None and pod.turned > pod.started,
        level(now - pod.turned, UNREADY) if not pod.ready else -1,
        fresh,
        any(probe.pod_uid == pod.uid for probe in cluster.probed),
        known,
    )


def _gateway(cluster: Cluster, gateway: Gateway, state: State) -> tuple[Any, ...]:
    stored = cluster.objects.get(("RoutingTable", NAME))
    said = gateway.answered[1] if gateway.answered is not None else None
    told = next(iter(said.deployments.values())).table_generation if said is not None and said.deployments else 0
    cursors = cluster.memory.cursors if cluster.memory is not None else {}
    cursor = cursors.get(gateway.uid)
    return (
        repr(_table(gateway.table)),
        _generation(gateway.table) == _generation(stored),
        gateway.pending is not None,
        gateway.lag,
        gateway.silent,
        said is None,
        told == _generation(stored),
        tuple(sorted(revision for revision, count in gateway.open.items() if count)),
        cursor is not None and cursor.start_id == gateway.start_id,
    )


def _generation(table: Object | None) -> int:
    return int(table["metadata"]["generation"]) if table is not None else 0


def _recorded(cluster: Cluster, state: State) -> Hashable:
    """The evidence in the record of the revision on trial, if it is of this rollout."""
    subject = trial_name(state).partition("/")[2]
    snapshot = cluster.objects.get(("ModelSnapshot", f"{NAME}-{subject}")) or {}
    record = read_record(snapshot.get("status") or {})
    if record is None or not record.evidence.tag.startswith(f"{state.run}/"):
        return None
    return _evidence(record.evidence, state), len(record.cursors)


def _evidence(evidence: Evidence | None, state: State) -> Hashable:
    if evidence is None or evidence.tag != tag_of(state):
        return None
    return (
        level(evidence.lasted, PATIENCE),
        evidence.counted,
        level(evidence.soak, 2.0, 4.0),
        evidence.held,
        evidence.disturbed,
        level(evidence.subject[0], SAMPLES),
    )


def _memory(memory: Memory | None, state: State, process: str) -> Hashable:
    if memory is None or memory.process != process:
        return None
    own = memory.trial == trial_name(state)
    clocks = sorted(
        (n, level(c.elapsed, PATIENCE, REST)) for n, c in memory.clocks.items() if c.stamp is None and n not in SAID
    )
    window: frozenset[tuple[bool, bool]] = frozenset()
    if own:
        window = frozenset((_bad(b.subject), _bad(b.other)) for b in memory.window if b.subject[0])
    return tuple(clocks), own, _evidence(memory.evidence, state) if own else None, tuple(sorted(window)), _seen(memory)


def _seen(memory: Memory) -> Hashable:
    """What is known of the waiting of stable's clients."""
    seen = load(memory.glances)
    late = level(part(seen.exceeding(1.0, 1.0)), LATE_TO_LEND, LATE_TO_RECALL)
    return bool(memory.glances), level(seen.lasted, SPAN), seen.blind, late


def _bad(counts: tuple[int, int]) -> bool:
    return counts[1] > 0


def _audited(node: Node, state: State) -> Hashable:
    audit, cluster = node.audit, node.cluster
    out: Mapping[str, float] = audit._out_since
    held = {p.revision for p in cluster.pods.values()}
    drained = sorted((r, level(cluster.true_time - t, PATIENCE)) for r, t in out.items() if r in held)
    force = audit._forces.get((state.run, state.candidate, state.weight))
    proved = (level(force.lasted, 2.0), level(force.attempts, SAMPLES)) if force is not None else None
    return tuple(drained), proved, tuple(sorted(audit._shares.items())), level(audit._pairs, SAMPLES)
