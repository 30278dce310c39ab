"""Promoting: one status write makes the candidate stable."""

from dataclasses import replace
from typing import Final

from understudy.domain.duration import stamp
from understudy.plan.decision import Decision, move
from understudy.plan.phases.trying import failing, scaled_to_zero, superseded
from understudy.plan.rulebook import Rule
from understudy.plan.state import MAX_HISTORY, Promoted, State
from understudy.plan.world import World


def commit(world: World) -> Decision | None:
    """previous := stable, stable := candidate, candidate := none, in one write.

    There is nothing to watch if nothing would be gone back to: before the first revision, or after a rollback.
    """
    state = world.state
    back = state.stable if state.failure(state.stable) is None else ""
    why = "passed every step" if state.stable else "first revision"
    if state.candidate == state.pinned:
        why = "rolled back"
    message = f"{state.candidate} is stable now"
    committed = enthrone(world, state, why)
    return move(world, "Promoted", message, state=committed, previous=back, phase="Watching" if back else "Stable")


def enthrone(world: World, state: State, why: str) -> State:
    """The candidate is stable, and the promotion is numbered; `previous` is left to the caller."""
    entry = Promoted(1 + last_number(world), state.candidate, stamp(world.now.wall), why)
    history = (entry, *state.history)[:MAX_HISTORY]
    at_rest = replace(state, weight=0, exposed=False, skip_to=0, lent=0, kept=0, recalled=False)
    return replace(at_rest, stable=state.candidate, candidate="", history=history)


def last_number(world: World) -> int:
    """The highest number of any promotion so far, in status or in a snapshot."""
    recorded = (
        int(p["number"]) for revision in world.revisions.values() for p in revision.status.get("promotions") or ()
    )
    return max((*recorded, *(p.number for p in world.state.history)), default=0)


PROMOTING: Final[tuple[Rule, ...]] = (failing, scaled_to_zero, superseded, commit)
