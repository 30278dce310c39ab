"""The relative verdict on one metric (T1): does the candidate fail more often than stable, by more than tolerated?

The gateways' counts are cut into intervals. While both sides have requests, each failure of an interval is a round of
an e-process: at equal rates it falls on the candidate with the chance that is its share of the interval's attempts,
as they were, not as the weight says. Once nearly all requests go to the candidate there is nobody to compare it with
at the same moment, and each attempt becomes a round against the rate that stable had at the last step they shared.

All state is a few numbers and survives a restart in the record of the revision, so a restart begins nothing anew.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.plan.clumping import Clumping
from understudy.plan.counts import NOTHING, Counts, add, pair
from understudy.plan.eprocess import EProcess, tilt, upper_rate

# Seconds of an interval at least: so long that its share of attempts is not a matter of single requests.
INTERVAL: Final = 5.0
# Failures of one interval weigh as so many at most: until clumps are known as such, or if they are the candidate's.
MOST: Final = 4.0
# From this share of the attempts on there are too few on stable to compare with.
ALONE: Final = 0.95
# Standard deviation of the logarithm of one pod's failure rate that is nobody's fault. Where requests are copied it is
# taken for more: one pod answers as many as stable's do, so that in the end its own rate is known, and that is blamed.
POD_LUCK: Final = 0.14
COPIED_LUCK: Final = 0.2
# The metric that takes half of alpha, and the part of each metric's alpha that goes to not knowing stable's rate.
FOREMOST: Final = "errors"
DOUBT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one rollout: attempts and bad ones of candidate (`subject`) and stable (`other`).

    `step` names the step that they were counted at, `mixed` says whether its weight leaves enough for stable to be
    compared with. `fresh_…` have been counted in the interval of `seconds` that is open and are in the totals too.
    `baseline` is what stable showed at the last mixed step before this one, `clumping` how its bad attempts came,
    `quiet` the seconds of closed intervals since the candidate had a bad one.
    """

    process: EProcess = field(default_factory=EProcess)
    step: str = ""
    mixed: bool = False
    subject: Counts = NOTHING
    other: Counts = NOTHING
    seconds: float = 0.0
    fresh_subject: Counts = NOTHING
    fresh_other: Counts = NOTHING
    baseline: Counts = NOTHING
    clumping: Clumping = field(default_factory=Clumping)
    quiet: float = 0.0


@dataclass(frozen=True, slots=True)
class Standard:
    """What is tolerated: `tolerance` times stable's rate (1 or more), and a false verdict with probability `alpha`.

    `luck` is the deviation that pods alone cause, from `pod_luck`.
    """

    tolerance: float
    alpha: float
    luck: float

    @property
    def threshold(self) -> float:
        """Evidence from which the candidate is worse."""
        return 1.0 / (self.alpha * (1.0 - DOUBT))


def at_step(comparison: Comparison, step: str, *, mixed: bool, standard: Standard) -> Comparison:
    """The comparison at a step, which may be the same one; of another one the counts begin anew, the evidence stays."""
    if comparison.step == step:
        return comparison
    closed = _closed(comparison, standard) if comparison.fresh_subject[0] > 0 else comparison
    baseline = comparison.other if comparison.mixed else comparison.baseline
    return Comparison(closed.process, step, mixed, baseline=baseline, clumping=closed.clumping, quiet=closed.quiet)


def counted(comparison: Comparison, subject: Counts, other: Counts, seconds: float, standard: Standard) -> Comparison:
    """The comparison with what the gateways counted in the last `seconds` (0 or more); none of it may be negative.

    Counts that come in one interval may come in any order and in any number of parts.
    """
    grown = replace(
        comparison,
        subject=add(comparison.subject, subject),
        other=add(comparison.other, other),
        seconds=comparison.seconds + seconds,
        fresh_subject=add(comparison.fresh_subject, subject),
        fresh_other=add(comparison.fresh_other, other),
    )
    # Only attempts, never failures, may decide when an interval ends: or it would end when it suits one side.
    if grown.seconds < INTERVAL or grown.fresh_subject[0] == 0:
        return grown
    return _closed(grown, standard)


def evidence(comparison: Comparison, standard: Standard) -> float:
    """How strongly the closed intervals speak against the candidate: 1 at the start, above the threshold a verdict."""
    return math.exp(comparison.process.log_evidence(standard.tolerance, standard.luck))


def pod_luck(subject_pods: int, other_pods: int, *, copied: bool = False) -> float:
    """Standard deviation of the logarithm of the ratio of both sides' failure rates that pods alone may cause.

    `copied` says that the rollout compares answers to copies of requests.
    """
    return (COPIED_LUCK if copied else POD_LUCK) * math.sqrt(1.0 / max(1, subject_pods) + 1.0 / max(1, other_pods))


def divided(alpha: float, metrics: Iterable[str]) -> dict[str, float]:
    """The probability of a false verdict, by metric: half for errors, the rest in equal parts; they sum to `alpha`."""
    names = tuple(dict.fromkeys(metrics))
    others = [name for name in names if name != FOREMOST]
    if FOREMOST not in names:
        return dict.fromkeys(names, alpha / max(1, len(names)))
    return {FOREMOST: alpha / 2 if others else alpha, **{name: alpha / 2 / len(others) for name in others}}


def dump(comparison: Comparison) -> dict[str, Any]:
    """The comparison as a record keeps it."""
    process = comparison.process
    return {
        "bank": process.bank,
        "stakes": list(process.stakes),
        "classes": list(process.classes),
        "step": comparison.step,
        "mixed": comparison.mixed,
        "subject": list(comparison.subject),
        "other": list(comparison.other),
        "seconds": comparison.seconds,
        "fresh": [*comparison.fresh_subject, *comparison.fresh_other],
        "baseline": list(comparison.baseline),
        "clumping": [comparison.clumping.last, comparison.clumping.squares, comparison.clumping.sums],
        "quiet": comparison.quiet,
    }


def parse(raw: Mapping[str, Any]) -> Comparison:
    """Inverse of `dump`, without loss; a KeyError, TypeError or ValueError means that it is none."""
    start = EProcess()
    fresh = tuple(int(count) for count in raw["fresh"])
    return Comparison(
        process=EProcess(
            bank=_number(raw["bank"]),
            stakes=_numbers(raw["stakes"], len(start.stakes)),
            classes=_numbers(raw["classes"], len(start.classes)),
        ),
        step=str(raw["step"]),
        mixed=bool(raw["mixed"]),
        subject=pair(raw["subject"]),
        other=pair(raw["other"]),
        seconds=_number(raw["seconds"]),
        fresh_subject=pair(fresh[:2]),
        fresh_other=pair(fresh[2:]),
        baseline=pair(raw["baseline"]),
        clumping=Clumping(int(raw["clumping"][0]), *_numbers(raw["clumping"][1:], 2)),
        quiet=_number(raw["quiet"]),
    )


def _closed(comparison: Comparison, standard: Standard) -> Comparison:
    """The interval as rounds of the e-process, and a new one open."""
    (attempts, bad), (others, others_bad) = comparison.fresh_subject, comparison.fresh_other
    share = attempts / (attempts + others)
    # What was known before: the clumps of this interval must not decide what they are worth themselves.
    clumping, size = comparison.clumping, comparison.clumping.size
    if share < ALONE:
        hits, misses, chance = bad, others_bad, tilt(share, standard.tolerance)
        scale = min(1.0 / size, MOST / max(1, bad + others_bad))
        clumping = clumping.after(others_bad)
    else:
        hits, misses = bad, max(0, attempts - bad)
        chance = standard.tolerance * upper_rate(*comparison.baseline, standard.alpha * DOUBT)
        scale = min(1.0 / size, MOST / max(1, bad))
    process = comparison.process
    if chance < 1.0:
        process = process.after(hits * scale, misses * scale, chance)
    quiet = 0.0 if bad else comparison.quiet + comparison.seconds
    closed = replace(comparison, process=process, clumping=clumping, quiet=quiet)
    return replace(closed, seconds=0.0, fresh_subject=NOTHING, fresh_other=NOTHING)


def _numbers(raw: Iterable[Any], length: int) -> tuple[float, ...]:
    numbers = tuple(_number(value) for value in raw)
    if len(numbers) != length:
        msg = f"{len(numbers)} numbers where {length} belong"
        raise ValueError(msg)
    return numbers


def _number(raw: Any) -> float:
    value = float(raw)
    if not math.isfinite(value):
        msg = f"{value} is not a number to go on with"
        raise ValueError(msg)
    return value
