"""The terms of a rollout: what the spec says about how a candidate takes over, as numbers.

Strategy, analysis, deadlines and Recreate freeze when the candidate is chosen; steps, shadow, autoPromoteAfter, the
rest of capacity, watch and drain apply live: who waits for pairs or places may ask for more copies, fewer pairs or
more pods of stable, which begins nothing anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.api.v1alpha1.rollout import Capacity, Metric, Rollout, Step
from understudy.api.v1alpha1.shape import to_manifest
from understudy.domain.duration import seconds

# Immediate and BlueGreen: all at once; only the hard checks can still turn it back.
_AT_ONCE = (Step(weight=100, soak="0s"),)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds, counts and shares of one rollout. `steps` are (weight in percent, soak in seconds), rising.

    `tolerance`, `alpha` and `metrics` are those of the relative verdict, `first_token` and `between_tokens` the
    response times that count as good. `gated`: the switch waits for `promote`, or for `promote_after` seconds if
    that is not None. `recreate`: the old pods are gone before the new ones come. `lendable`: so many of stable's pods
    may make way (None: half) while a candidate finds no node, after it has waited for `patience` seconds. Before the
    first step the candidate gets copies of `shadow_percent` of the requests (0 = none) until `shadow_samples` pairs of
    answers were compared.
    """

    immediate: bool
    gated: bool
    promote_after: float | None
    recreate: bool
    lendable: int | None
    patience: float
    shadow_percent: int
    shadow_samples: int
    steps: tuple[tuple[int, float], ...]
    min_samples: int
    error_rate: float
    min_requests: int
    scheduling: float
    no_data_timeout: float
    no_data_reverts: bool
    watch: float
    tolerance: float
    alpha: float
    metrics: tuple[Metric, ...]
    first_token: float
    between_tokens: float

    def spare(self, replicas: int) -> int:
        """So many of `replicas` pods of stable may make way at most: never all of them.

        With no place beside them, half is what it takes until the candidate has as many as stable keeps.
        """
        most = -(-replicas // 2) if self.lendable is None else self.lendable
        return max(0, min(most, replicas - 1))

    def next_weight(self, above: int) -> int:
        """The first step above a weight; 100 beyond the last."""
        return next((weight for weight, _ in self.steps if weight > above), 100)

    def first_share(self) -> int:
        """Percent of the requests that the candidate's pods have to bear first, as copies or at the first step."""
        return max(self.shadow_percent, self.next_weight(0))

    def samples(self, weight: int) -> int:
        """Requests that must be seen at a weight; pairs at none."""
        return self.min_samples if weight else self.shadow_samples

    def soak(self, weight: int) -> float:
        """Seconds under observation at a weight; of the last step not above it, if no step is exactly there."""
        if not weight:
            return 0.0
        reached = [soak for step, soak in self.steps if step <= weight]
        return reached[-1] if reached else self.steps[0][1]

    def position(self, weight: int) -> int:
        """Number of the step, from 1, that a weight belongs to; 0 for no weight."""
        return sum(1 for step, _ in self.steps if step < weight) + 1 if weight else 0


def freeze(rollout: Rollout, *, proved: bool = False) -> dict[str, Any]:
    """What holds for a whole rollout, as status keeps it; one that has `proved` itself before comes at once."""
    whole = to_manifest(rollout)
    frozen = {name: whole[name] for name in ("strategy", "capacity", "analysis", "deadlines")}
    return {**frozen, "strategy": "Immediate"} if proved else frozen


def terms(rollout: Rollout, frozen: Mapping[str, Any]) -> Terms:
    """The terms of the rollout in progress; `frozen` is empty when there is none."""
    fixed = Rollout.model_validate({**to_manifest(rollout), **frozen}) if frozen else rollout
    analysis = fixed.analysis
    at_once = fixed.strategy != "Canary"
    recreate = fixed.strategy == "Immediate" and fixed.capacity.mode == "Recreate"
    capacity, scheduling = rollout.capacity, seconds(fixed.deadlines.scheduling)
    shadow = None if at_once else rollout.shadow
    return Terms(
        immediate=fixed.strategy == "Immediate",
        gated=fixed.strategy == "BlueGreen",
        promote_after=seconds(rollout.auto_promote_after) if rollout.auto_promote_after is not None else None,
        recreate=recreate,
        lendable=0 if recreate else _lendable(capacity),
        # A pod that waits is the cluster autoscaler's signal: with Auto it has all its time to make room.
        patience=scheduling if capacity.mode == "Auto" else 0.0,
        shadow_percent=shadow.percent if shadow is not None else 0,
        shadow_samples=shadow.samples if shadow is not None else 0,
        steps=tuple((s.weight, seconds(s.soak)) for s in (_AT_ONCE if at_once else rollout.steps)),
        min_samples=0 if at_once else analysis.min_samples,
        error_rate=analysis.ceilings.error_rate,
        min_requests=analysis.ceilings.min_requests,
        scheduling=scheduling,
        no_data_timeout=seconds(analysis.no_data.timeout),
        no_data_reverts=analysis.no_data.then == "Revert",
        watch=seconds(rollout.watch),
        tolerance=analysis.tolerance,
        alpha=analysis.alpha,
        # All at once leaves nothing to compare with.
        metrics=() if at_once else analysis.metrics,
        first_token=seconds(analysis.objectives.time_to_first_token),
        between_tokens=seconds(analysis.objectives.inter_token_latency),
    )


def _lendable(capacity: Capacity) -> int | None:
    """What is not said is what it takes for who has asked to borrow, and little for who has not."""
    if capacity.mode not in ("Auto", "Borrow"):
        return 0
    return capacity.max_unavailable or (None if capacity.mode == "Borrow" else 1)
