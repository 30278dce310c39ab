"""The parts of the simulated cluster: how an image behaves, a pod, a gateway, and a pod as the API server shows it."""

from dataclasses import dataclass, field
from typing import Any

from understudy.domain.duration import stamp
from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.domain.state import GatewayState
from understudy.domain.table import Table, parse_table
from understudy.plan.observed import Object
from understudy.plan.replay import Spoken

DEPLOYMENT = "story"

_READ: dict[int, tuple[Object, Table]] = {}


class ApiConflictError(Exception):
    """The API server refuses a write whose precondition does not hold."""


@dataclass
class Behaviour:
    """How pods of an image behave. Times are in seconds."""

    start: float = 2.0
    exit_code: int | None = None  # the engine ends so, `start` seconds after it began
    oom: bool = False
    pull: tuple[str, str] | None = None  # reason and message of a pull that fails
    identity: str = "ok"
    no_tls: str = ""  # why the operator's TLS with it comes to nothing
    fails_prompt: bool = False
    unhealthy: bool = False  # the readiness probe fails
    error_rate: float = 0.0
    bad: dict[str, float] = field(default_factory=dict)  # share of bad attempts, by metric but for errors
    findings: dict[str, float] = field(default_factory=dict)  # share of turns in which a Guardrail finds this
    says: dict[str, Spoken] = field(default_factory=dict)  # to which prompts of probe sets, but for nothing wrong
    acted: float = 0.0  # share of turns in which it changes the answer
    image_id: str = ""  # what a pull comes to now; the image's own by default


@dataclass
class Pod:
    """One pod as it is, not as anybody sees it."""

    uid: str
    name: str
    revision: str
    image: str
    created: float
    node: str = ""
    scheduled: float | None = None
    started: float | None = None
    ready: bool = False
    turned: float = 0.0  # when Ready last changed
    deleted: float | None = None
    disrupted: bool = False
    restarts: int = 0
    ended: dict[str, Any] | None = None
    image_id: str = ""


@dataclass
class Gateway:
    """One gateway process: the table it serves by and what it has counted."""

    uid: str
    name: str
    start_id: str
    began: float
    lag: float = 0.2
    silent: bool = False
    table: Object | None = None
    seen_at: float = 0.0
    pending: tuple[float, Object | None] | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    bad: dict[tuple[str, str], int] = field(default_factory=dict)  # by revision and metric
    open: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)  # by shadow
    bad_pairs: dict[tuple[str, str, str], int] = field(default_factory=dict)  # by shadow, who was bad, and metric
    turns: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, str], int] = field(default_factory=dict)  # by revision and what was found
    acted: dict[str, int] = field(default_factory=dict)
    cut: int = 0  # streams that were ended because the table said so
    cuts: bool = True
    refuses: str = ""  # why it loads no policy
    answered: tuple[float, GatewayState] | None = None


def pod_object(pod: Pod, behaviour: Behaviour, capacity: int, now: float) -> Object:
    """The pod as the API server shows it; `now` is Unix seconds."""
    scheduled: dict[str, Any] = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(pod.created)}
    if pod.scheduled is None:
        why = f"0/2 nodes are available: {capacity} slots are taken"
        scheduled |= {"status": "False", "reason": "Unschedulable", "message": why}
    else:
        scheduled["lastTransitionTime"] = stamp(pod.scheduled)
    ready = {"type": "Ready", "status": str(pod.ready), "lastTransitionTime": stamp(pod.turned)}
    conditions = [scheduled, ready]
    if pod.disrupted:
        conditions.append({"type": "DisruptionTarget", "status": "True"})
    state: dict[str, Any] = {}
    if pod.scheduled is not None and behaviour.pull is not None and pod.started is None:
        state = {"waiting": {"reason": behaviour.pull[0], "message": behaviour.pull[1]}}
    elif pod.started is not None:
        state = {"running": {"startedAt": stamp(pod.started)}}
    engine: dict[str, Any] = {"name": "engine", "state": state, "restartCount": pod.restarts, "imageID": pod.image_id}
    if pod.ended:
        engine["lastState"] = {"terminated": pod.ended}
    meta: dict[str, Any] = {"name": pod.name, "uid": pod.uid, "creationTimestamp": stamp(pod.created)}
    meta["labels"] = {LABEL_DEPLOYMENT: DEPLOYMENT, LABEL_REVISION: pod.revision}
    if pod.deleted is not None:
        meta["deletionTimestamp"] = stamp(now)
    status: dict[str, Any] = {"phase": "Running" if pod.started else "Pending", "conditions": conditions}
    if pod.started is not None:
        status |= {"podIP": "10.0.0.1", "containerStatuses": [engine]}
    elif pod.scheduled is not None:
        status |= {"containerStatuses": [engine]}
    return {"metadata": meta, "spec": {"nodeName": pod.node} if pod.node else {}, "status": status}


def routing(table: Object) -> Table:
    """What a stored RoutingTable says; it is replaced and never changed, so that it need be read only once."""
    spec = table["spec"]
    known = _READ.get(id(spec))
    if known is None or known[0] is not spec:
        if len(_READ) > 100:
            _READ.clear()
        known = _READ[id(spec)] = (spec, parse_table(DEPLOYMENT, spec))
    return known[1]
