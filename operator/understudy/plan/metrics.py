"""What a candidate and stable are compared by: the gateways' counters as attempts and bad ones of each metric."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from understudy.api.v1alpha1.rollout import METRICS, Metric
from understudy.domain.state import ITL_BOUNDS, PAIR_METRICS, TTFT_BOUNDS, RevisionState
from understudy.plan.counts import Counts, Tally
from understudy.plan.strategy import Terms

# By metric, or by rung of a ladder (`ladder.Rung.key`).
Measures = Mapping[str, Counts]
Paired = Mapping[str, Tally]
# Metrics of which both halves of a pair can tell. A copy's answer reaches nobody, so no Guardrail is asked about it.
PAIRED: Final[tuple[Metric, ...]] = tuple(metric for metric in METRICS if metric in PAIR_METRICS)
# What can be judged without stable beside it. How many bad requests clients send, and how long they wait for an
# answer, changes with the day; what fails to be answered does not.
JUDGED_ALONE: Final[tuple[Metric, ...]] = ("errors",)


def measured(state: RevisionState, terms: Terms, *, guarded: bool) -> Measures:
    """What one gateway has counted of one revision's samples; a stream is bad by its longest gap.

    While it is `guarded`, answers that a Guardrail changed are counted of all turns; those of one conversation are
    seconds apart.
    """
    sample = state.sample
    blocks: Measures = {"guardrailBlocks": (state.guard.turns, state.guard.acted)} if guarded else {}
    return {
        "errors": (sample.attempts, sample.errors),
        "rejected": (sample.attempts, sample.rejected_4xx),
        "timeToFirstToken": slower(sample.ttft, TTFT_BOUNDS, terms.first_token),
        "interTokenLatency": slower(sample.slowest, ITL_BOUNDS, terms.between_tokens),
        "emptyOutput": (sample.attempts, sample.empty),
        **blocks,
    }


def paired(state: RevisionState) -> Paired:
    """What one gateway has counted of the pairs of which one revision's answers are a half: its own, and stable's.

    A pair in which both are bad is a bad one of each. That keeps the bet fair whatever both have in common: with P the
    chances of a pair to be bad on the shadow alone, on stable alone and on both, a stake on the gain g is worth
    P(shadow)*g/d + P(stable)/d + P(both)*g/d**2 afterwards, d = (1 + t*g) / (1 + t), which is at most the sum of these
    chances as long as P(shadow) + P(both) <= t * (P(stable) + P(both)). Of the pairs in which but one is bad, a share
    of t / (1 + t) on the shadow would not follow from that.
    """
    pairs = state.pairs
    found: dict[str, Tally] = {}
    for metric in PAIRED:
        both = pairs.both.get(metric, 0)
        own, others = pairs.worse.get(metric, 0) + both, pairs.better.get(metric, 0) + both
        found[metric] = (pairs.count, own), (pairs.count, others)
    return found


def slower(buckets: Sequence[int], bounds: Sequence[float], objective: float) -> Counts:
    """All values of a histogram, and those surely above `objective` seconds: of a bucket that holds it, none."""
    return sum(buckets), sum(buckets[bisect_left(bounds, objective) + 1 :])
