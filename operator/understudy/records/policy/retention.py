"""Up to when records are forgotten: no later than was asked for, and never much at once.

A clock that is a year ahead would have the next sweep delete everything, and no rule can tell which of two clocks was
right. So what is forgotten advances by a step in each sweep, many times as fast as time does: whoever changes what is
kept, or was away for a month, waits for some hours, and whoever has a wrong clock has as many to set it right.
"""

from typing import Final

STEP_MS: Final = 3_600_000


def horizon(before: int | None, wanted: int) -> int:
    """Up to when this sweep forgets; it was up to `before` in the last one, None if there was none. Milliseconds."""
    return wanted if before is None else min(wanted, before + STEP_MS)
