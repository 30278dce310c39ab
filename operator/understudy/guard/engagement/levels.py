"""How far a player is to be protected: L0 healthy, L1 watch, L2 at risk, L3 high. Hours alone only say watch.

Control and consequence weigh above volume, as they do in ICD-11 6C51 and in what carries the diagnosis of gaming
disorder [IGDS9-SF, n = 28,689, Front. Psychiatry 2021.777397]. A level is a measure of protection, not a diagnosis.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from understudy.guard.engagement.history import Day, History
from understudy.guard.engagement.policy import Level, Thresholds
from understudy.guard.engagement.signs import FORTNIGHT, Figures, Sign, figures, mood_gain, signs

# A level stays until so many whole days were below it.
CLEAN_DAYS: Final = 7
# Days whose highest level has to be known: those whose levels still held on the first of the fortnight of L3.
KEPT_PEAKS: Final = FORTNIGHT + CLEAN_DAYS
_TIME: Final[tuple[Sign, ...]] = ("E1", "E2", "E4", "E8")
_CONTROL: Final[tuple[Sign, ...]] = ("E3", "E5", "E6", "E7", "E9", "E9")  # E9 weighs two


@dataclass(frozen=True, slots=True)
class Assessment:
    """Where a player stands: the level, and what it comes from. `present`: what it would be without the days before."""

    level: Level
    present: Level
    time: int
    control: int
    signs: frozenset[Sign]
    figures: Figures


def time_score(found: Iterable[Sign]) -> int:
    """`T = [E1] + [E2] + [E4] + [E8]`, 0 to 4."""
    return sum(sign in _TIME for sign in found)


def control_score(found: Iterable[Sign]) -> int:
    """`K = [E3] + [E5] + [E6] + [E7] + 2 * [E9]`, 0 to 6."""
    return sum(_CONTROL.count(sign) for sign in found)


def level_of(time: int, control: int, lasting: bool) -> Level:
    """The level of two scores; `lasting`: L2 for 14 days, and no gain of mood in them.

    L1: `T >= 2` or `K = 1`. L2: `K >= 2` and `T >= 1`, or `K >= 3`. L3: `K >= 4` and `T >= 2`, or L2 that lasts. So
    `K = 0` is never more than L1. `K = 2` without a sign of volume is L1, too.
    """
    if control >= 4 and time >= 2:
        return 3
    if control >= 3 or (control >= 2 and time >= 1):
        return 3 if lasting else 2
    return 1 if control >= 1 or time >= 2 else 0


def assess(history: History, peaks: Mapping[int, Level], thresholds: Thresholds) -> Assessment:
    """Where a player stands at the moment up to which the history is settled.

    `peaks`: the highest level by day, up to that moment.
    """
    found = figures(history, thresholds)
    flagged = signs(found, thresholds)
    time, control = time_score(flagged), control_score(flagged)
    today = history.today or 0
    present = level_of(time, control, _lasting(history, peaks, today) if control >= 2 else False)
    return Assessment(max(present, held(peaks, today)), present, time, control, flagged, found)


def held(peaks: Mapping[int, Level], day: int) -> Level:
    """The level that a day takes over from those before: down only after seven whole clean days."""
    return max((level for at, level in peaks.items() if day - CLEAN_DAYS <= at <= day), default=0)


def _lasting(history: History, peaks: Mapping[int, Level], today: int) -> bool:
    fortnight = range(today - FORTNIGHT, today)
    if any(held(peaks, day) < 2 for day in fortnight):
        return False
    gain = mood_gain(history.days.get(day, Day()) for day in range(today - FORTNIGHT + 1, today + 1))
    return gain is not None and gain <= 0
