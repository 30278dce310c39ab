"""Replacing: stable makes way before the candidate comes, because there is no room for both.

Nobody is served meanwhile. The candidate's register weight says which way it goes: 100 forward, 0 back to stable. The
table is empty both ways: gateways let requests wait, and refuse them with Retry-After when they have waited for long.
"""

from typing import Final

from understudy.plan.decision import Decision, asked, effective, hold, move
from understudy.plan.phases.preparing import not_made, starting, untrusted, weightless, without_node
from understudy.plan.phases.restoring import restored
from understudy.plan.phases.trying import failing, gone, scaled_to_zero, standing_fault, superseded
from understudy.plan.release import why_not
from understudy.plan.rulebook import Rule
from understudy.plan.world import World


def going_back(world: World) -> Decision | None:
    """Stable starts again when the last pod of the candidate is gone; the rest is a wait like any other."""
    state = world.state
    if state.weight:
        return None
    if world.candidate.exists:
        return hold(
            world, "Replacing", why_not(world, state.candidate) or f"{state.candidate} makes way for {state.stable}"
        )
    failed = bool(asked(world)) and state.failure(asked(world)) is not None
    message = f"{state.candidate} is gone; {state.stable} comes back"
    phase = "RolledBack" if failed else "Stable"
    return move(world, "Reverted", message, phase=phase, candidate="", exposed=False, frozen={})


def failed_too(world: World) -> Decision | None:
    """What comes back in place of a stable that failed fails as well: no third move by itself."""
    state = world.state
    fault = standing_fault(world) if state.fallen else None
    if fault is None or effective(world) not in ("", state.candidate, state.stable):
        return None
    both = f"{state.stable} failed and so does {state.candidate}: {fault.message}; change the spec"
    return hold(world, "RestoreFailed", both, stalled=True)


def making_way(world: World) -> Decision | None:
    """Stable's requests end, then its pods go."""
    stable = world.stable
    if not stable.exists:
        return None
    return hold(
        world, "Replacing", why_not(world, stable.name) or f"{stable.name} makes way for {world.candidate.name}"
    )


def arrived(world: World) -> Decision | None:
    """One pod that answers is better than none: the rest follow. What comes back after a failure is not tried anew."""
    if world.candidate.proven == 0:
        return None
    if world.state.fallen:
        return restored(world, "restored")
    message = f"{world.state.candidate} answers"
    return move(world, "Promoting", message, phase="Promoting", exposed=True)


REPLACING: Final[tuple[Rule, ...]] = (
    going_back,
    failed_too,
    failing,
    scaled_to_zero,
    superseded,
    gone,
    making_way,
    weightless,
    arrived,
    not_made,
    without_node,
    untrusted,
    starting,
)
