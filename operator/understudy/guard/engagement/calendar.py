"""Which local day and which part of it a moment belongs to.

Sums are made of instants, so a day on which the clock is changed has the 23 or 25 hours that it has; what is a night is
read off the wall clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from understudy.guard.engagement.events import zone

# Every offset of today's zones is a multiple of it, so none of its pieces lies in two days or two hours.
QUARTER: Final = 900
NIGHT_ENDS: Final = 5  # o'clock; it begins at midnight


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of `seconds` within one local day, whose number is that of Python's `date.toordinal`.

    `night`: between 00:00 and 05:00 of the wall clock; None where the zone is not known and the day is one of UTC.
    """

    day: int
    seconds: float
    night: bool | None


def day_of(at: float, name: str) -> int:
    """The local day of an instant, of UTC if the zone is not known."""
    return _local(at, name)[0].toordinal()


def midnight(day: int, name: str) -> float:
    """The first moment of a local day; where a clock is changed at midnight, that of the change."""
    # Of a wall clock that shows a time twice, Python's first one is meant; one that it leaves out is the leap itself.
    where = (zone(name) if name else None) or UTC
    return datetime.combine(date.fromordinal(day), time(), tzinfo=where).timestamp()


def pieces(start: float, end: float, name: str) -> Iterator[Piece]:
    """The span from `start` up to `end`, cut where days, nights and offsets may begin."""
    while start < end:
        cut = min(end, (start // QUARTER + 1) * QUARTER)
        local, known = _local(start, name)
        yield Piece(local.toordinal(), cut - start, local.hour < NIGHT_ENDS if known else None)
        start = cut


def _local(at: float, name: str) -> tuple[datetime, bool]:
    where = zone(name) if name else None
    return datetime.fromtimestamp(at, tz=where or UTC), where is not None
