"""Simulated rollouts for the relative verdict: seeded, in virtual time, through the same functions as the operator's.

One run is one candidate under observation: requests arrive at random, go to candidate and stable by weight, and fail
at random at the rate of the pods that they meet.
"""

import math
import random
from dataclasses import dataclass
from statistics import fmean

from understudy.plan.counts import Counts
from understudy.plan.sequential import INTERVAL, Comparison, Standard, at_step, counted, divided, evidence, pod_luck

ALPHA = divided(0.01, ("errors", "timeToFirstToken"))["errors"]
STABLE_PODS = 4
# Standard deviation of the logarithm of a pod's own failure rate where pods are uneven.
UNEVEN = 0.3
OUTAGE = (300.0, 600.0)
OUTAGE_RATE = 0.9
# At which a candidate that is alone has been compared with stable before.
SHARED_WEIGHT, SHARED_SECONDS = 50, 300.0


@dataclass(frozen=True)
class Case:
    """What is simulated. `weight` is in percent, `rate` in requests per second, `base` stable's rate of failures.

    `ratio` is how many times as often the candidate fails, from second `turns` on. `uneven`: pods differ;
    `outage`: both fail for five minutes; `burst`: so many failures come at once on average.
    """

    weight: int
    rate: float
    base: float
    tolerance: float
    ratio: float = 1.0
    turns: float = 0.0
    uneven: bool = False
    outage: bool = False
    burst: float = 1.0
    seconds: float = 1200.0

    @property
    def pods(self) -> int:
        """Pods of the candidate: as many as its weight needs of stable's number."""
        return max(1, math.ceil(self.weight * STABLE_PODS / 100))


@dataclass(frozen=True)
class Copies:
    """Pairs in Shadow, for a candidate with one pod: `rate` per second, `base` stable's rate of failures.

    `ratio` is how many times as often the candidate fails; `common` is the share (0 to 1) of stable's failures that are
    the request's doing, so that the candidate fails in the same pairs.
    """

    rate: float
    base: float
    common: float
    ratio: float = 1.0
    uneven: bool = False
    tolerance: float = 1.5
    seconds: float = 1200.0


def run_pairs(case: Copies, chance: random.Random) -> float | None:
    """Pairs until the verdict against the candidate; None if there is none."""
    standard = Standard(case.tolerance, ALPHA, pod_luck(1, STABLE_PODS, copied=True))
    lucks = (UNEVEN if case.uneven else 0.0, UNEVEN / math.sqrt(STABLE_PODS) if case.uneven else 0.0)
    mine, others = (math.exp(chance.gauss(0.0, luck)) for luck in lucks)
    both = case.base * case.common
    worse = max(0.0, case.base * case.ratio * mine - both)
    better = max(0.0, case.base * others - both)
    comparison, pairs = at_step(Comparison(), "shadow", mixed=True, standard=standard), 0
    for _ in range(round(case.seconds / INTERVAL)):
        count = _poisson(case.rate * INTERVAL, chance)
        pairs += count
        together = _binomial(count, both, chance)
        alone = _binomial(count - together, worse / (1 - both), chance)
        spared = _binomial(count - together - alone, better / (1 - both - worse), chance)
        comparison = counted(comparison, (count, together + alone), (count, together + spared), INTERVAL, standard)
        if evidence(comparison, standard) >= standard.threshold:
            return float(pairs)
    return None


def run(case: Case, chance: random.Random) -> float | None:
    """Seconds from the beginning (or from when it turns bad) to the verdict against the candidate; None if none."""
    standard = Standard(case.tolerance, ALPHA, pod_luck(case.pods, STABLE_PODS))
    subject_luck, other_luck = _luck(case, case.pods, chance), _luck(case, STABLE_PODS, chance)
    comparison = Comparison()
    if case.weight == 100:
        comparison = at_step(comparison, "shared", mixed=True, standard=standard)
        for _ in range(round(SHARED_SECONDS / INTERVAL)):
            subject = _served(case, SHARED_WEIGHT, case.base * subject_luck, chance)
            other = _served(case, 100 - SHARED_WEIGHT, case.base * other_luck, chance)
            comparison = counted(comparison, subject, other, INTERVAL, standard)
            if evidence(comparison, standard) >= standard.threshold:
                return 0.0
    comparison = at_step(comparison, "judged", mixed=case.weight < 95, standard=standard)
    for index in range(round((case.turns + case.seconds) / INTERVAL)):
        now = index * INTERVAL
        down = OUTAGE_RATE if case.outage and OUTAGE[0] <= now < OUTAGE[1] else 0.0
        ratio = case.ratio if now >= case.turns else 1.0
        subject = _served(case, case.weight, _either(down, case.base * ratio * subject_luck), chance)
        other = _served(case, 100 - case.weight, _either(down, case.base * other_luck), chance)
        comparison = counted(comparison, subject, other, INTERVAL, standard)
        if evidence(comparison, standard) >= standard.threshold:
            return now + INTERVAL - case.turns
    return None


def _luck(case: Case, pods: int, chance: random.Random) -> float:
    return fmean(math.exp(chance.gauss(0.0, UNEVEN)) for _ in range(pods)) if case.uneven else 1.0


def _either(down: float, rate: float) -> float:
    return down + (1.0 - down) * min(1.0, rate)


def _served(case: Case, weight: int, rate: float, chance: random.Random) -> Counts:
    """Attempts and failures of one side in one interval."""
    attempts = _poisson(case.rate * weight / 100 * INTERVAL, chance)
    if case.burst <= 1.0:
        return attempts, _binomial(attempts, rate, chance)
    bursts = _binomial(attempts, rate / case.burst, chance)
    size = sum(1 + _geometric(1.0 / case.burst, chance) for _ in range(bursts))
    return attempts, min(attempts, size)


def _poisson(mean: float, chance: random.Random) -> int:
    if mean > 50.0:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def _binomial(trials: int, rate: float, chance: random.Random) -> int:
    if trials <= 50:
        return sum(chance.random() < rate for _ in range(trials))
    if min(rate, 1.0 - rate) * trials < 20.0:
        few = min(trials, _poisson(trials * min(rate, 1.0 - rate), chance))
        return few if rate < 0.5 else trials - few
    drawn = round(chance.gauss(trials * rate, math.sqrt(trials * rate * (1.0 - rate))))
    return min(trials, max(0, drawn))


def _geometric(stop: float, chance: random.Random) -> int:
    return int(math.log(1.0 - chance.random()) / math.log(1.0 - stop))
