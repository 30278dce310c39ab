"""The conditions of a ModelDeployment: every aspect is one small function, emitted in every status.

kstatus reads Reconciling before Stalled, so at most one of the two is True.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from understudy.domain.conditions import Condition, find
from understudy.plan.analysis import differ, hard_fault, moved
from understudy.plan.breaches import told
from understudy.plan.decision import Decision, asked
from understudy.plan.guards import Guarding, unloaded
from understudy.plan.names import taken
from understudy.plan.probing import ANSWERED
from understudy.plan.programmed import describe
from understudy.plan.snapshots import drifted
from understudy.plan.state import BREACHED, State
from understudy.plan.trial import trial_of
from understudy.plan.volumes import unserved
from understudy.plan.wanted import Blocked
from understudy.plan.world import World

MOVING: Final = ("Preparing", "Shadow", "Canary", "Promoting", "Restoring", "Reverting", "Replacing")
# What may still come, and is waited for.
WAITS: Final = ("ModelNotFound", "SecretNotFound", "ConfigMapNotFound", "GuardrailNotFound", "GuardrailPending")
# A new operator has not asked the gateways yet, a new gateway has no table yet: what was said before
# holds so long, in seconds, or every restart of either would rewrite every status twice.
SETTLING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """What conditions are judged on: the world with its new registers, the decision, stopped writes, alerts."""

    world: World
    decision: Decision
    violations: tuple[str, ...]
    alerts: tuple[Condition, ...]


def stall(case: Case) -> tuple[str, str] | None:
    """Reason and message if only a change from outside helps; what the machine waits for comes last."""
    world, decision = case.world, case.decision
    if case.violations:
        return "InvariantViolated", "; ".join(case.violations)
    if world.observed.refused:
        return "Refused", world.observed.refused
    if decision.stalled:
        return decision.reason, decision.message
    if world.guarding.blocked is not None and not world.guarding.blocked.passing:
        return world.guarding.blocked.reason, world.guarding.blocked.message
    lost = taken(world)
    if lost and decision.state.phase in ("Stable", "Watching", "RolledBack"):
        names = ", ".join(f"{name} is held by {holder}" for name, holder in sorted(lost.items()))
        return "NameTaken", f"{names}; choose another name, or let its holder drop it"
    return None


def answering(world: World) -> bool:
    """A completion of stable succeeded within the last minute, as far as a process this young can know."""
    reports = [pod.report for pod in world.stable.pods if pod.report is not None]
    done = [r.completed_at for r in reports if r.completed_at is not None]
    if done:
        return world.now.monotonic - max(done) <= ANSWERED
    before = find(world.before.get("conditions") or (), "Ready")
    return before is not None and before["status"] == "True" and world.elapsed("unanswered") < ANSWERED


def ready(case: Case) -> Condition:
    """The spec's revision is stable, all its pods are ready, and it answered a completion."""
    world, decision = case.world, case.decision
    state, stable = world.state, world.stable
    if world.replicas == 0 and not state.candidate:
        return Condition("Ready", "True", "ScaledToZero", "replicas is 0")
    if state.phase not in ("Stable", "Watching") or not state.stable or stable.name != asked(world):
        return Condition("Ready", "False", decision.reason, decision.message)
    if stable.serving < world.replicas:
        fault = next((p.fault for p in stable.pods if p.fault is not None and not p.serving), None)
        reason = fault.reason if fault is not None else "PodsNotReady"
        what = f"{stable.serving} of {world.replicas} pods of {stable.name} are ready"
        return Condition("Ready", "False", reason, f"{what}: {fault.message}" if fault is not None else what)
    if not answering(world):
        distrust = next((pod.distrust for pod in stable.pods if pod.distrust), "")
        if distrust:
            return Condition("Ready", "False", "EngineTLSFailed", distrust)
        return Condition("Ready", "False", "NoCompletion", f"{stable.name} has not answered a completion yet")
    return Condition("Ready", "True", "Serving", f"{stable.name} serves and answers")


def reconciling(case: Case) -> Condition:
    """Work is under way, or something that may still come is waited for."""
    decision = case.decision
    waits = decision.state.phase in MOVING or decision.reason in WAITS
    if stall(case) is None and waits and decision.reason != "ScaledToZero":
        return Condition("Reconciling", "True", decision.reason, decision.message)
    return Condition("Reconciling", "False", decision.state.phase, "")


def stalled(case: Case) -> Condition:
    """Nothing goes on without a change from outside."""
    why = stall(case)
    return Condition("Stalled", "True", *why) if why is not None else Condition("Stalled", "False", "Progressing", "")


def available(case: Case) -> Condition:
    """Some good revision takes requests."""
    world = case.world
    serving = [r for r in world.state.live() if world.written(r) and world.revision(r).serving]
    if serving:
        return Condition("Available", "True", "Serving", f"{', '.join(serving)} takes requests")
    if world.replicas == 0:
        return Condition("Available", "False", "ScaledToZero", "replicas is 0")
    if not world.state.stable:
        return Condition("Available", "False", "NotDeployed", "no revision has been promoted yet")
    return Condition("Available", "False", "NoReadyPods", f"no pod of {world.state.stable} is ready")


def progressing(case: Case) -> Condition:
    """A rollout is under way."""
    decision = case.decision
    moving = decision.state.phase in MOVING and not decision.stalled and decision.reason != "ScaledToZero"
    status: Final = "True" if moving else "False"
    return Condition("Progressing", status, decision.state.phase, decision.message)


def traffic_programmed(case: Case) -> Condition:
    """Every gateway serves by the table as written."""
    world, fleet, kind = case.world, case.world.fleet, "TrafficProgrammed"
    if world.table is None:
        return Condition(kind, "False", "NoTable", "no routing table has been written")
    if world.programmed or (fleet.acknowledged and world.replicas == 0):
        return Condition(kind, "True", "Programmed", "every gateway serves by the routing table")
    before = find(world.before.get("conditions") or (), kind)
    if fleet.settling and before is not None and world.elapsed("settling") < SETTLING:
        return Condition(kind, before["status"], before["reason"], before.get("message", ""))
    if fleet.size == 0:
        return Condition(kind, "False", "NoGateway", describe(fleet))
    return Condition(kind, "False", "TableRejected" if fleet.rejected else "NotProgrammed", describe(fleet))


def analysis_healthy(case: Case) -> Condition:
    """The revision on trial shows no hard fault."""
    world, kind = case.world, "AnalysisHealthy"
    subject = trial_of(world.state).subject
    if not subject:
        entry = world.state.failure(asked(world))
        if entry is not None:
            return Condition(kind, "False", entry.reason, entry.message)
        return Condition(kind, "True", "NothingOnTrial", "")
    fault = hard_fault(world)
    if fault is not None:
        return Condition(kind, "False", fault.reason, fault.message)
    return Condition(kind, "True", "NoFault", f"{subject} shows no fault")


def guardrails_enforced(case: Case) -> Condition:
    """Every gateway enforces, on this deployment, every Guardrail that holds for it, as it is written now."""
    world, kind = case.world, "GuardrailsEnforced"
    guarding = world.guarding
    if guarding == Guarding():
        return Condition(kind, "True", "NoGuardrails", "no Guardrail holds for this deployment")
    if guarding.blocked is not None:
        return Condition(kind, "False", guarding.blocked.reason, guarding.blocked.message)
    if guarding.idle:
        return Condition(kind, "False", "NoPolicy", f"Guardrail {', '.join(guarding.idle)} has no policy")
    table = world.table.table if world.table is not None else None
    if table is None or table.guards != guarding.guards:
        return Condition(kind, "False", "NoTable", "no routing table that names the policies has been written")
    before = find(world.before.get("conditions") or (), kind)
    if world.fleet.settling and before is not None and world.elapsed("settling") < SETTLING:
        return Condition(kind, before["status"], before["reason"], before.get("message", ""))
    if not world.fleet.acknowledged:
        return Condition(kind, "False", "NotProgrammed", describe(world.fleet))
    why = unloaded(guarding.guards, world.observed.gateways)
    if why:
        return Condition(kind, "False", "GuardrailNotEnforced", why)
    names = ", ".join(guard.name for guard in guarding.guards)
    return Condition(kind, "True", "Enforced", f"every gateway enforces Guardrail {names}")


Aspect = Callable[[Case], Condition]
ASPECTS: Final[tuple[Aspect, ...]] = (
    ready,
    reconciling,
    stalled,
    available,
    progressing,
    traffic_programmed,
    analysis_healthy,
    guardrails_enforced,
)


def missing(world: World) -> tuple[str, str] | None:
    """Reason and message while something that the spec names is gone in mid-flight; at rest it is waited for."""
    state, target = world.state, world.target
    if not state.candidate and state.phase != "Watching":
        return None
    if isinstance(target, Blocked) and target.passing:
        return target.reason, f"{target.message}; what is under way goes on as recorded, and nothing else begins"
    if world.guarding.unknown:
        names = f"Guardrail {', '.join(world.guarding.unknown)} does not exist in namespace {world.namespace}"
        return "GuardrailNotFound", f"{names}; what serves goes on, and so does its policy"
    return None


def _goes_back(state: State) -> bool:
    """The candidate is on its way out; what becomes of it is told already."""
    return state.phase == "Reverting" or (state.phase == "Replacing" and not state.weight)


def alerts(world: World) -> tuple[Condition, ...]:
    """What is not as it should be with what serves or is under way, and turns nothing back."""
    found: list[Condition] = []
    absent = missing(world)
    if absent is not None:
        found.append(Condition("InputMissing", "True", *absent))
    stays = world.stable if _goes_back(world.state) else world.candidate
    changed = {r.name: drifted(world.observed, r.snapshot) for r in (world.stable, stays)}
    told = [f"{', '.join(names)} has changed since {name} was made" for name, names in changed.items() if names]
    if told:
        found.append(Condition("ConfigDrifted", "True", "ContentChanged", "; ".join(told)))
    settings = world.observed.settings
    kept = [name for name in world.state.live() if settings.kept_key(world.namespace, world.name, name)]
    if kept:
        what = f"the master key has changed; {', '.join(kept)} keeps the engine key that its pods have"
        found.append(Condition("EngineKeyKept", "True", "MasterKeyChanged", f"{what}; the next one gets a new one"))
    if world.stable.dropped:
        what = unserved(world.child(world.stable.name), world.stable.dropped)
        found.append(Condition("ImageVolumesDropped", "True", "ImageVolumesDropped", what))
    if differ(world.stable.image_ids):
        found.append(Condition("ImageMoved", "True", "ImageMoved", moved(world.stable.name, world.stable.image_ids)))
    found.extend(_breached(world))
    return tuple(found)


def _breached(world: World) -> Iterator[Condition]:
    """A rung of a Guardrail's ladder is exceeded. While a gateway is silent, what was said before holds."""
    said, before = told(world), find(world.before.get("conditions") or (), BREACHED)
    if said:
        yield Condition(BREACHED, "True", "TooManyFindings", said)
    elif before is not None and world.rungs and world.fleet.silent:
        yield Condition(BREACHED, before["status"], before["reason"], before.get("message", ""))


def conditions(case: Case) -> list[Condition]:
    """All of them, and the alerts that there are."""
    return [*(aspect(case) for aspect in ASPECTS), *case.alerts]
