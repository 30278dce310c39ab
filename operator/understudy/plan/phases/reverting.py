"""Reverting: everybody back to stable, then the candidate leaves, its streams first."""

from typing import Final

from understudy.plan.decision import Decision, asked, hold, move
from understudy.plan.phases.promoting import enthrone
from understudy.plan.release import why_not
from understudy.plan.routes import keeps_weights
from understudy.plan.rulebook import Rule
from understudy.plan.world import World


def stable_lost(world: World) -> Decision | None:
    """Stable cannot be made again, and the candidate serves: waiting would be for ever."""
    state, stable = world.state, world.stable
    if not keeps_weights(world) or not world.irretrievable(stable):
        return None
    message = f"neither record nor pool is left of {stable.name}; {state.candidate} serves in its place"
    return move(
        world,
        "StableLost",
        message,
        warn=True,
        state=enthrone(world, state, f"{stable.name} was lost"),
        phase="Stable",
        previous="",
        frozen={},
    )


def stable_unavailable(world: World) -> Decision | None:
    """Stable has no pod and the candidate has: going back would lose every request."""
    if not keeps_weights(world):
        return None
    message = f"{world.state.stable} has no ready pod; {world.state.candidate} keeps its share until it has"
    return hold(world, "StableUnavailable", message, stalled=True)


def leaving(world: World) -> Decision | None:
    """Out of the table, known to every gateway, streams at an end: one after the other."""
    if world.candidate.wanted == 0:
        return None
    wait = why_not(world, world.state.candidate)
    return hold(world, "Reverting", wait or f"{world.state.candidate} leaves")


def done(world: World) -> Decision | None:
    """The candidate is gone."""
    state = world.state
    if not state.stable:
        phase, message = "Preparing", "nothing serves yet"
    elif asked(world) and state.failure(asked(world)) is not None:
        phase, message = "RolledBack", f"{state.stable} serves again; {asked(world)} failed"
    else:
        phase, message = "Stable", f"{state.stable} serves again"
    return move(world, "Reverted", message, phase=phase, candidate="", weight=0, exposed=False, skip_to=0, frozen={})


REVERTING: Final[tuple[Rule, ...]] = (stable_lost, stable_unavailable, leaving, done)
