"""Going back to an older promotion by its number: from its record, and held there by a pin.

The pin wins over the spec until somebody decides anew: by `retry`, by another rollback, or by asking for something
else in the spec. A pinned revision that fails loses its pin, and what serves goes on.
"""

from dataclasses import replace

from understudy.plan.decision import asked
from understudy.plan.phases.watching import back_to_previous
from understudy.plan.snapshots import drifted
from understudy.plan.state import ROLLED_BACK, State, brand, forgive
from understudy.plan.world import Revision, World


def roll_back(world: World, number: str) -> State | str:
    """The registers with what was promoted under `number` as the goal, or why it cannot be one.

    Whatever was wrong with it before is forgiven: the user knows what he asks for.
    """
    goal, state = by_number(world, number), world.state
    why = goal if isinstance(goal, str) else unfit(world, goal)
    if isinstance(goal, str) or why:
        return why
    pinned = replace(forgive(state, goal.name), pinned="" if goal.name == asked(world) else goal.name)
    # While the spec cannot be read nobody knows what it will ask for again; most likely for what serves.
    left = asked(world) or state.stable
    if left != goal.name:
        said = f"rolled back to {goal.name}, number {number}, by request"
        pinned = brand(pinned, left, ROLLED_BACK, said, world.now.wall, world.generation)
    if state.phase == "Watching" and goal.name == state.previous and goal.exists:
        return back_to_previous(world, pinned)
    return pinned


def by_number(world: World, number: str) -> Revision | str:
    """The revision that was promoted under a number, as it is recorded; else what to write instead."""
    if not number.isdecimal():
        return "write rollback=NUMBER; `kubectl get msnap` shows the numbers"
    promoted = {p.number: p.revision for p in world.state.history}
    for revision in world.revisions.values():
        promoted.update({int(p["number"]): revision.name for p in revision.status.get("promotions") or ()})
    found = world.revision(promoted.get(int(number), ""))
    if found.snapshot is None:
        recorded = sorted(n for n, name in promoted.items() if world.revision(name).snapshot is not None)
        known = ", ".join(map(str, recorded)) or "none"
        return f"there is no record of a promotion with number {number}; recorded: {known}"
    return found


def unfit(world: World, goal: Revision) -> str:
    """Why going back to a recorded revision does not apply; "" if it does."""
    state = world.state
    if state.phase == "Restoring" or (state.phase == "Replacing" and state.fallen):
        return f"{state.candidate} is coming back already"
    if goal.name == (state.pinned or asked(world)) and state.failure(goal.name) is None:
        return f"{goal.name} is what is aimed at already"
    if not goal.exists and (changed := (*drifted(world.observed, goal.snapshot), *_lost(world, goal))):
        return f"{goal.name} cannot come back as it was: {', '.join(changed)} has changed since"
    return ""


def release(state: State, wish: str) -> State:
    """The registers without a pin that holds no longer; `wish` is the spec's revision, "" if there is none.

    What was left for a pinned revision that failed serves on, if it still does: it did nothing wrong.
    """
    if not state.pinned:
        return state
    if state.failure(state.pinned) is not None:
        entry = state.failure(state.stable)
        spared = forgive(state, state.stable) if entry is not None and entry.reason == ROLLED_BACK else state
        return replace(spared, pinned="")
    return replace(state, pinned="") if wish and state.failure(wish) is None else state


def _lost(world: World, goal: Revision) -> list[str]:
    """ConfigMaps that it mounts, of which neither the copy is left nor the content as it was."""
    references = goal.snapshot["spec"].get("references") or () if goal.snapshot is not None else ()
    return [
        f"ConfigMap {r['name']}"
        for r in references
        if r.get("copy") not in (None, *world.observed.configmaps)
        and world.observed.references.get(("ConfigMap", r["name"])) != r.get("hash")
    ]
