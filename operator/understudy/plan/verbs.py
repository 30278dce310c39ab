"""What people ask for by annotation: `<verb>[=argument][@<candidate>][;nonce]`.

A value that differs from the one last looked at is new. What does not apply is recorded as a no-op
with the reason; it never waits for a time when it would apply.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from understudy.domain.names import ANNOTATION_REQUEST
from understudy.plan.actions import Emit
from understudy.plan.decision import asked, turned_back
from understudy.plan.rollback import roll_back
from understudy.plan.routes import is_shown
from understudy.plan.state import Request, State, brand, forgive
from understudy.plan.world import World

_FORM: Final = re.compile(r"(?P<verb>[a-z-]+)(=(?P<argument>[^@;]*))?(@(?P<revision>[0-9a-f]{8}))?(;.*)?", re.DOTALL)
_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read: `revision` is "" if it names none."""

    verb: str
    argument: str
    revision: str


# The registers after the request, or why it does not apply.
Verb = Callable[[World, Asked], State | str]


def obey(world: World) -> tuple[State, Emit | None]:
    """The registers with a new request carried out or noted, and the event that says so."""
    state = world.state
    value = str((world.meta.get("annotations") or {}).get(ANNOTATION_REQUEST, ""))[:_LIMIT]
    if not value or value == state.request.value:
        return state, None
    form = _FORM.fullmatch(value)
    request = Asked(form["verb"], form["argument"] or "", form["revision"] or "") if form else None
    verb = VERBS.get(request.verb) if request is not None else None
    if request is None or verb is None:
        outcome: State | str = f"unknown request: write one of {', '.join(sorted(VERBS))}"
    else:
        outcome = verb(world, request)
    if isinstance(outcome, str):
        noted = replace(state, request=Request(value, applied=False, message=outcome))
        return noted, Emit("Warning", "RequestNotApplied", f"{value}: {outcome}")
    done = replace(outcome, request=Request(value, applied=True))
    return done, Emit("Normal", "RequestApplied", value)


def pause(world: World, _: Asked) -> State | str:
    """No further steps until `resume`; going back stays armed."""
    return "paused already" if world.state.paused else replace(world.state, paused=True)


def resume(world: World, _: Asked) -> State | str:
    """Steps go on."""
    return replace(world.state, paused=False) if world.state.paused else "not paused"


def promote(world: World, request: Asked) -> State | str:
    """The current step needs no further samples or pairs, and no soak; with BlueGreen, everybody switches."""
    return _waive(world, request, 1 if world.state.phase == "Shadow" else world.state.weight or 100)


def promote_full(world: World, request: Asked) -> State | str:
    """No step needs samples or soak any more."""
    return _waive(world, request, 100)


def abort(world: World, request: Asked) -> State | str:
    """Back to stable; the candidate does not start again by itself."""
    state = world.state
    if other := _other(request, state.candidate):
        return other
    if not state.candidate or state.phase == "Restoring" or (state.phase == "Replacing" and state.fallen):
        return "nothing is being rolled out"
    if not state.stable:
        return "there is nothing to go back to: change the spec, or delete the deployment"
    if state.failure(state.candidate) is not None:
        return f"{state.candidate} is on its way back already"
    branded = brand(state, state.candidate, "Aborted", "aborted by request", world.now.wall, world.generation)
    return turned_back(world, branded)


def retry(world: World, request: Asked) -> State | str:
    """The failed revision that the spec asks for may start again; a rollback's pin goes with its entry."""
    wish = asked(world)
    if other := _other(request, wish):
        return other
    if world.state.failure(wish) is None:
        return "the revision that the spec asks for has not failed"
    return forgive(world.state, wish)


def rollback(world: World, request: Asked) -> State | str:
    """What was promoted under that number serves again; what the spec asks for waits for `retry`."""
    return roll_back(world, request.argument)


VERBS: Final[Mapping[str, Verb]] = {
    "abort": abort,
    "pause": pause,
    "promote": promote,
    "promote-full": promote_full,
    "resume": resume,
    "retry": retry,
    "rollback": rollback,
}


def _other(request: Asked, revision: str) -> str:
    """Why a request that names a revision does not apply to this one."""
    named = request.revision
    return f"it is for {named}, and that is not what is here" if named not in ("", revision) else ""


def _waive(world: World, request: Asked, weight: int) -> State | str:
    state = world.state
    if state.phase == "Preparing" and world.terms.gated and not is_shown(world):
        return f"{state.candidate} has not answered on all its pods yet"
    if state.phase not in ("Shadow", "Canary") and not (state.phase == "Preparing" and is_shown(world)):
        return "no candidate is taking its steps"
    if request.revision != state.candidate:
        return f"it must name the candidate that it is for: {request.verb}@{state.candidate}"
    return replace(state, skip_to=max(state.skip_to, weight))
