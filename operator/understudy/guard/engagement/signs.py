"""The figures of a player, and which of them are signs.

Volume (time) and impaired control are kept apart. Hours are no criterion of ICD-11 6C51, and logged playtime has little
or no causal effect on well-being [38,935 players, PMC9326284]; loss of control and giving up other activities mark the
severe end [IGDT-10, n = 4,887; IGDS9-SF, n = 28,689, Front. Psychiatry 2021.777397]. Nothing here is a diagnosis.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from understudy.guard.engagement.history import KEPT_DAYS, KEPT_SESSIONS, MINUTE, Day, History
from understudy.guard.engagement.policy import Thresholds

# E1 daily minutes, E2 escalation, E3 late night, E4 binge, E5 failed stop, E6 reminder override, E7 limit easing,
# E8 rapid return, E9 verbal cues.
Sign = Literal["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9"]

WEEK: Final = 7
FORTNIGHT: Final = 14
# A week's mean below which no escalation is seen, and what the usual is taken for at least; minutes a day.
ESCALATED_WEEK: Final = 60.0
LEAST_USUAL: Final = 15.0
ESCALATED_DAYS: Final = 3
LATE_NIGHT: Final = 30.0  # minutes that make a night count
LATE_NIGHTS: Final = 3.0  # such nights a week
BINGES: Final = 4
LEAST_EVENTS: Final = 3
LEAST_SESSIONS: Final = 5
# Deviations from the median that make a session unusual, and what makes one of a median absolute deviation.
UNUSUAL: Final = 3.0
NORMAL_MAD: Final = 1.4826
# Of a normal law nine parts in ten lie below so many deviations above the mean.
SURE: Final = 1.2815515655446004


@dataclass(frozen=True, slots=True)
class Figures:
    """E1 to E9, P1 to P3; None is not evaluated: too little is known. The functions below say what each is."""

    daily_minutes: float
    continuous_minutes: float
    escalation: float | None
    escalated_days: int
    late_night_share: float | None
    late_nights: float | None
    binges: int
    personal_binge: bool
    failed_stop: float | None
    failed_stop_at_least: float | None
    reminder_override: float | None
    reminder_override_at_least: float | None
    limit_easing: int
    rapid_return: float
    sessions: int
    cues: frozenset[str]
    cues_per_100: float | None
    voluntary_end: float | None
    mood_gain: float | None
    goals_per_hour: float | None


def figures(history: History, thresholds: Thresholds) -> Figures:
    """All figures at the moment up to which a history is settled."""
    today = _days(history, 1)
    week, fortnight, month = (_days(history, days) for days in (WEEK, FORTNIGHT, KEPT_DAYS))
    last = history.days.get(history.today or 0, Day())
    share, nights = late_night(fortnight)
    return Figures(
        daily_minutes=sum(day.active for day in today) / MINUTE,
        continuous_minutes=(history.stretch or 0.0) / MINUTE,
        escalation=_escalation(history),
        escalated_days=escalated_days(history, thresholds.escalation),
        late_night_share=share,
        late_nights=nights,
        binges=binges(history, month, thresholds.binge),
        personal_binge=personal_binge(history),
        failed_stop=_share(*failed_stops(month), LEAST_EVENTS),
        failed_stop_at_least=at_least(*failed_stops(month)),
        reminder_override=_share(*overridden_reminders(month), LEAST_EVENTS),
        reminder_override_at_least=at_least(*overridden_reminders(month)),
        limit_easing=sum(day.eased for day in month),
        rapid_return=_share(last.rapid, last.sessions) or 0.0,
        sessions=last.sessions,
        cues=frozenset().union(*(day.cues for day in week)),
        cues_per_100=_share(100 * sum(day.cued for day in week), sum(day.turns for day in week)),
        voluntary_end=_share(sum(day.voluntary for day in month), sum(day.ended for day in month)),
        mood_gain=mood_gain(month),
        goals_per_hour=_share(3600 * sum(day.goals for day in month), sum(day.active for day in month)),
    )


def signs(found: Figures, thresholds: Thresholds) -> frozenset[Sign]:
    """Which figures are signs.

    E1 may only remind. E2 needs three days of the last seven. E3 needs share and nights. E5 is impaired control as
    ICD-11 6C51 has it. E7 foretells self-exclusion [25,720 gamblers, doi 10.1007/s10899-022-10149-z]; E8 and unusual
    hours are the gambling industry's markers of harm [doi 10.1007/s11469-023-01060-8]. The words of E9 are among those
    of openai/emoclassifiers (Fear of Addiction, Distress from Unavailability, prefer_over_humans).
    """
    flags: dict[Sign, bool] = {
        "E1": found.daily_minutes > thresholds.daily_minutes,
        "E2": found.escalated_days >= ESCALATED_DAYS,
        "E3": (found.late_night_share or 0.0) > thresholds.late_night_share
        and (found.late_nights or 0.0) >= LATE_NIGHTS,
        "E4": found.binges >= BINGES,
        "E5": _reaches(found.failed_stop_at_least, thresholds.failed_stop),
        "E6": _reaches(found.reminder_override_at_least, thresholds.reminder_override),
        "E7": _reaches(found.limit_easing, thresholds.limit_easing),
        "E8": found.sessions >= LEAST_SESSIONS and found.rapid_return > thresholds.rapid_return,
        "E9": _reaches(len(found.cues), thresholds.verbal_cues),
    }
    return frozenset(sign for sign, flag in flags.items() if flag)


def escalated_days(history: History, threshold: float) -> int:
    """E2: of the last seven whole days, those with `ESC = EWMA_7d(A) / max(EWMA_28d(A), 15)` above the threshold.

    A: active minutes of a day. Only days with `EWMA_7d` above 60 minutes count. The means weigh the days since the
    first one played.
    """
    return sum(
        trend.week > ESCALATED_WEEK * MINUTE and trend.week / max(trend.month, LEAST_USUAL * MINUTE) > threshold
        for trend in history.trends
        if trend.day >= (history.today or 0) - WEEK
    )


def late_night(fortnight: Iterable[Day]) -> tuple[float | None, float | None]:
    """E3: the share, 0 to 1, of minutes of 14 days that lie in [00:00, 05:00), and nights a week with 30 of them.

    By the player's wall clock. Minutes spent where nobody said what it shows are left out; with none left it is not
    evaluated.
    """
    known = [day for day in fortnight if day.zoned]
    share = _share(sum(day.night for day in known), sum(day.zoned for day in known))
    if share is None:
        return None, None
    return share, sum(day.night >= LATE_NIGHT * MINUTE for day in known) * WEEK / FORTNIGHT


def binges(history: History, month: Iterable[Day], threshold: float) -> int:
    """E4: stretches without a break of 15 minutes in 28 days that lasted `threshold` active minutes or more."""
    over = (*(seconds for day in month for seconds in day.stretches), history.stretch or 0.0)
    return sum(seconds >= threshold * MINUTE for seconds in over)


def personal_binge(history: History) -> bool:
    """Whether this session is unusual for this player: longer than median + 3 * 1.4826 * MAD of the last 30.

    Told, but no sign: it says nothing of control. False until there were 30 sessions.
    """
    lengths = history.lengths
    if history.session is None or len(lengths) < KEPT_SESSIONS:
        return False
    middle = statistics.median(lengths)
    spread = NORMAL_MAD * statistics.median(abs(length - middle) for length in lengths)
    return history.session.active > middle + UNUSUAL * spread


def failed_stops(month: Iterable[Day]) -> tuple[int, int]:
    """E5: of announced stops (exit_intent, break_accepted) in 28 days those that were not kept, and all of them.

    Not kept is one after which the player returned from a pause in less than 20 minutes, or took three turns more.
    """
    days = list(month)
    failed = sum(day.stops_failed for day in days)
    return failed, failed + sum(day.stops_kept for day in days)


def overridden_reminders(month: Iterable[Day]) -> tuple[int, int]:
    """E6: reminders of 28 days that were dismissed, and those shown. One that was dismissed was shown."""
    days = list(month)
    dismissed = sum(day.dismissed for day in days)
    return dismissed, max(dismissed, sum(day.shown for day in days))


def at_least(part: int, whole: int) -> float | None:
    """What a share of so many is at least, nine times in ten: Wilson's lower bound. None below three.

    A level is held for seven days by whatever was found in one moment of them, so a share that came out high by chance
    would be found sooner or later in everybody.
    """
    if whole < LEAST_EVENTS:
        return None
    share, weight = part / whole, SURE * SURE / whole
    spread = SURE * math.sqrt((share * (1 - share) + weight / 4) / whole)
    return max(0.0, (share + weight / 2 - spread) / (1 + weight))


def mood_gain(days: Iterable[Day]) -> float | None:
    """P2: mean of the mood at the end of sessions less that at their start, -4 to 4; None if nobody was asked twice."""
    known = list(days)
    return _share(sum(day.mood_gain for day in known), sum(day.mooded for day in known))


def _reaches(figure: float | None, threshold: float) -> bool:
    """Never where there was nothing, whatever the threshold."""
    return figure is not None and 0 < figure >= threshold


def _escalation(history: History) -> float | None:
    if not history.trends:
        return None
    return history.trends[-1].week / max(history.trends[-1].month, LEAST_USUAL * MINUTE)


def _days(history: History, count: int) -> list[Day]:
    """What there is of the last `count` days, today among them."""
    today = history.today or 0
    return [day for number, day in history.days.items() if number > today - count]


def _share(part: float, whole: float, least: float = 1e-9) -> float | None:
    return part / whole if whole >= least else None
