"""What a rule answers: stay and say why, or move to other registers and say why."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.domain.conditions import find
from understudy.plan.faults import Fault
from understudy.plan.rulebook import Rule
from understudy.plan.state import State, brand
from understudy.plan.wanted import Blocked
from understudy.plan.world import World


@dataclass(frozen=True, slots=True)
class Decision:
    """The registers from now on, and the reason in one word and one sentence.

    `stalled` says that only a change from outside helps; `event` is the type of the event to record.
    """

    state: State
    reason: str
    message: str
    stalled: bool = False
    event: Literal["", "Normal", "Warning"] = ""


def hold(world: World, reason: str, message: str, *, stalled: bool = False) -> Decision:
    """Stay."""
    return Decision(world.state, reason, message, stalled)


def move(
    world: World, reason: str, message: str, *, warn: bool = False, state: State | None = None, **registers: Any
) -> Decision:
    """Go on with other registers, and record an event."""
    after = replace(state or world.state, **registers)
    return Decision(after, reason, message, event="Warning" if warn else "Normal")


def first(rules: Iterable[Rule], world: World) -> Decision:
    """The first answer of a chain; every chain ends with a rule that always answers."""
    return next(
        (decision for rule in rules if (decision := rule(world)) is not None),
        hold(world, "Waiting", "nothing to do"),
    )


def asked(world: World) -> str:
    """The revision that the spec asks for; "" while it cannot become one."""
    return "" if isinstance(world.target, Blocked) else world.target.revision


def effective(world: World) -> str:
    """The revision to aim at: what the spec asks for unless it failed, then what serves, then what served before.

    "" while the spec cannot become a revision: what is in progress goes on.
    """
    state, wish = world.state, world.state.pinned or asked(world)
    if not wish or state.failure(wish) is None:
        return wish
    if state.stable and state.failure(state.stable) is None:
        return state.stable
    return state.previous


def blocked_hold(world: World, target: Blocked) -> Decision:
    """Wait for what is missing; after two minutes (at once for a mistake) say that it will not come by itself."""
    said = find(world.before.get("conditions") or (), "Stalled")
    # A new process has not waited itself, but need not say the opposite of the last one.
    already = said is not None and (said["status"], said["reason"]) == ("True", target.reason)
    stalled = not target.passing or already or world.elapsed(f"blocked:{target.reason}") >= PATIENCE
    return hold(world, target.reason, target.message, stalled=stalled)


# Apply order must not fail a GitOps wave: what is missing may follow within this time, in seconds.
PATIENCE = 120.0


def turned_back(world: World, state: State) -> State:
    """The registers of a revert: through Replacing again, if stable has made way for the candidate."""
    replaced = world.terms.recreate and state.phase in ("Replacing", "Promoting") and bool(state.stable)
    return replace(state, phase="Replacing" if replaced else "Reverting", weight=0, skip_to=0, lent=0, kept=0)


def revert(world: World, reason: str, message: str) -> Decision:
    """Back to stable without branding the candidate."""
    return move(world, reason, message, state=turned_back(world, world.state))


def revert_failed(world: World, fault: Fault) -> Decision:
    """Back to stable; the candidate does not start again by itself."""
    state, now = world.state, world.now
    branded = brand(state, state.candidate, fault.reason, fault.message, now.wall, world.generation)
    message = f"{state.candidate} failed: {fault.message}"
    return move(world, fault.reason, message, warn=True, state=turned_back(world, branded))
