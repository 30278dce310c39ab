"""Preparing: the candidate's pods come up and show what they are; nobody's conversation moves yet."""

from typing import Final

from understudy.plan.analysis import hard_fault
from understudy.plan.decision import Decision, hold, move
from understudy.plan.phases.trying import (
    failing,
    paused,
    podless,
    scaled_to_zero,
    superseded,
    unscheduled,
    unsettled,
)
from understudy.plan.rulebook import Rule
from understudy.plan.volumes import unserved
from understudy.plan.world import World


def releasing(world: World) -> Decision | None:
    """At most two revisions hold accelerators: a third one leaves first."""
    leaving = [r.name for r in world.others() if r.exists]
    if not leaving or world.candidate.exists:
        return None
    return hold(world, "Releasing", f"{world.state.candidate} waits until {', '.join(leaving)} has left")


def failing_alone(world: World) -> Decision | None:
    """The first revision fails: there is nothing to go back to, so it stays and says why."""
    fault = hard_fault(world) if not world.state.stable else None
    return hold(world, fault.reason, fault.message, stalled=True) if fault is not None else None


def without_node(world: World) -> Decision | None:
    """The candidate's pods find no node, and too few others are there to begin."""
    enough = world.candidate.proven >= _wanted(world)
    return None if enough else unscheduled(world, world.candidate)


def not_made(world: World) -> Decision | None:
    """The candidate's pods are not even made."""
    return podless(world, world.candidate)


def starting(world: World) -> Decision | None:
    """Ready, the right model, one completion: all of it, on as many pods as the first step needs."""
    candidate, wanted = world.candidate, _wanted(world)
    if candidate.proven >= wanted:
        return None
    ready = candidate.serving
    asking = f", {ready} ready and being asked who they are" if ready > candidate.proven else ""
    return hold(world, "Starting", f"{candidate.proven} of {wanted} pods of {candidate.name} have answered{asking}")


def weightless(world: World) -> Decision | None:
    """The cluster dropped the volumes that hold the candidate's weights: no pod is started without them."""
    candidate = world.candidate
    if not candidate.dropped:
        return None
    return hold(world, "ImageVolumesDropped", unserved(world.child(candidate.name), candidate.dropped), stalled=True)


def debut(world: World) -> Decision | None:
    """Nothing serves yet: the first revision that answers is promoted at once, without steps or verdict."""
    if world.state.stable or world.candidate.proven == 0:
        return None
    return move(world, "Promoting", f"{world.state.candidate} is the first revision", phase="Promoting")


def begin(world: World) -> Decision | None:
    """The first step."""
    weight = world.terms.next_weight(0)
    return move(
        world,
        "Canary",
        f"{world.state.candidate} answers; it gets {weight} % of the conversations",
        phase="Canary",
        weight=weight,
        exposed=True,
    )


def _wanted(world: World) -> int:
    """Pods that must have answered; the very first revision serves as soon as one does."""
    return world.need(world.terms.next_weight(0)) if world.state.stable else 1


PREPARING: Final[tuple[Rule, ...]] = (
    failing,
    scaled_to_zero,
    superseded,
    releasing,
    weightless,
    debut,
    failing_alone,
    not_made,
    without_node,
    starting,
    unsettled,
    paused,
    begin,
)
