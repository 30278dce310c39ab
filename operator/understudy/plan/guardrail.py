"""What to do about one Guardrail: its policy into ConfigMaps, and the status that says what of it holds.

    spec, texts of ConfigMaps ─► policy ─► compiles? ─ yes ─► its parts are written, then the status names them
                                              │ no                              │
                                              ▼                                 ▼
                                 what compiled last goes on        tables name them, gateways load them

The status is what deployments read (`guards.py`), so it names no part that has not been written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from understudy.domain.conditions import Condition, find, transition
from understudy.domain.duration import instant
from understudy.domain.key import Key
from understudy.domain.names import guard_shard
from understudy.domain.state import DeploymentState
from understudy.domain.table import Guard
from understudy.guard.policy import is_open
from understudy.plan import detectors
from understudy.plan.actions import Action, Apply, Delete
from understudy.plan.decision import PATIENCE
from understudy.plan.desired.shards import shard_manifest
from understudy.plan.guards import published, unloaded
from understudy.plan.observed import GatewayPod, Now, Object
from understudy.plan.programmed import FRESH, view_table

# Seconds that a part stays after the last table has named it: a gateway may be about to load what it saw named.
LINGER: Final = 3600.0
# Seconds until the next look: while gateways have yet to load something, and when nothing is expected.
SOON: Final = 2.0
CALM: Final = 30.0
_UNKNOWN: Final = DeploymentState()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What compiling came to: all that is wrong with it, or what is guaranteed by category, and its parts."""

    problems: tuple[str, ...] = ()
    guarantees: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Probes:
    """A probe set that can be replayed: the key in its ConfigMap, the SHA-256 of its text, how many prompts."""

    key: str
    hash: str
    prompts: int


@dataclass(frozen=True, slots=True)
class User:
    """A deployment for which the Guardrail holds, and its table if it has one."""

    key: Key
    table: Object | None


@dataclass(frozen=True, slots=True)
class ObservedGuardrail:
    """Everything that a plan for one Guardrail may look at.

    `guardrail` is None once it is gone. `policy` is the hash of what it says now, "" while `missing` says which text it
    lacks. `probes` is its probe set as it was read, and `mistake` why it cannot be. `verdict` is None while it is being
    compiled, or need not be. `shards` are the ConfigMaps with parts of its policies, of whichever age, `named` those
    that a table names. `served` are the names by which ModelDeployments of its namespace are asked. `unused` is what
    the last plan said of parts.
    """

    key: Key
    now: Now
    guardrail: Object | None
    policy: str = ""
    missing: str = ""
    probes: Probes | None = None
    mistake: str = ""
    verdict: Verdict | None = None
    shards: Mapping[str, Object] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    users: tuple[User, ...] = ()
    served: frozenset[str] = frozenset()
    gateways: tuple[GatewayPod, ...] = ()
    unused: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuardrailPlan:
    """What to do now, in order, and the whole status, None once it is gone.

    `unused` is since when (Now.monotonic) parts have been named by nobody. `requeue_after` is in seconds, None when
    there is nothing left to do.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    unused: Mapping[str, float] = field(default_factory=dict)
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class _Judgement:
    """Where the spec stands: "" for one whose policy is published, else in a word and a sentence why it is not."""

    reason: str = ""
    message: str = ""
    passing: bool = False


def needs_verdict(observed: ObservedGuardrail) -> bool:
    """Whether the policy has to be compiled: the status does not say that it did, or a part of it is not there."""
    status = (observed.guardrail or {}).get("status") or {}
    guard = published(observed.guardrail) if observed.guardrail is not None else None
    there = guard is not None and guard.policy == observed.policy and observed.shards.keys() >= set(guard.shards)
    ready = find(status.get("conditions") or (), "Ready") or {}
    return bool(observed.policy) and not (there and ready.get("status") == "True")


def plan_guardrail(observed: ObservedGuardrail) -> GuardrailPlan:
    """The parts that are missing, those that nobody needs any more, and the status."""
    guardrail = observed.guardrail
    if guardrail is None or "deletionTimestamp" in guardrail["metadata"]:
        return _swept(observed, GuardrailPlan(), frozenset())
    judged = _judged(observed, guardrail)
    guard = published(guardrail) if judged.reason else _published_now(observed, guardrail)
    verdict = observed.verdict or Verdict(guarantees=(guardrail.get("status") or {}).get("guarantees") or {})
    writes = () if judged.reason else tuple(_missing(observed, verdict))
    said = _conditions(observed, guardrail, judged, guard)
    before, generation = guardrail.get("status") or {}, int(guardrail["metadata"].get("generation", 0))
    guarantees = before.get("guarantees") or {} if judged.reason else dict(verdict.guarantees)
    status = {
        "observedGeneration": generation,
        **(_named(guard) if guard is not None else {}),
        "guarantees": guarantees,
        **({"probeSet": asdict(observed.probes)} if observed.probes is not None else {}),
        "conditions": transition(before.get("conditions") or (), said, generation, observed.now.wall),
    }
    enforcing = next(c for c in said if c.type == "Enforcing")
    settled = judged.reason == "InvalidSpec" or not (judged.reason or observed.users)
    again = CALM if enforcing.status == "True" or settled else SOON
    plan = GuardrailPlan(writes, status, requeue_after=again)
    return _swept(observed, plan, frozenset(guard.shards) if guard is not None else frozenset())


def _judged(observed: ObservedGuardrail, guardrail: Object) -> _Judgement:
    if observed.missing:
        return _Judgement("ConfigMapNotFound", observed.missing, passing=not _patience_over(observed, guardrail))
    if guardrail["spec"].get("revokeBefore") == observed.policy:
        message = (
            "spec.revokeBefore names this policy itself, so every stream would end: write the hash of the one that it "
            "replaced, which status.policyHash had before, or remove it"
        )
        return _Judgement("InvalidSpec", message)
    if observed.mistake:
        return _Judgement("InvalidSpec", observed.mistake)
    if observed.verdict is not None and observed.verdict.problems:
        return _Judgement("InvalidSpec", "; ".join(observed.verdict.problems))
    if observed.verdict is None and needs_verdict(observed):
        return _Judgement("Compiling", "the policy is being compiled", passing=True)
    return _Judgement()


def _patience_over(observed: ObservedGuardrail, guardrail: Object) -> bool:
    """Apply order must not fail a GitOps wave: what is missing may still come, for two minutes."""
    conditions = (guardrail.get("status") or {}).get("conditions") or ()
    stalled, waiting = (find(conditions, kind) or {} for kind in ("Stalled", "Reconciling"))
    if (stalled.get("status"), stalled.get("reason")) == ("True", "ConfigMapNotFound"):
        return True
    if (waiting.get("status"), waiting.get("reason")) != ("True", "ConfigMapNotFound"):
        return False
    return observed.now.wall - instant(waiting["lastTransitionTime"]) >= PATIENCE


def _published_now(observed: ObservedGuardrail, guardrail: Object) -> Guard:
    name, spec = observed.key.name, guardrail["spec"]
    before = published(guardrail)
    if observed.verdict is not None:
        shards = tuple(guard_shard(name, observed.policy, n) for n in range(len(observed.verdict.parts)))
    else:
        shards = before.shards if before is not None else ()
    return Guard(name, observed.policy, shards, is_open(spec), str(spec.get("revokeBefore") or ""))


def _named(guard: Guard) -> dict[str, Any]:
    return {
        "policyHash": guard.policy,
        "shards": list(guard.shards),
        **({"failOpen": True} if guard.open else {}),
        **({"revokeBefore": guard.revoke_before} if guard.revoke_before else {}),
    }


def _missing(observed: ObservedGuardrail, verdict: Verdict) -> Iterator[Action]:
    """The parts that are not there yet; one that is there never changes."""
    for number, part in enumerate(verdict.parts):
        shard = guard_shard(observed.key.name, observed.policy, number)
        if shard not in observed.shards:
            manifest = shard_manifest(observed.key.namespace, observed.key.name, shard, part)
            yield Apply(obj=manifest, why=f"part {number} of policy {observed.policy[:8]}")


def _swept(observed: ObservedGuardrail, plan: GuardrailPlan, needed: frozenset[str]) -> GuardrailPlan:
    """The same plan, with parts deleted that neither the status nor a table has named for an hour."""
    now = observed.now.monotonic
    unused = {name: observed.unused.get(name, now) for name in observed.shards if name not in needed | observed.named}
    deletions = [_deletion(observed.shards[name]) for name, since in sorted(unused.items()) if now - since >= LINGER]
    waits = [LINGER] if unused else []
    if plan.requeue_after is not None:
        waits.append(plan.requeue_after)
    return GuardrailPlan((*plan.actions, *deletions), plan.status, unused, min(waits, default=None))


def _deletion(shard: Object) -> Delete:
    meta = shard["metadata"]
    return Delete(
        "v1", "ConfigMap", meta["namespace"], meta["name"], meta["uid"], why="no table has named it for an hour"
    )


def _conditions(
    observed: ObservedGuardrail, guardrail: Object, judged: _Judgement, guard: Guard | None
) -> list[Condition]:
    kept = f"; policy {guard.policy[:8]}, which compiled before, holds on" if guard is not None else ""
    if judged.reason:
        ready = Condition("Ready", "False", judged.reason, judged.message + kept)
    else:
        ready = Condition("Ready", "True", "Compiled", f"policy {observed.policy[:8]} is written for gateways to load")
    waits: Final = "True" if judged.reason and judged.passing else "False"
    stuck: Final = "True" if judged.reason and not judged.passing else "False"
    reason, policy = judged.reason or "Compiled", guard.policy if guard is not None else ""
    return [
        ready,
        Condition("Reconciling", waits, reason, judged.message if judged.passing else ""),
        Condition("Stalled", stuck, reason, judged.message + kept if stuck == "True" else ""),
        detectors.judged(observed.key, guardrail, policy, observed.gateways, used=bool(observed.users)),
        _enforcing(observed, guardrail, guard),
    ]


def _enforcing(observed: ObservedGuardrail, guardrail: Object, guard: Guard | None) -> Condition:
    """Every ready gateway enforces the policy on every deployment for which it holds; it speaks of new streams."""
    reason, message = _unenforced(observed, guardrail, guard)
    if reason:
        return Condition("Enforcing", "False", reason, message)
    names = ", ".join(user.key.name for user in observed.users[:10])
    more = f" and {len(observed.users) - 10} more" if len(observed.users) > 10 else ""
    return Condition("Enforcing", "True", "Enforced", f"every gateway enforces it on {names}{more}")


def _unenforced(observed: ObservedGuardrail, guardrail: Object, guard: Guard | None) -> tuple[str, str]:
    """Why not, in a word and a sentence; twice "" if it is."""
    if guard is None:
        return "NoPolicy", "no policy has been compiled yet"
    if not observed.users:
        return "NotUsed", "no ModelDeployment of this namespace names it, and none is selected"
    nowhere = next(_nowhere(observed, guardrail["spec"].get("ladder") or ()), "")
    if nowhere:
        return "TargetNotFound", nowhere
    ready = [pod for pod in observed.gateways if pod.ready]
    if not ready:
        return "NoGateway", "there is no gateway that is ready"
    silent = next((pod.name for pod in ready if pod.state is None or pod.age > FRESH), "")
    if silent:
        return "NoAnswer", f"no answer from gateway {silent}"
    why = next(_unserved(observed.users, guard, ready), "")
    if why:
        return "NotProgrammed", why
    why = unloaded([guard], ready)
    return ("NotLoaded", why) if why else ("", "")


def _nowhere(observed: ObservedGuardrail, ladder: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Rungs that switch to a model that nobody serves."""
    for number, rung in enumerate(ladder):
        name = rung.get("to", "")
        if name and name not in observed.served:
            yield (
                f"ladder[{number}].to: no ModelDeployment of namespace {observed.key.namespace} is called {name!r} or "
                "serves that name: make one, or write another; until then whom it switches is not served, unless "
                "failurePolicy is Open"
            )


def _unserved(users: Iterable[User], guard: Guard, gateways: Sequence[GatewayPod]) -> Iterator[str]:
    """What does not serve by a table that names the policy."""
    for user in users:
        view = view_table(user.key.name, user.table)
        if view is None or view.table is None or guard not in view.table.guards:
            yield f"the routing table of ModelDeployment {user.key.name} does not name the policy yet"
        else:
            behind = (pod.name for pod in gateways if _served(pod, user.key) != (view.uid, view.generation))
            yield from (
                f"gateway {name} does not serve ModelDeployment {user.key.name} by the table that names it"
                for name in behind
            )


def _served(pod: GatewayPod, key: Key) -> tuple[str, int]:
    """The version of the deployment's table that a gateway serves by."""
    told = pod.state.deployments.get(str(key), _UNKNOWN) if pod.state is not None else _UNKNOWN
    return told.table_uid, told.table_generation
