"""Shadow: the candidate answers copies of requests, which nobody sees; pairs of answers are compared."""

from typing import Final

from understudy.plan.decision import Decision, hold, move
from understudy.plan.phases.canary import (
    no_gateway,
    short_of_pods,
    stable_down,
    starved,
    thinned,
    unclear,
    unprogrammed,
    unproven,
)
from understudy.plan.phases.resting import unenforced, unguarded
from understudy.plan.phases.trying import (
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
from understudy.plan.rulebook import Rule
from understudy.plan.world import World


def uncopied(world: World) -> Decision | None:
    """Fewer copies are made than are asked for: the pods that these need have not all answered."""
    terms, candidate = world.terms, world.candidate
    if world.copied(candidate.name) >= terms.shadow_percent:
        return None
    waiting = unscheduled(world, candidate) or distrusted(world, candidate)
    if waiting is not None:
        return waiting
    need = world.need(terms.first_share())
    what = f"copies of {terms.shadow_percent} % of the requests"
    return hold(world, "Scaling", f"{candidate.proven} of {need} pods for {what} have answered")


def step_on(world: World) -> Decision | None:
    """Enough pairs were compared, or none are asked for any more: the first step."""
    state, weight = world.state, world.terms.next_weight(0)
    message = f"{state.candidate} passed Shadow; it gets {weight} % of the conversations"
    # `promote` in Shadow waived pairs, not the samples of a step.
    skip_to = state.skip_to if state.skip_to >= 100 else 0
    return move(world, "Step", message, phase="Canary", weight=weight, skip_to=skip_to)


SHADOW: Final[tuple[Rule, ...]] = (
    failing,
    scaled_to_zero,
    superseded,
    call_back,
    resize,
    thinned,
    starved,
    stable_down,
    paused,
    unclear,
    unguarded,
    unenforced,
    no_gateway,
    lend,
    uncopied,
    short_of_pods,
    unsettled,
    unprogrammed,
    unproven,
    step_on,
)
