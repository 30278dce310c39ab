"""What a candidate and stable are compared by: the gateways' counters as attempts and bad ones of each metric."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from understudy.api.v1alpha1.rollout import Metric
from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, RevisionState
from understudy.plan.counts import Counts
from understudy.plan.strategy import Terms

Measures = Mapping[Metric, Counts]
Paired = Mapping[Metric, tuple[Counts, Counts]]
# Metrics that gateways count. Blocks of guardrails are not among them yet.
COUNTED: Final[tuple[Metric, ...]] = ("errors", "rejected", "timeToFirstToken", "interTokenLatency", "emptyOutput")
# What can be judged without stable beside it. How many bad requests clients send, and how long they wait for an
# answer, changes with the day; what fails to be answered does not.
JUDGED_ALONE: Final[tuple[Metric, ...]] = ("errors",)


def measured(state: RevisionState, terms: Terms) -> dict[Metric, Counts]:
    """What one gateway has counted of one revision's samples; a stream is bad by its longest gap."""
    sample = state.sample
    return {
        "errors": (sample.attempts, sample.errors),
        "rejected": (sample.attempts, sample.rejected_4xx),
        "timeToFirstToken": slower(sample.ttft, TTFT_BOUNDS, terms.first_token),
        "interTokenLatency": slower(sample.slowest, ITL_BOUNDS, terms.between_tokens),
        "emptyOutput": (sample.attempts, sample.empty),
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
    found: dict[Metric, tuple[Counts, Counts]] = {}
    for metric in COUNTED:
        both = pairs.both.get(metric, 0)
        own, others = pairs.worse.get(metric, 0) + both, pairs.better.get(metric, 0) + both
        found[metric] = (pairs.count, own), (pairs.count, others)
    return found


def slower(buckets: Sequence[int], bounds: Sequence[float], objective: float) -> Counts:
    """All values of a histogram, and those surely above `objective` seconds: of a bucket that holds it, none."""
    return sum(buckets), sum(buckets[bisect_left(bounds, objective) + 1 :])


def judged(terms: Terms) -> tuple[Metric, ...]:
    """The metrics that a verdict may be based on."""
    return tuple(metric for metric in terms.metrics if metric in COUNTED)
