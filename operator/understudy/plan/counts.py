"""Attempts and bad attempts: the pair that all evidence is made of."""

from typing import Any, Final

Counts = tuple[int, int]
# What was counted of the revision on trial, and of its comparator.
Tally = tuple[Counts, Counts]
NOTHING: Final[Counts] = (0, 0)


def add(left: Counts, right: Counts) -> Counts:
    """Both together."""
    return left[0] + right[0], left[1] + right[1]


def since(now: Counts, before: Counts) -> Counts:
    """What has been added to `before`; a counter that fell adds nothing."""
    return max(0, now[0] - before[0]), max(0, now[1] - before[1])


def pair(raw: Any) -> Counts:
    """Counts as a record keeps them; a TypeError or ValueError means that it has none there."""
    attempts, bad = raw
    return int(attempts), int(bad)
