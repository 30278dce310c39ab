"""What the ladders of Guardrails say of a deployment's revisions now: which rungs are exceeded, and what follows.

A revision on trial is judged by what was counted of it in this rollout, one that serves by what gateways have counted
since they began. Only who is on trial can be paused or turned back; of what serves it is told.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from understudy.plan.counts import NOTHING, Counts, Tally
from understudy.plan.faults import Fault
from understudy.plan.ladder import Rung, RungAction, exceeds, standing
from understudy.plan.state import BREACHED, QUARANTINED
from understudy.plan.trial import trial_of
from understudy.plan.world import World

if TYPE_CHECKING:
    from understudy.plan.analysis import Bench

# What turns a revision back, the stricter first, and the class of failure that it has then.
_TURNING_BACK: Final[tuple[tuple[RungAction, str], ...]] = (("Quarantine", QUARANTINED), ("Rollback", BREACHED))


def too_many_findings(world: World, bench: "Bench") -> Fault | None:
    """Guardrails find more in its answers than a rung allows that says Rollback or Quarantine."""
    about = bench.subject.name == world.judged
    acting = [rung for rung in _exceeded(world) if about and not as_bad(world, rung)]
    for action, reason in _TURNING_BACK:
        for rung in acting:
            if rung.action == action:
                return Fault(reason, _sentence(rung, _tally(world, rung)[0], world.judged), safety=True)
    return None


def pausing(world: World) -> tuple[Rung, ...]:
    """Exceeded rungs that say PauseRollout and have not done so in this rollout."""
    acted = world.state.acted
    found = (rung for rung in _exceeded(world) if rung.action == "PauseRollout" and rung.key not in acted)
    return tuple(rung for rung in found if not as_bad(world, rung))


def exceeding(world: World, rung: Rung) -> str:
    """How the revision on trial exceeds a rung, as a sentence."""
    return _sentence(rung, _tally(world, rung)[0], world.judged)


def as_bad(world: World, rung: Rung) -> bool:
    """Its comparator shows as much, by the rollout's tolerance: going back to it would help nobody.

    It must have been judged as often as the rung asks for; where nothing is known of it, the rate alone counts.
    """
    own, other = _tally(world, rung)
    return other[0] >= rung.least and _rate(own) <= world.terms.tolerance * _rate(other)


def told(world: World) -> str:
    """Every rung that is exceeded now by what serves or is on trial, and what came of it; "" if none is."""
    state, subject = world.state, trial_of(world.state).subject
    said: list[str] = []
    if subject and subject == world.judged:
        said.extend(exceeding(world, rung) + _follows(world, rung) for rung in _exceeded(world))
    if state.stable and state.stable != subject:
        for rung in world.rungs:
            counted = standing(rung, world.observed.gateways, str(world.observed.key), state.stable)
            if exceeds(rung, counted):
                idle = "" if rung.action == "Notify" else f"; {rung.action} does not apply: it is what serves"
                said.append(_sentence(rung, counted, state.stable) + idle)
    return "; ".join(said)


def compared(world: World) -> list[str]:
    """What was counted for each rung in this rollout, a sentence for each."""
    found = []
    for rung in world.rungs:
        own, other = _tally(world, rung)
        sides = f"{_part(own)} on {world.judged}, {_part(other)} on its comparator"
        found.append(f"{rung.name}: {sides}; {rung.action} from {rung.rate:.2%} of {rung.least} turns on")
    return found


def _exceeded(world: World) -> Iterator[Rung]:
    return (rung for rung in world.rungs if exceeds(rung, _tally(world, rung)[0]))


def _tally(world: World, rung: Rung) -> Tally:
    return world.tallies.get(rung.key, (NOTHING, NOTHING))


def _follows(world: World, rung: Rung) -> str:
    """What an exceeded rung has done to the revision on trial."""
    if rung.action == "Notify":
        return ""
    if as_bad(world, rung):
        return f"; {_part(_tally(world, rung)[1])} on its comparator, so nothing follows"
    if rung.action != "PauseRollout":
        return "; there is nothing to go back to"
    if rung.key in world.state.acted:
        return "; the rollout was paused for it"
    return "; the rollout is paused already" if world.state.paused else "; no rollout is there to pause"


def _sentence(rung: Rung, counted: Counts, revision: str) -> str:
    test = "" if rung.alpha is None else f" by a sequential test, alpha {rung.alpha:g}"
    return f"{rung.name}: {_part(counted)} on {revision}, {rung.rate:.2%} are too many{test}"


def _part(counts: Counts) -> str:
    return f"{counts[1]} of {counts[0]} turns ({_rate(counts):.2%})"


def _rate(counts: Counts) -> float:
    return counts[1] / counts[0] if counts[0] else 0.0
