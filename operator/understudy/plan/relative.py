"""The relative verdict (T1): one check for each metric, and what it has compared so far, in words.

Each looks at the whole rollout's evidence at any time while the candidate has a share. See `sequential.py`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from understudy.api.v1alpha1.rollout import Metric
from understudy.plan.counts import Counts, Tally
from understudy.plan.faults import Fault
from understudy.plan.memory import SHADOW
from understudy.plan.metrics import JUDGED_ALONE, PAIRED
from understudy.plan.rulebook import Check
from understudy.plan.sequential import ALONE, Comparison, Standard, at_step, counted, divided, evidence, pod_luck
from understudy.plan.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from understudy.plan.analysis import Bench

# Evidence from which nobody is promoted, unless the candidate has had no bad attempt for so many seconds.
DOUBTFUL: Final = 10.0
QUIET: Final = 60.0
WORDS: Final[dict[Metric, str]] = {
    "errors": "errors",
    "rejected": "rejections",
    "timeToFirstToken": "slow first tokens",
    "interTokenLatency": "slow tokens",
    "emptyOutput": "empty answers",
    "guardrailBlocks": "answers that Guardrails changed",
}


def worse_errors(world: World, bench: "Bench") -> Fault | None:
    """More attempts fail than on stable, by more than tolerated."""
    return _worse(world, bench, "errors", "WorseErrors")


def more_rejections(world: World, bench: "Bench") -> Fault | None:
    """The engine refuses more requests as bad."""
    return _worse(world, bench, "rejected", "MoreRejections")


def slower_first_token(world: World, bench: "Bench") -> Fault | None:
    """More answers begin later than the objective says."""
    return _worse(world, bench, "timeToFirstToken", "SlowerFirstToken")


def slower_tokens(world: World, bench: "Bench") -> Fault | None:
    """More streams stand still for longer than the objective says."""
    return _worse(world, bench, "interTokenLatency", "SlowerTokens")


def more_blocks(world: World, bench: "Bench") -> Fault | None:
    """More answers have to be changed or blocked by Guardrails."""
    return _worse(world, bench, "guardrailBlocks", "MoreBlocks")


def more_empty(world: World, bench: "Bench") -> Fault | None:
    """More answers say nothing."""
    return _worse(world, bench, "emptyOutput", "MoreEmptyAnswers")


RELATIVE_CHECKS: Final[tuple[Check, ...]] = (
    worse_errors,
    more_rejections,
    slower_first_token,
    slower_tokens,
    more_empty,
    more_blocks,
)


def compare(world: World, step: str, samples: "Mapping[str, Tally]", seconds: float) -> dict[Metric, Comparison]:
    """The comparisons with `samples` of the last `seconds` added, which were counted at `step`.

    From a weight of 95 % on the candidate is alone: then only some metrics go on, and none does while nothing shows
    that its comparator answers, because what fails may fail on both. In a pair it never is.
    """
    phase, weight = world.state.phase, world.state.weight
    mixed = phase == "Shadow" or (phase == "Canary" and weight < 100 * ALONE)
    telling = PAIRED if phase == "Shadow" else judged(world) if mixed else JUDGED_ALONE
    metrics = [metric for metric in judged(world) if metric in telling]
    comparator = world.state.previous if phase == "Watching" else world.state.stable
    if not mixed and world.revision(comparator).proven == 0:
        return dict(world.comparisons)
    grown = dict(world.comparisons)
    for metric in metrics:
        standard = standard_of(world, metric)
        comparison = at_step(grown.get(metric, Comparison()), step, mixed=mixed, standard=standard)
        grown[metric] = counted(comparison, *samples[metric], seconds, standard)
    return grown


def judged(world: World) -> tuple[Metric, ...]:
    """The metrics that a verdict may be based on. Without a Guardrail there are no blocks to spend any of alpha on."""
    return tuple(metric for metric in world.terms.metrics if world.guarded or metric != "guardrailBlocks")


def standard_of(world: World, metric: Metric) -> Standard:
    """What is tolerated of a metric. Pods are those of the first step throughout: more come, but later.

    So is their luck in a rollout with Shadow, or a step would make more of the same evidence.
    """
    terms = world.terms
    return Standard(
        tolerance=terms.tolerance,
        alpha=divided(terms.alpha, judged(world))[metric],
        luck=pod_luck(world.need(terms.next_weight(0)), world.replicas, copied=terms.shadow_percent > 0),
    )


def doubtful(world: World) -> str:
    """The metrics that speak against the candidate, if not enough for a verdict, as a phrase; "" if none does."""
    found = [
        f"{WORDS[metric]} look worse than tolerated (evidence {value:.0f} of {limit:.0f})"
        for metric, comparison, value, limit in _weighed(world)
        if value >= DOUBTFUL and comparison.quiet < QUIET
    ]
    return ", ".join(found)


def compared(world: World, step: str) -> list[str]:
    """What was compared at `step`, a sentence for each metric."""
    return [
        f"{_sides(world, metric, comparison)}; evidence {value:.2g}, a verdict from {limit:.0f}"
        for metric, comparison, value, limit in _weighed(world)
        if comparison.step == step
    ]


def _weighed(world: World) -> Iterator[tuple[Metric, Comparison, float, float]]:
    """Each comparison with its evidence, and the evidence from which it is a verdict."""
    for metric in judged(world):
        comparison = world.comparisons.get(metric)
        if comparison is not None:
            standard = standard_of(world, metric)
            yield metric, comparison, evidence(comparison, standard), standard.threshold


def _worse(world: World, bench: "Bench", metric: Metric, reason: str) -> Fault | None:
    comparison = world.comparisons.get(metric)
    if comparison is None or metric not in judged(world) or bench.subject.name != world.judged:
        return None
    standard = standard_of(world, metric)
    value = evidence(comparison, standard)
    if value < standard.threshold:
        return None
    sides = _sides(world, metric, comparison)
    tolerated = f"more than {standard.tolerance:g} times as many"
    return Fault(reason, f"{sides}; {tolerated} (evidence {value:.3g} of {standard.threshold:.0f})", shared=True)


def _sides(world: World, metric: Metric, comparison: Comparison) -> str:
    other = comparison.other if comparison.mixed else comparison.baseline
    before = "" if comparison.mixed else " before, when both had a share"
    of = " in pairs" if comparison.step.endswith(f"/{SHADOW}") else ""
    return (
        f"{WORDS[metric]}{of}: {_part(comparison.subject)} on {world.judged}, {_part(other)} on its comparator{before}"
    )


def _part(counts: Counts) -> str:
    attempts, bad = counts
    return f"{bad} of {attempts} ({bad / attempts:.2%})" if attempts else f"{bad} of {attempts}"
