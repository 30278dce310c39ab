"""Canary: the candidate has a share of the conversations, and earns the next one."""

from typing import Final

from understudy.plan.analysis import lacking
from understudy.plan.capacity import too_heavy
from understudy.plan.decision import Decision, hold, move, revert, revert_failed
from understudy.plan.faults import Fault
from understudy.plan.phases.resting import unenforced, unguarded
from understudy.plan.phases.trying import (
    STABLE_DOWN_PATIENCE,
    breached,
    call_back,
    distrusted,
    failing,
    lend,
    paused,
    resize,
    scaled_to_zero,
    superseded,
    unscheduled,
    unsettled,
)
from understudy.plan.programmed import describe
from understudy.plan.rulebook import Rule
from understudy.plan.wanted import Blocked
from understudy.plan.world import World

# Pods that are lost by nobody's fault may come back within this time, in seconds.
THIN_PATIENCE: Final = 30.0


def thinned(world: World) -> Decision | None:
    """Too few pods for the share, for too long, by nobody's fault: back, and begin again by itself."""
    if world.elapsed("thin") < THIN_PATIENCE:
        return None
    share = world.borne(world.state.candidate)
    message = f"{world.candidate.serving} of {world.need(share)} pods that {share} % need, for {THIN_PATIENCE:.0f} s"
    return revert(world, "PodsLost", f"{world.state.candidate}: {message}")


def starved(world: World) -> Decision | None:
    """Nobody talked to the candidate, and the terms say to go back then."""
    evidence, terms = world.evidence, world.terms
    wanted = terms.samples(world.state.weight)
    if evidence is None or not terms.no_data_reverts or evidence.subject[0] >= wanted:
        return None
    if evidence.lasted < terms.no_data_timeout or world.state.waived:
        return None
    seen = f"{evidence.subject[0]} of {wanted} {'samples' if world.state.weight else 'pairs'}"
    return revert_failed(world, Fault("Inconclusive", f"{seen} after {terms.no_data_timeout:.0f} s"))


def stable_down(world: World) -> Decision | None:
    """Stable has had no pod for a while and the candidate answers: the remaining steps are skipped."""
    candidate, state = world.candidate, world.state
    if world.elapsed("stable-down") < STABLE_DOWN_PATIENCE or candidate.proven == 0:
        return None
    if state.weight >= 100 and state.skip_to >= 100:
        return None
    message = f"{world.state.stable} has no ready pod; {candidate.name} takes over without further steps"
    return move(world, "StableDown", message, warn=True, phase="Canary", weight=100, skip_to=100)


def unclear(world: World) -> Decision | None:
    """The spec has become one that cannot be carried out: no further until it is mended."""
    target = world.target
    if not isinstance(target, Blocked) or target.passing or world.state.candidate == world.state.pinned:
        return None
    return hold(world, target.reason, target.message, stalled=True)


def no_gateway(world: World) -> Decision | None:
    """Nobody routes anything, so nothing can be proved."""
    return hold(world, "NoGateway", "there is no gateway pod") if world.fleet.size == 0 else None


def too_few(world: World) -> Decision | None:
    """The share is not written yet: its pods are not all there."""
    state = world.state
    if world.written(state.candidate) >= state.weight:
        return None
    waiting = unscheduled(world, world.candidate) or distrusted(world, world.candidate)
    if waiting is not None:
        return waiting
    need = world.need(state.weight)
    return hold(world, "Scaling", f"{world.candidate.proven} of {need} pods for {state.weight} % have answered")


def short_of_pods(world: World) -> Decision | None:
    """Pods for the present share are missing: no further until they are back."""
    need = world.need(max(world.state.weight, world.borne(world.state.candidate)))
    if world.candidate.serving >= need:
        return None
    return hold(world, "PodsNotReady", f"{world.candidate.serving} of {need} pods of {world.candidate.name} are ready")


def unprogrammed(world: World) -> Decision | None:
    """Not every gateway serves by the table yet."""
    return None if world.programmed else hold(world, "NotProgrammed", describe(world.fleet))


def unproven(world: World) -> Decision | None:
    """Too few samples, or too short a time."""
    wait = lacking(world)
    return hold(world, "WaitingForEvidence", wait) if wait else None


def overburdened(world: World) -> Decision | None:
    """What the candidate has of pods, while some of stable's are lent, would not carry the next share."""
    state = world.state
    why = too_heavy(world, world.terms.next_weight(state.weight)) if state.weight < 100 else ""
    return hold(world, "TooMuchLoad", why) if why else None


def step_on(world: World) -> Decision | None:
    """The next share."""
    state = world.state
    if state.weight >= 100:
        return None
    weight = world.terms.next_weight(state.weight)
    return move(world, "Step", f"{state.candidate} passed {state.weight} %; {weight} % next", weight=weight)


def pass_all(world: World) -> Decision | None:
    """The last step is passed."""
    return move(world, "Promoting", f"{world.state.candidate} passed every step", phase="Promoting")


CANARY: Final[tuple[Rule, ...]] = (
    failing,
    scaled_to_zero,
    superseded,
    call_back,
    resize,
    breached,
    thinned,
    starved,
    stable_down,
    paused,
    unclear,
    unguarded,
    unenforced,
    no_gateway,
    lend,
    too_few,
    short_of_pods,
    unsettled,
    unprogrammed,
    unproven,
    overburdened,
    step_on,
    pass_all,
)
