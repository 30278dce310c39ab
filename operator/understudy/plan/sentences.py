"""`status.plan`: what happens next, as one sentence for people."""

from understudy.domain.duration import seconds, words
from understudy.plan.decision import Decision
from understudy.plan.memory import Evidence
from understudy.plan.places import told
from understudy.plan.relative import doubtful
from understudy.plan.world import World


def next_sentence(world: World, decision: Decision) -> str:
    """What the machine waits for and what comes then; `world` has the new registers."""
    state = world.state
    match decision.reason:
        case "WaitingForEvidence" if world.evidence is not None:
            return f"{_evidence(world, world.evidence)}, then {_then(world)}"
        case "WaitingForPromote":
            return f"{decision.message}; then 100 % of the conversations at once"
        case "NotProgrammed" | "NoGateway" | "Paused":
            return f"{decision.message}; then {_then(world)}"
        case "Scaling" | "TooMuchLoad":
            return f"{decision.message}; then {_then(world)}{_places(world)}"
        case "InsufficientGPU" | "InsufficientCapacity" | "EngineTLSFailed" if state.phase == "Canary":
            return f"{decision.message}; then {_then(world)}{_places(world)}"
        case "ReplayingProbeSet":
            return f"{decision.message}; then {_first(world)}"
        case "Starting" | "Releasing" | "InsufficientGPU" | "InsufficientCapacity" | "EngineTLSFailed" if state.stable:
            return f"{decision.message}; then {_first(world)}{_places(world)}"
        case _:
            return decision.message


def _evidence(world: World, evidence: Evidence) -> str:
    terms, seen = world.terms, evidence.subject[0]
    wanted = terms.samples(world.state.weight)
    left = wanted - seen
    if left > 0:
        rate = seen / evidence.lasted if evidence.lasted > 0 else 0.0
        forecast = f" (about {words(left / rate)} at today's rate)" if rate > 0 else " (none has come yet)"
        if world.state.phase == "Shadow":
            return f"{seen} of {wanted} pairs of answers{forecast}"
        return f"{left} more requests on {world.state.candidate}{forecast}"
    doubt = doubtful(world)
    if doubt:
        return f"less doubt about {world.state.candidate}: {doubt}"
    soak = max(0.0, terms.soak(world.state.weight) - evidence.soak)
    return f"{words(soak)} more under observation at {world.state.weight} %"


def _then(world: World) -> str:
    weight = world.state.weight
    if world.state.phase == "Shadow" and world.copied(world.state.candidate) < world.terms.shadow_percent:
        return _first(world)
    if world.written(world.state.candidate) < weight:
        return f"{weight} %"
    if weight < 100:
        return f"{world.terms.next_weight(weight)} %"
    return f"{world.state.candidate} becomes stable and {world.state.stable} stays warm for {_watch(world)}"


def _first(world: World) -> str:
    """What a candidate that answers gets first."""
    percent = world.terms.shadow_percent
    if percent:
        return f"copies of {percent} % of the requests"
    return f"{world.terms.next_weight(0)} % of the conversations"


def _places(world: World) -> str:
    place = told(world)
    return f". {place}" if place else ""


def _watch(world: World) -> str:
    return words(seconds(world.spec.rollout.watch))
