"""Preparing: the candidate's pods come up and show what they are; nobody's conversation moves yet."""

from typing import Final

from understudy.domain.duration import words
from understudy.plan import replaying
from understudy.plan.analysis import hard_fault
from understudy.plan.decision import Decision, hold, move, revert_failed
from understudy.plan.phases import resting
from understudy.plan.phases.trying import (
    STABLE_DOWN_PATIENCE,
    breached,
    call_back,
    distrusted,
    failing,
    gone,
    lend,
    paused,
    podless,
    resize,
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


def untrusted(world: World) -> Decision | None:
    """TLS with the candidate's pods comes to nothing, and too few others are there to begin."""
    return None if world.candidate.proven >= _wanted(world) else distrusted(world, world.candidate)


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


def unguarded(world: World) -> Decision | None:
    """All is ready to begin, but a guardrail that must hold says nothing that can be enforced."""
    return resting.unguarded(world) if _is_near(world) else None


def unenforced(world: World) -> Decision | None:
    """All is ready to begin, but a gateway does not enforce a guardrail that must hold."""
    return resting.unenforced(world) if _is_near(world) else None


def _is_near(world: World) -> bool:
    """Its pods answer; or stable is to make way first, and then nobody could go back to it."""
    return world.candidate.proven >= _wanted(world) or (world.terms.recreate and bool(world.state.stable))


def replacing(world: World) -> Decision | None:
    """Recreate: stable makes way now. Nobody is served until the candidate answers, and status has said so before."""
    state, candidate = world.state, world.candidate
    if not (world.terms.recreate and state.stable):
        return None
    if candidate.pool is None:
        wait = f"{state.stable} will make way for {state.candidate}: nobody is served meanwhile"
        return hold(world, "Starting", wait)
    message = f"{state.stable} makes way for {state.candidate}; requests wait, then get 503"
    return move(world, "Replacing", message, phase="Replacing", weight=100)


def debut(world: World) -> Decision | None:
    """Nothing serves yet: the first revision that answers is promoted at once, without steps or verdict."""
    if world.state.stable or world.candidate.proven == 0:
        return None
    return move(world, "Promoting", f"{world.state.candidate} is the first revision", phase="Promoting")


def outspoken(world: World) -> Decision | None:
    """To the probe sets of its Guardrails it says worse things than stable: nobody is to hear it."""
    fault = replaying.failed(world)
    return revert_failed(world, fault) if fault is not None else None


def unreplayed(world: World) -> Decision | None:
    """What it says to the probe sets of its Guardrails has not been judged yet, or cannot be."""
    message, stuck = replaying.awaited(world)
    if not message:
        return None
    return hold(world, "ProbeSetNotJudged" if stuck else "ReplayingProbeSet", message, stalled=stuck)


def show(world: World) -> Decision | None:
    """BlueGreen: from now on the candidate can be asked by name, so it may have open requests."""
    if not world.terms.gated or world.state.exposed:
        return None
    message = f"{world.state.candidate} answers; x-understudy-variant: candidate reaches it"
    return move(world, "Shown", message, exposed=True)


def paused_before(world: World) -> Decision | None:
    """Recreate: once stable has begun to make way, waiting would serve nobody; so a pause counts before."""
    return paused(world) if world.terms.recreate and world.state.stable else None


def unpromoted(world: World) -> Decision | None:
    """BlueGreen: nobody has said `promote` yet, and the time after which it goes by itself is not over."""
    state, terms = world.state, world.terms
    if not terms.gated or state.skip_to >= 100 or world.elapsed("stable-down") >= STABLE_DOWN_PATIENCE:
        return None
    wait = (
        f"{state.candidate} answers who asks by x-understudy-variant: candidate; waiting for promote@{state.candidate}"
    )
    if terms.promote_after is None:
        return hold(world, "WaitingForPromote", wait)
    left = terms.promote_after - world.elapsed("shown")
    return hold(world, "WaitingForPromote", f"{wait}, or {words(left)}") if left > 0 else None


def shadow(world: World) -> Decision | None:
    """Copies of requests come before the first step, if the terms say so."""
    percent = world.terms.shadow_percent
    if not percent:
        return None
    message = f"{world.state.candidate} answers; it gets copies of {percent} % of the requests, which nobody sees"
    return move(world, "Shadow", message, phase="Shadow", exposed=True)


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
    return world.need(world.terms.first_share()) if world.state.stable else 1


PREPARING: Final[tuple[Rule, ...]] = (
    failing,
    scaled_to_zero,
    superseded,
    gone,
    call_back,
    resize,
    releasing,
    weightless,
    paused_before,
    unguarded,
    unenforced,
    replacing,
    debut,
    failing_alone,
    not_made,
    lend,
    without_node,
    untrusted,
    starting,
    unsettled,
    outspoken,
    unreplayed,
    show,
    breached,
    paused,
    unpromoted,
    shadow,
    begin,
)
