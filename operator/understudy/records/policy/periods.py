"""When a budget begins anew: at midnight of a day, a Monday or a first of the month, where its owner lives.

A day has 23, 24 or 25 hours there, and midnight may not exist or come twice. Instants are Unix seconds; periods of one
kind and place follow each other without a gap.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from understudy.gateway.policy.budget import Kind


@dataclass(frozen=True, slots=True)
class Period:
    """From `starts` up to, and without, `ends`; whole Unix seconds."""

    starts: int
    ends: int


def period_at(kind: Kind, where: ZoneInfo, now: float) -> Period:
    """The period that holds the instant `now`."""
    today = datetime.fromtimestamp(now, tz=UTC).astimezone(where).date()
    if kind == "day":
        first, following = today, today + timedelta(days=1)
    elif kind == "week":
        first = today - timedelta(days=today.weekday())
        following = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
    return Period(_midnight(first, where), _midnight(following, where))


def _midnight(day: date, where: ZoneInfo) -> int:
    """The first instant of `day`.

    Where the clock is put on at midnight there is no 00:00; with the offset from before, which fold=0 stands for, it
    is the very instant of the change. Where 00:00 comes twice fold=0 is the first.
    """
    return int(datetime.combine(day, time(), tzinfo=where).timestamp())
