"""Watching: the new revision is stable, the previous one still warm to go back to."""

from dataclasses import replace
from typing import Final

from understudy.domain.duration import words
from understudy.plan.analysis import hard_fault
from understudy.plan.decision import Decision, effective, hold, move
from understudy.plan.rulebook import Rule
from understudy.plan.snapshots import drifted
from understudy.plan.state import State, brand
from understudy.plan.world import World


def asleep(world: World) -> Decision | None:
    """No pods are wanted: nothing can be watched."""
    if world.replicas > 0:
        return None
    return move(world, "ScaledToZero", "replicas is 0: the watch ends", phase="Stable", previous="")


def restore(world: World) -> Decision | None:
    """Stable fails within the watch: it is branded, and the previous revision is brought back, once."""
    state, fault = world.state, hard_fault(world)
    if fault is None or state.failure(state.previous) is not None:
        return None
    previous = world.revision(state.previous)
    # Stable would make way for nothing.
    if world.terms.recreate and (previous.lost or drifted(world.observed, previous.snapshot)):
        return None
    branded = brand(state, state.stable, fault.reason, fault.message, world.now.wall, world.generation)
    message = f"{state.stable} failed after its promotion: {fault.message}; {state.previous} comes back"
    return move(world, fault.reason, message, warn=True, state=back_to_previous(world, branded))


def back_to_previous(world: World, state: State) -> State:
    """The registers of a restore, at once as far as the previous revision is warm."""
    return replace(
        state,
        # Recreate: the one has to make way for the other, as it did before.
        phase="Replacing" if world.terms.recreate else "Restoring",
        candidate=state.previous,
        previous="",
        weight=100,
        exposed=True,
        skip_to=100,
        restarts=world.revision(state.previous).restarts(),
    )


def newer(world: World) -> Decision | None:
    """A newer spec ends the watch; the previous revision leaves before the new one comes."""
    wish = effective(world)
    if wish in ("", world.state.stable):
        return None
    return move(world, "WatchEnded", f"{wish} is asked for; the watch ends", phase="Stable", previous="")


def watched(world: World) -> Decision | None:
    """Long enough."""
    seen = world.evidence.soak if world.evidence is not None else 0.0
    if seen < world.terms.watch:
        return None
    message = f"{world.state.stable} is proved; {world.state.previous} leaves"
    return move(world, "Watched", message, phase="Stable", previous="")


def watching(world: World) -> Decision | None:
    """Not yet."""
    seen = world.evidence.soak if world.evidence is not None else 0.0
    left = words(max(0.0, world.terms.watch - seen))
    return hold(world, "Watching", f"{world.state.previous} stays ready for {left} more")


WATCHING: Final[tuple[Rule, ...]] = (asleep, restore, newer, watched, watching)
