"""The planner run a few passes ahead, in memory: what the operator would write before it has to wait for anybody.

Each pass is the real `plan`; its writes are put into the next observation as the API server would store them. What
only the world can do does not happen here: no pod starts, no gateway takes up a table, no time goes by.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from understudy.domain.names import LABEL_REVISION
from understudy.domain.state import LOADED, DeploymentState, GatewayState, RevisionState
from understudy.domain.table import parse_table
from understudy.plan.actions import Action, Apply, Delete, Plan
from understudy.plan.guards import published
from understudy.plan.observed import GatewayPod, Object, Observed, ProbeReport
from understudy.plan.planner import plan
from understudy.plan.programmed import view_table
from understudy.plan.state import State, read_state

# More than any way from one rest to the next wait; a plan that still writes then is cut off.
PASSES: Final = 8
_CHILDREN: Final[Mapping[str, Literal["pools", "services", "engine_keys"]]] = {
    "Deployment": "pools",
    "Service": "services",
    "Secret": "engine_keys",
}


@dataclass(frozen=True, slots=True)
class Write:
    """One write that would be made, and what it is for."""

    verb: Literal["create", "change", "delete"]
    kind: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The writes in their order, and the status after the last pass."""

    writes: tuple[Write, ...]
    status: Mapping[str, Any]


def rehearse(observed: Observed) -> Rehearsal:
    """Passes of the planner until nothing more happens by itself."""
    world = _attended(observed)
    writes: list[Write] = []
    for _ in range(PASSES):
        made = plan(world)
        fresh = [write for action in made.actions if (write := _write(world, action)) is not None]
        after = _carried_out(world, made)
        writes += fresh
        if not fresh and _registers(after) == _registers(world):
            break
        world = after
    return Rehearsal(tuple(writes), (after.deployment or {}).get("status") or {})


def _attended(observed: Observed) -> Observed:
    """With a gateway that serves by the table as it is, enforces every policy, and pods that answer if they are ready.

    A table or a pod of the rehearsal itself is never taken up: that is where it ends.
    """
    table = view_table(observed.key.name, observed.table)
    served = {str(observed.key): _serving(table.uid, table.generation, observed)} if table is not None else {}
    policies = [guard.policy for guardrail in observed.guardrails if (guard := published(guardrail)) is not None]
    state = GatewayState("rehearsal", 1e6, served, dict.fromkeys(policies, LOADED))
    gateway = GatewayPod("rehearsal", "gateway", state, 0.0)
    now = observed.now.monotonic
    reports = {uid: ProbeReport(uid, "ok", now) for uid in (str(pod["metadata"]["uid"]) for pod in observed.pods)}
    return replace(observed, gateways=(gateway,), probes=reports)


def _serving(uid: str, generation: int, observed: Observed) -> DeploymentState:
    """Every revision may have open requests, but for a candidate that never had a share."""
    state = _registers(observed)
    fresh = state.candidate if state is not None and not state.exposed else ""
    answers = {r: RevisionState(open_requests=int(r != fresh), usable_endpoints=1) for r in observed.pools}
    return DeploymentState(uid, generation, revisions=answers)


def _registers(observed: Observed) -> State | None:
    return read_state((observed.deployment or {}).get("status") or {})


def _write(world: Observed, action: Action) -> Write | None:
    """The write that an action comes to; None for one that would change nothing, and for bookkeeping."""
    if isinstance(action, Delete):
        return Write("delete", action.kind, action.name, action.why)
    if not isinstance(action, Apply) or action.subresource:
        return None
    kind, name = str(action.obj["kind"]), str(action.obj["metadata"]["name"])
    before = _stored(world, action.obj)
    if before is None:
        return Write("create", kind, name, action.why)
    return Write("change", kind, name, action.why) if _differs(kind, before, action.obj) else None


def _stored(world: Observed, obj: Object) -> Object | None:
    kind, meta = obj["kind"], obj["metadata"]
    if kind in _CHILDREN:
        return _by_revision(world, kind).get(meta["labels"][LABEL_REVISION])
    if kind == "RoutingTable":
        return world.table
    if kind == "NetworkPolicy":
        return world.policy
    if kind == "ModelSnapshot":
        return next((s for s in world.snapshots if s["metadata"]["name"] == meta["name"]), None)
    return world.configmaps.get(meta["name"])


def _differs(kind: str, before: Object, after: Object) -> bool:
    """What of a child moves in its life: a pool's replicas, and the table."""
    if kind == "Deployment":
        return bool(before["spec"].get("replicas", 1) != after["spec"]["replicas"])
    if kind == "RoutingTable":
        name = before["metadata"]["name"]
        return parse_table(name, before["spec"]) != parse_table(name, after["spec"])
    return False


def _carried_out(world: Observed, made: Plan) -> Observed:
    for action in made.actions:
        if isinstance(action, Delete):
            world = _without(world, action)
        elif isinstance(action, Apply) and not action.subresource:
            world = _with(world, action.obj)
    return replace(world, deployment={**(world.deployment or {}), "status": made.status or {}}, memory=made.memory)


def _with(world: Observed, obj: Object) -> Observed:
    before, kind = _stored(world, obj), obj["kind"]
    if before is not None and not _differs(kind, before, obj):
        return world
    old = before["metadata"] if before is not None else {}
    stamps = {
        "uid": old.get("uid", f"new-{obj['metadata']['name']}"),
        "resourceVersion": old.get("resourceVersion", "0"),
        "generation": int(old.get("generation", 0)) + 1,
    }
    stored = {**(before or {}), **obj, "metadata": {**obj["metadata"], **stamps}}
    if kind in _CHILDREN:
        return _replaced(world, kind, {**_by_revision(world, kind), obj["metadata"]["labels"][LABEL_REVISION]: stored})
    if kind == "RoutingTable":
        return replace(world, table=stored)
    if kind == "NetworkPolicy":
        return replace(world, policy=stored)
    if kind == "ModelSnapshot":
        return replace(world, snapshots=(*world.snapshots, stored))
    return replace(world, configmaps={**world.configmaps, obj["metadata"]["name"]: stored})


def _without(world: Observed, action: Delete) -> Observed:
    if action.kind in _CHILDREN:
        kept = {r: o for r, o in _by_revision(world, action.kind).items() if o["metadata"]["name"] != action.name}
        return _replaced(world, action.kind, kept)
    if action.kind == "NetworkPolicy":
        return replace(world, policy=None)
    if action.kind == "ModelSnapshot":
        return replace(world, snapshots=tuple(s for s in world.snapshots if s["metadata"]["name"] != action.name))
    return replace(world, configmaps={n: o for n, o in world.configmaps.items() if n != action.name})


def _by_revision(world: Observed, kind: str) -> Mapping[str, Object]:
    return {"pools": world.pools, "services": world.services, "engine_keys": world.engine_keys}[_CHILDREN[kind]]


def _replaced(world: Observed, kind: str, children: Mapping[str, Object]) -> Observed:
    match _CHILDREN[kind]:
        case "pools":
            return replace(world, pools=children)
        case "services":
            return replace(world, services=children)
        case "engine_keys":
            return replace(world, engine_keys=children)
