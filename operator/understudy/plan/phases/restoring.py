"""Restoring: stable failed after its promotion; the previous revision takes over again.

The candidate register holds the revision that comes back, the stable one the revision that failed.
There is no third move: if the restored revision fails too, a human decides.
"""

from dataclasses import replace
from typing import Final

from understudy.plan.analysis import judge, pod_fault, wrong_identity
from understudy.plan.capacity import notice, short
from understudy.plan.decision import Decision, effective, hold, move, revert, turned_back
from understudy.plan.faults import Fault
from understudy.plan.phases.promoting import enthrone
from understudy.plan.phases.trying import unscheduled
from understudy.plan.routes import is_warm
from understudy.plan.rulebook import Rule
from understudy.plan.snapshots import drifted
from understudy.plan.world import World


def asleep(world: World) -> Decision | None:
    """No pods are wanted: the registers go back, nothing has to come up."""
    return restored(world, "replicas is 0") if world.replicas == 0 else None


def nothing_left(world: World) -> Decision | None:
    """What should come back cannot be made again: what failed serves on, and a human decides."""
    state, candidate = world.state, world.candidate
    if not world.irretrievable(candidate):
        return None
    message = f"neither record nor pool is left of {candidate.name}; {state.stable}, which failed, serves on"
    rest = replace(turned_back(world, state), phase="RolledBack", candidate="", exposed=False, frozen={})
    return move(world, "RestoreFailed", message, warn=True, state=rest)


def given_up(world: World) -> Decision | None:
    """The restored revision fails too, and the user asks for a new one."""
    wish = effective(world)
    if _fault(world) is None or wish in ("", world.state.candidate, world.state.stable):
        return None
    return revert(world, "Superseded", f"the restore of {world.state.candidate} failed; making way for {wish}")


def failed_too(world: World) -> Decision | None:
    """The restored revision fails as well."""
    fault = _fault(world)
    if fault is None:
        return None
    both = f"{world.state.stable} failed and so does {world.state.candidate}: {fault.message}; change the spec"
    return hold(world, "RestoreFailed", both, stalled=True)


def drifted_cold(world: World) -> Decision | None:
    """Its pods are gone, and new ones would read a Secret that has changed since."""
    changed = drifted(world.observed, world.candidate.snapshot)
    if not changed or world.candidate.exists:
        return None
    what = f"{world.state.candidate} cannot come back as it was: {', '.join(changed)} has changed since"
    return hold(world, "ConfigDrifted", what, stalled=True)


def making_room(world: World) -> Decision | None:
    """It finds no node: of the pods of what failed so many make way as the spec allows."""
    state, count = world.state, world.lent + 1
    most = world.terms.spare(world.replicas)
    leaving = len(world.stable.pods) > world.carrying
    if is_warm(world) or not short(world) or leaving or count > most:
        return None
    message = f"{count} of {world.replicas} pods of {state.stable}, which failed, make way for {state.candidate}"
    return move(world, "Borrowed", message + notice(world), lent=count, kept=world.replicas - count)


def cold(world: World) -> Decision | None:
    """It has to come up first."""
    if is_warm(world):
        return None
    waiting = unscheduled(world, world.candidate)
    if waiting is not None:
        return waiting
    need = world.need(100)
    return hold(world, "Restoring", f"{world.candidate.serving} of {need} pods of {world.state.candidate} are ready")


def unwritten(world: World) -> Decision | None:
    """The table does not say so yet, or a gateway does not serve by it."""
    if world.written(world.state.candidate) == 100 and (world.fleet.acknowledged or world.fleet.size == 0):
        return None
    return hold(world, "Restoring", f"all conversations go back to {world.state.candidate}")


def commit(world: World) -> Decision | None:
    """The previous revision is stable again; there is nothing further to go back to."""
    return restored(world, "restored")


def _fault(world: World) -> Fault | None:
    """What keeps the restored revision from serving; a crash that it has got over does not."""
    checks = (wrong_identity,) if is_warm(world) else (wrong_identity, pod_fault)
    return judge(world, world.candidate, world.revision(""), checks)


def restored(world: World, why: str) -> Decision:
    """The candidate is stable again, and there is nothing to watch; `why` goes into the history."""
    state = world.state
    message = f"{state.candidate} serves again; {state.stable} failed"
    return move(world, "Restored", message, state=enthrone(world, state, why), previous="", phase="RolledBack")


RESTORING: Final[tuple[Rule, ...]] = (
    asleep,
    nothing_left,
    given_up,
    failed_too,
    drifted_cold,
    making_room,
    cold,
    unwritten,
    commit,
)
