"""A candidate is being prepared or proved: rules that Preparing, Shadow, Canary and Promoting share."""

from dataclasses import replace
from typing import Final

from understudy.plan.analysis import hard_fault, suspicion
from understudy.plan.breaches import exceeding, pausing
from understudy.plan.capacity import notice, short, why_no_loan, why_recalled
from understudy.plan.decision import (
    PATIENCE,
    Decision,
    effective,
    hold,
    move,
    revert,
    revert_failed,
    turned_back,
)
from understudy.plan.faults import Fault
from understudy.plan.state import BREACHED
from understudy.plan.world import Revision, World

# So long must stable have no pod before a candidate that has proved itself takes everything, in seconds.
STABLE_DOWN_PATIENCE: Final = 30.0


def failing(world: World) -> Decision | None:
    """A hard fault turns the candidate back and brands it, while there is something to go back to."""
    fault = standing_fault(world) if world.state.stable else None
    return revert_failed(world, fault) if fault is not None else None


def standing_fault(world: World) -> Fault | None:
    """A hard fault of the candidate; where nobody is served until it answers, a crash that it has got over is none."""
    fault, state = hard_fault(world), world.state
    alone = state.phase == "Replacing" and state.fallen
    over = fault is not None and not fault.safety and alone and world.candidate.proven > 0
    return None if over else fault


def unsettled(world: World) -> Decision | None:
    """It shows a fault that may not be its own, because its comparator shows it too or there is none: no further."""
    fault = suspicion(world)
    if fault is None:
        return None
    return hold(world, fault.reason, f"{fault.message}; nothing to compare it with shows otherwise, so it waits")


def scaled_to_zero(world: World) -> Decision | None:
    """Nothing is wanted any more: back first, then down."""
    if world.replicas > 0:
        return None
    return revert(world, "ScaledToZero", f"replicas is 0: {world.state.candidate} is withdrawn")


def superseded(world: World) -> Decision | None:
    """The spec asks for something else: through stable, never from one candidate to the next in place."""
    wish = effective(world)
    if wish in ("", world.state.candidate):
        return None
    return revert(world, "Superseded", f"{world.state.candidate} is superseded by {wish}")


def gone(world: World) -> Decision | None:
    """A candidate that comes from its record, by `rollback` or for a restore, and of which nothing is left: back."""
    if not world.irretrievable(world.candidate):
        return None
    return revert_failed(world, Fault("RecordLost", "neither record nor pool is left of it"))


def paused(world: World) -> Decision | None:
    """The user asked to wait; a rollback is a later word of his."""
    state = world.state
    if not state.paused or state.candidate == state.pinned:
        return None
    return hold(world, "Paused", "paused; request `resume` to go on")


def breached(world: World) -> Decision | None:
    """Guardrails find too much in its answers for a rung that says PauseRollout: no further until somebody says so.

    A rung does so once in a rollout: who resumes has seen it.
    """
    rungs = pausing(world)
    if not rungs or world.state.paused:
        return None
    message = f"paused: {exceeding(world, rungs[0])}; request `resume` to go on, or `abort`"
    acted = (*world.state.acted, *(rung.key for rung in rungs))
    return move(world, BREACHED, message, warn=True, paused=True, acted=acted)


def lend(world: World) -> Decision | None:
    """The candidate has no place for its pods, and one of stable's can be spared: it makes way."""
    if not short(world) or why_no_loan(world):
        return None
    state, count = world.state, world.lent + 1
    message = f"{count} of {world.replicas} pods of {state.stable} make way for {state.candidate}, which finds no node"
    return move(world, "Borrowed", message + notice(world), lent=count, kept=world.replicas - count, recalled=False)


def resize(world: World) -> Decision | None:
    """The spec asks for another number of pods while some are lent: those that stay do not become fewer by that.

    That fewer carry the load has not been found; a pod that is wanted after that is lent like any other.
    """
    state, replicas = world.state, world.replicas
    stay = replicas - state.lent
    if not state.lent or stay == state.kept:
        return None
    loan = state.lent if stay > state.kept else max(0, replicas - state.kept)
    message = f"{replicas} pods of {state.stable} are wanted now: {loan} of them make way for {state.candidate}"
    return move(world, "LoanResized", message, lent=loan, kept=replicas - loan if loan else 0)


def call_back(world: World) -> Decision | None:
    """Stable needs its pods back, or they were lent in vain: back, and later once more; nobody is to blame."""
    why = why_recalled(world)
    if not why:
        return None
    state = replace(turned_back(world, world.state), recalled=True)
    return move(world, "LoanCalled", f"{world.state.candidate} gives back its places: {why}", warn=True, state=state)


def unscheduled(world: World, revision: Revision) -> Decision | None:
    """Pods find no node: waiting, and after the deadline saying so; never the revision's fault."""
    if not revision.unschedulable:
        return None
    longest = max(revision.unschedulable, key=lambda pod: pod.waiting_for or 0.0)
    reason = "InsufficientGPU" if world.spec.accelerator is not None else "InsufficientCapacity"
    stalled = (longest.waiting_for or 0.0) >= world.terms.scheduling
    trying = world.state.phase in ("Preparing", "Shadow", "Canary")
    why = why_no_loan(world) if trying and short(world) else ""
    return hold(world, reason, f"{longest.name}: {longest.unschedulable}{'; ' if why else ''}{why}", stalled=stalled)


def distrusted(world: World, revision: Revision) -> Decision | None:
    """TLS with a pod that is ready comes to nothing: said at once, and after a while that it takes somebody to mend it.

    It is a matter of certificates, so the revision is not to blame.
    """
    for pod in revision.pods:
        if pod.serving and not pod.proven and pod.distrust:
            stalled = world.elapsed(f"ready:{pod.uid}") >= PATIENCE
            return hold(world, "EngineTLSFailed", pod.distrust, stalled=stalled)
    return None


def podless(world: World, revision: Revision) -> Decision | None:
    """The pool asks for pods and none is made: a quota or an admission policy says why."""
    if revision.wanted == 0 or revision.pods or revision.pool is None:
        return None
    conditions = (revision.pool.get("status") or {}).get("conditions") or ()
    why = next((str(c.get("message", "")) for c in conditions if c.get("type") == "ReplicaFailure"), "")
    if not why:
        return None
    return hold(world, "PodsNotCreated", f"{world.child(revision.name)}: {why}", stalled=True)
