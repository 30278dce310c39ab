"""How much failures come in clumps: a stalled batch fails many requests at once and is one incident.

Failures that come singly vary from interval to interval as a Poisson count does: the square of the difference between
two neighbours is, in the mean, their sum (von Neumann's mean square of successive differences, 1941, which a slow
drift hardly touches). If it is larger, failures come in clumps, and so many of them are worth as one. Stable is asked
for it: what the candidate alone does in clumps is its own doing.
"""

from dataclasses import dataclass
from typing import Final

# Failures that count as seen before the first, as if they had come singly.
_PRIOR: Final = 3.0
# So much of an interval is still remembered after the next one: half of it after about three minutes.
_KEPT: Final = 0.98
# One difference counts as so large at most: the beginning of an outage is no clump.
_LARGEST: Final = 12.0
# Chance makes clumps of up to one and a half failures out of single ones.
_CHANCE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Clumping:
    """What is known of it: `last` is stable's failures in the latest interval, -1 before the first.

    `squares` and `sums` are those of neighbouring intervals, the older the less.
    """

    last: int = -1
    squares: float = 0.0
    sums: float = 0.0

    def after(self, bad: int) -> "Clumping":
        """With another interval, in which stable failed `bad` (0 or more) times."""
        if self.last < 0:
            return Clumping(bad)
        total = bad + self.last
        square = min((bad - self.last) ** 2, _LARGEST * total)
        return Clumping(bad, self.squares * _KEPT + square, self.sums * _KEPT + total)

    @property
    def size(self) -> float:
        """So many failures are worth one, 1 to 12."""
        return max(1.0, (_PRIOR + self.squares) / (_PRIOR + self.sums) - _CHANCE)
