"""An e-process: evidence that failures are more frequent than tolerated, which may be looked at as often as one likes.

Think of a bettor who starts with capital 1 and may only take fair or unfavourable bets as long as the candidate is
as good as tolerated. That the capital ever reaches 1/alpha then has probability alpha at most (Ville's inequality),
whenever and however often it is looked at. Each failure is a round: it lands on the candidate with a chance that the
tolerated rate implies, and the bettor has staked on higher chances, one stake for each of `GAINS`. For canaries see
Lindon and Malek (arXiv 2011.03567: counts under a load that varies), in general Ramdas et al. (arXiv 2210.01948).

Two things are more than the textbook has. Not all is staked at the start, the rest follows bit by bit, so that a
candidate that turns bad after a long good time is not shielded by what the first stakes have lost. And what is won is
divided by how well mere luck with pods explains it: one pod of the candidate may stand on a worse node than four of
stable's, which no revision is to blame for.
"""

import math
from dataclasses import dataclass
from typing import Final

# Rates that are betted on, as multiples of the tolerated one, and the part of every stake that each gets. Few of
# them: a stake with half the part has to win 0.7 more of the 5.4 nats that a verdict takes at alpha 0.005.
GAINS: Final = (1.5, 3.5, 7.0, 15.0)
PARTS: Final = (0.15, 0.5, 0.25, 0.1)
# Part of the capital that is staked at the start. Of the rest, 50/(50 + n) is left after n intervals: a little can
# be staked even after days.
FIRST_STAKE: Final = 0.9
_PACE: Final = 1.0 / (50.0 * (1.0 - FIRST_STAKE))
# Upper ends of the classes of rates that pods alone may account for, as multiples of the tolerated rate, and the
# rate (their geometric middle) that stands for each class. More than 2.5 times is no pod's luck.
CLASSES: Final = (1.2, 1.5, 1.9, 2.5)
MIDDLES: Final = tuple(math.sqrt(low * high) for low, high in zip((1.0, *CLASSES), CLASSES, strict=False))
# Beyond these logarithms nothing depends on the value any more, and exp() still holds it.
LIMIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class EProcess:
    """The state of the bets: `bank` is capital not staked yet (0 to 1).

    `stakes` are natural logarithms of the capital behind each of GAINS; `classes` those of how much better the
    rate of each class of luck explains all rounds so far than the tolerated rate does. All lie in -600 to 600.
    """

    bank: float = 1.0 - FIRST_STAKE
    stakes: tuple[float, ...] = tuple(math.log(FIRST_STAKE * part) for part in PARTS)
    classes: tuple[float, ...] = (0.0,) * len(CLASSES)

    def after(self, hits: float, misses: float, chance: float) -> "EProcess":
        """The state after `hits` rounds that went against the candidate and `misses` that did not.

        `chance` (0 to 1, both excluded) is that of a hit at the tolerated rate. At g times that rate the odds of a
        hit are g times as high, so a stake grows by g**hits / (1 + chance * (g - 1)) ** (hits + misses), the ratio
        of the two likelihoods. Numbers of rounds may be scaled down, and need not be whole: that only takes
        capital away (Jensen's inequality).
        """
        bank = self.bank / (1.0 + self.bank * _PACE)
        stakes = (
            _log_sum(stake + _likelihood_ratio(gain, hits, misses, chance), _log((self.bank - bank) * part))
            for stake, gain, part in zip(self.stakes, GAINS, PARTS, strict=True)
        )
        classes = (
            log + _likelihood_ratio(rate, hits, misses, chance) for log, rate in zip(self.classes, MIDDLES, strict=True)
        )
        return EProcess(bank, tuple(map(_bounded, stakes)), tuple(map(_bounded, classes)))

    def log_evidence(self, tolerance: float, luck: float) -> float:
        """Natural logarithm of the capital, divided by what luck with pods explains of it.

        `luck` is the standard deviation of the logarithm of the ratio between both sides' failure rates as pods
        alone cause it, 0 for none. A candidate that is at most `tolerance` (1 or more) times as bad as stable
        reaches ln(1/alpha) with probability alpha at most, and so does a healthy one with pods of that luck (as far
        as the middles stand for their classes: bench/verdict.py measures it).
        """
        capital = _log(self.bank)
        for stake in self.stakes:
            capital = _log_sum(capital, stake)
        return capital - max(0.0, self._explained(tolerance, luck))

    def _explained(self, tolerance: float, luck: float) -> float:
        """Log-likelihood of all rounds for a healthy candidate with pods of that luck, less that at the tolerated rate.

        What luck leaves within the tolerance is taken for the tolerated rate, the worst that it may be.
        """
        above = [_beyond(tolerance * ratio, luck) for ratio in (1.0, *CLASSES)]
        explained = _log(1.0 - above[0])
        for log, low, high in zip(self.classes, above, above[1:], strict=False):
            explained = _log_sum(explained, _log(low - high) + log)
        return explained


def tilt(chance: float, ratio: float) -> float:
    """The chance (0 to 1) of which the odds are `ratio` times those of `chance`."""
    return chance * ratio / (1.0 + chance * (ratio - 1.0))


def upper_rate(attempts: int, bad: int, doubt: float) -> float:
    """The highest rate of failures (0 to 1) that so many of so many go with, but for a probability of `doubt`.

    Chernoff's bound: the rate p above bad/attempts at which attempts * KL(bad/attempts, p) = ln(1/doubt), KL being
    the divergence of two coins. 1 without attempts.
    """
    seen = min(1.0, bad / attempts) if attempts > 0 else 1.0
    low, high = seen, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if attempts * _divergence(seen, middle) < -math.log(doubt):
            low = middle
        else:
            high = middle
    return high


def _divergence(seen: float, rate: float) -> float:
    """Kullback-Leibler divergence in nats between coins that show heads at `seen` and at `rate`, above 0."""
    heads = seen * math.log(seen / rate) if seen > 0 else 0.0
    tails = (1 - seen) * math.log((1 - seen) / (1 - rate)) if seen < 1 and rate < 1 else 0.0
    return heads + tails


def _beyond(ratio: float, luck: float) -> float:
    """Probability that pods of that luck alone make a rate more than `ratio` (1 or more) times as high."""
    return math.erfc(math.log(ratio) / (luck * math.sqrt(2))) / 2 if luck > 0 else 0.0


def _likelihood_ratio(gain: float, hits: float, misses: float, chance: float) -> float:
    return hits * math.log(gain) - (hits + misses) * math.log1p(chance * (gain - 1.0))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -LIMIT


def _log_sum(left: float, right: float) -> float:
    high, low = max(left, right), min(left, right)
    return high + math.log1p(math.exp(max(low - high, -LIMIT)))


def _bounded(log: float) -> float:
    return min(LIMIT, max(-LIMIT, log))
