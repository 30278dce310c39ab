"""A player's log, folded: what of it the figures need, a month deep, and nothing that depends on a policy.

`step` takes one event more, `settle` lets time pass. Events come in their order; who gets them in another sorts first
(`player`). Minutes are active ones: from one turn to the next, but five at most.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from understudy.guard.engagement.calendar import day_of, midnight, pieces
from understudy.guard.engagement.events import Event, Kind

MINUTE: Final = 60.0
# Of a gap between two turns so much counts as active.
ACTIVE_GAP: Final = 5 * MINUTE
# A gap of more ends a session; one of more than ACTIVE_GAP does, once the player has said that they stop.
SESSION_GAP: Final = 30 * MINUTE
# A gap of so much is a break: continuous time begins anew.
BREAK: Final = 15 * MINUTE
# Who returns sooner has not stopped.
RETURN: Final = 20 * MINUTE
# So many turns of the player after a stop are no farewell any more.
FAREWELL: Final = 3
# Days that are kept, today among them; of their averages, the last that were completed.
KEPT_DAYS: Final = 28
KEPT_TRENDS: Final = 7
KEPT_SESSIONS: Final = 30
_WEEK: Final = 1 - 2 / (7 + 1)
_MONTH: Final = 1 - 2 / (28 + 1)
_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one local day. Times in seconds; `mood_gain` is a sum over `mooded` sessions."""

    active: float = 0.0
    zoned: float = 0.0
    night: float = 0.0
    stretches: tuple[float, ...] = ()
    turns: int = 0
    sessions: int = 0
    rapid: int = 0
    ended: int = 0
    voluntary: int = 0
    stops_kept: int = 0
    stops_failed: int = 0
    shown: int = 0
    dismissed: int = 0
    eased: int = 0
    cued: int = 0
    cues: frozenset[str] = frozenset()
    goals: int = 0
    mood_gain: int = 0
    mooded: int = 0


@dataclass(frozen=True, slots=True)
class Trend:
    """Exponentially weighted means of the active seconds of a day, as they were when `day` was over."""

    day: int
    week: float
    month: float


@dataclass(frozen=True, slots=True)
class Averages:
    """Sums and weights of both means: they weigh the days that there were; a new player's start with the first."""

    week: float = 0.0
    week_weight: float = 0.0
    month: float = 0.0
    month_weight: float = 0.0

    def after(self, active: float) -> "Averages":
        """With one day more."""
        return Averages(
            self.week * _WEEK + active,
            self.week_weight * _WEEK + 1,
            self.month * _MONTH + active,
            self.month_weight * _MONTH + 1,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """The session that is under way: `active` seconds, moods told, the player's turns since they said to stop."""

    active: float = 0.0
    mood_first: int | None = None
    mood_last: int | None = None
    # Since a stop or the end of the application's own session; None after FAREWELL turns, and before.
    since_over: int | None = None
    # Since a stop that was meant or a goal that was reached, likewise.
    since_closing: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """An announcement to stop that was neither kept nor broken yet. One that a client told counts only if broken."""

    at: float
    trusted: bool
    turns: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """Of one player, up to the last event or moment. `today` and the keys of `days` number local days."""

    zone: str = ""
    today: int | None = None
    first_day: int | None = None
    last_turn: float = _NEVER
    days: Mapping[int, Day] = field(default_factory=dict)
    averages: Averages = Averages()
    trends: tuple[Trend, ...] = ()
    # Active seconds since the last break: None while there is one.
    stretch: float | None = None
    session: Session | None = None
    lengths: tuple[float, ...] = ()
    stops: tuple[Stop, ...] = ()
    # A mood that was told between two sessions: when, and which.
    mood: tuple[float, int] | None = None


def step(history: History, event: Event) -> History:
    """The history with one event more, at or after all that it holds."""
    if event.zone:
        history = replace(history, zone=event.zone)
    history = settle(history, event.at)
    change = _CHANGES.get(event.kind)
    return change(history, event) if change else history


def settle(history: History, now: float) -> History:
    """The history at `now`, Unix seconds: what was pending is decided, days that are over are summed up."""
    last = history.last_turn
    if history.stops:
        history = _keep_stops(history, now)
    if history.stretch is not None and now >= last + BREAK:
        history = _end_stretch(history, history.stretch)
    if history.session is not None and now > last + SESSION_GAP:
        history = _end_session(history, history.session)
    return _begin_day(history, day_of(now, history.zone))


def turning_points(history: History, now: float) -> list[float]:
    """The moments up to `now` at which the history changes though nothing happens, in order.

    What is pending is decided, and each day begins without one that lies further back. A month after the last day there
    is nothing left that could.
    """
    last, moments = history.last_turn, [_kept_at(stop, history) for stop in history.stops]
    if history.stretch is not None:
        moments.append(last + BREAK)
    if history.session is not None:
        moments.append(math.nextafter(last + SESSION_GAP, math.inf))
    if history.today is not None:
        final = min(day_of(now, history.zone), history.today + KEPT_DAYS)
        moments += (midnight(day, history.zone) for day in range(history.today + 1, final + 1))
    return sorted(moment for moment in moments if moment <= now)


def _turn(history: History, event: Event) -> History:
    player = event.name == "user"
    gap = event.at - history.last_turn
    if player and history.stops:
        history = _break_stops(history, event.at)
    session = history.session
    if session is not None and session.since_over is not None and gap > ACTIVE_GAP:
        history, session = _end_session(history, session), None
    day = day_of(event.at, history.zone)
    if session is None:
        session = Session(mood_first=_mood_before(history, event.at))
        history = _add(history, day, sessions=1, rapid=int(gap < RETURN))
    else:
        active = min(gap, ACTIVE_GAP)
        session = replace(session, active=session.active + active)
        history = _spend(history, history.last_turn, active)
    if player:
        over, closing = _one_more(session.since_over), _one_more(session.since_closing)
        session = replace(session, since_over=over, since_closing=closing)
        history = _add(history, day, turns=1)
    first = history.today if history.first_day is None else history.first_day
    stretch = history.stretch or 0.0
    return replace(history, session=session, stretch=stretch, last_turn=event.at, first_day=first, mood=None)


def _one_more(turns: int | None) -> int | None:
    return None if turns is None or turns + 1 >= FAREWELL else turns + 1


def _mood_before(history: History, at: float) -> int | None:
    told = history.mood
    return told[1] if told is not None and at - told[0] <= SESSION_GAP else None


def _spend(history: History, start: float, seconds: float) -> History:
    """Active seconds from `start` on, within a session; they count as continuous unless a break lay between."""
    for piece in pieces(start, start + seconds, history.zone):
        zoned = 0.0 if piece.night is None else piece.seconds
        night = piece.seconds if piece.night else 0.0
        history = _add(history, piece.day, active=piece.seconds, zoned=zoned, night=night)
    return history if history.stretch is None else replace(history, stretch=history.stretch + seconds)


def _end_session(history: History, session: Session) -> History:
    day = day_of(history.last_turn, history.zone)
    history = _add(history, day, ended=1, voluntary=int(session.since_closing is not None))
    if session.mood_first is not None and session.mood_last is not None:
        history = _add(history, day, mood_gain=session.mood_last - session.mood_first, mooded=1)
    return replace(history, session=None, lengths=(*history.lengths, session.active)[-KEPT_SESSIONS:])


def _end_stretch(history: History, seconds: float) -> History:
    history = _add(history, day_of(history.last_turn, history.zone), stretches=(seconds,))
    return replace(history, stretch=None)


def _stop(history: History, event: Event) -> History:
    """Announced twice without a turn in between it is one stop; what is told by a client does not replace another."""
    session, before = history.session, history.stops
    if session is None:
        return history
    if before and not before[-1].turns:
        if not event.trusted:
            return history
        before = before[:-1]
    if event.trusted:
        session = replace(session, since_over=0, since_closing=0)
    return replace(history, stops=(*before, Stop(event.at, event.trusted)), session=session)


def _over(history: History, event: Event) -> History:
    del event
    session = history.session
    return history if session is None else replace(history, session=replace(session, since_over=0))


def _keep_stops(history: History, now: float) -> History:
    """Stops after which nobody came back in time."""
    kept = [stop for stop in history.stops if now >= _kept_at(stop, history)]
    for stop in kept:
        if stop.trusted:
            history = _add(history, day_of(stop.at, history.zone), stops_kept=1)
    return replace(history, stops=tuple(stop for stop in history.stops if stop not in kept))


def _kept_at(stop: Stop, history: History) -> float:
    """When a stop is kept, unless the player returns before."""
    return max(stop.at, history.last_turn) + RETURN


def _break_stops(history: History, at: float) -> History:
    """Stops after which the player returns from a pause, or goes on for longer than a farewell takes."""
    left = []
    for stop in history.stops:
        paused = at - max(stop.at, history.last_turn) > ACTIVE_GAP
        if paused or stop.turns + 1 >= FAREWELL:
            history = _add(history, day_of(stop.at, history.zone), stops_failed=1)
        else:
            left.append(replace(stop, turns=stop.turns + 1))
    return replace(history, stops=tuple(left))


def _shown(history: History, event: Event) -> History:
    return _add(history, day_of(event.at, history.zone), shown=1)


def _dismissed(history: History, event: Event) -> History:
    return _add(history, day_of(event.at, history.zone), dismissed=1)


def _eased(history: History, event: Event) -> History:
    return _add(history, day_of(event.at, history.zone), eased=1)


def _cue(history: History, event: Event) -> History:
    day = day_of(event.at, history.zone)
    cues = history.days.get(day, Day()).cues | {event.name}
    history = _add(history, day, cued=1)
    return replace(history, days={**history.days, day: replace(history.days[day], cues=cues)})


def _goal(history: History, event: Event) -> History:
    session = history.session
    if session is not None:
        history = replace(history, session=replace(session, since_closing=0))
    return _add(history, day_of(event.at, history.zone), goals=1)


def _mood(history: History, event: Event) -> History:
    session = history.session
    if session is None:
        return replace(history, mood=(event.at, event.mood))
    if session.mood_first is None:
        return replace(history, session=replace(session, mood_first=event.mood))
    return replace(history, session=replace(session, mood_last=event.mood))


_CHANGES: Final[Mapping[Kind, Callable[[History, Event], History]]] = {
    "turn": _turn,
    "exit_intent": _stop,
    "break_accepted": _stop,
    "break_shown": _shown,
    "break_dismissed": _dismissed,
    "limit_raised": _eased,
    "limit_removed": _eased,
    "session_end": _over,
    "cue": _cue,
    "goal_done": _goal,
    "mood": _mood,
}


def _begin_day(history: History, day: int) -> History:
    today = history.today
    if today is None:
        return replace(history, today=day)
    if day <= today:
        return history  # also where somebody has travelled west
    averages, trends = history.averages, history.trends
    begun = day if history.first_day is None else today
    for over in range(begun, day):
        averages = averages.after(history.days.get(over, Day()).active)
        trend = Trend(over, averages.week / averages.week_weight, averages.month / averages.month_weight)
        trends = (*trends, trend)[-KEPT_TRENDS:]
    days = {number: kept for number, kept in history.days.items() if number > day - KEPT_DAYS}
    return replace(history, today=day, averages=averages, trends=trends, days=days)


def _add(history: History, day: int, **more: float | tuple[float, ...]) -> History:
    """The history with so much more of these on a day."""
    old = history.days.get(day, Day())
    changed = replace(old, **{name: getattr(old, name) + amount for name, amount in more.items()})
    return replace(history, days={**history.days, day: changed})
