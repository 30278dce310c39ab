"""What a candidate and stable are compared by: the gateways' counters as attempts and bad ones of each metric."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

from understudy.api.v1alpha1.rollout import Metric
from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, RevisionState
from understudy.plan.counts import Counts
from understudy.plan.strategy import Terms

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


def slower(buckets: Sequence[int], bounds: Sequence[float], objective: float) -> Counts:
    """All values of a histogram, and those surely above `objective` seconds: of a bucket that holds it, none."""
    return sum(buckets), sum(buckets[bisect_left(bounds, objective) + 1 :])


def judged(terms: Terms) -> tuple[Metric, ...]:
    """The metrics that a verdict may be based on."""
    return tuple(metric for metric in terms.metrics if metric in COUNTED)


Measures = Mapping[Metric, Counts]
