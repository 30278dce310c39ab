"""All that is kept of a player: their history, the days' levels, the statutory clock, the crisis, what was due.

Folded event by event, in their order. It depends on the policy: when that changes the log is folded anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from understudy.guard.engagement import clock as statutory
from understudy.guard.engagement import crisis as crises
from understudy.guard.engagement.clock import Clock
from understudy.guard.engagement.crisis import Crisis
from understudy.guard.engagement.events import Event, in_order
from understudy.guard.engagement.history import History, settle, turning_points
from understudy.guard.engagement.history import step as history_after
from understudy.guard.engagement.interventions import Intervention, Moment, due, fallen_due, let_off, passes, shown
from understudy.guard.engagement.levels import KEPT_PEAKS, Assessment, assess, held
from understudy.guard.engagement.policy import Action, Level, Policy
from understudy.guard.ladder import Tally, counted


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one player, up to the last event. `peaks`: the highest level of a day. `due`: of the last day, and what holds.

    `tallies`: by rung of a ladder. What rungs asked for up to `lifted` holds no more.
    """

    history: History = field(default_factory=History)
    peaks: Mapping[int, Level] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    crisis: Crisis = field(default_factory=Crisis)
    due: tuple[Intervention, ...] = ()
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    lifted: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Protection:
    """How a player is to be treated now: what gateways have to know. Times in Unix seconds, None where there is none.

    `actions`: those that hold as long as the level does, and those that become due with it. `notice`: the statutory
    notice is due, to be appended to an answer of now. A break is suspended in a crisis.
    """

    level: Level
    actions: frozenset[Action]
    break_until: float | None
    crisis_until: float | None
    notice: bool


def stand(log: Iterable[Event], policy: Policy) -> Standing:
    """Where the whole of a log leads to."""
    standing = Standing()
    for event in in_order(log):
        standing = step(standing, event, policy)
    return standing


def step(standing: Standing, event: Event, policy: Policy) -> Standing:
    """With one event more, at or after all that are in it."""
    before, history = standing.history, history_after(standing.history, event)
    peaks = _passed(standing, policy, event.at)
    today = history.today or 0
    present = assess(history, peaks, policy.thresholds).present
    level = max(present, held(peaks, today))
    crisis = _crisis(standing.crisis, event)
    moment = Moment(
        at=event.at,
        zone=history.zone,
        level=level,
        # Also where it rose since the last event, when nobody was there to be told.
        rises=level > held(standing.peaks, today),
        passes=passes(before.stretch, history.stretch),
        crisis=crises.active(crisis, event.at),
    )
    tallies, too_many = _tallied(standing.tallies, event)
    done = due(moment, standing.due, policy)
    return Standing(
        history=history,
        peaks=_peaks(peaks, today, present),
        clock=_clock(standing.clock, event),
        crisis=crisis,
        due=_climbed(moment, done, event, too_many=too_many),
        tallies=tallies,
        lifted=event.at if event.kind == "ladder_lifted" else standing.lifted,
    )


def judged(standing: Standing, policy: Policy, now: float) -> Assessment:
    """The level at `now` and what it comes from; never of a moment before the last event."""
    return assess(settle(standing.history, now), _passed(standing, policy, now), policy.thresholds)


def protection(standing: Standing, policy: Policy, now: float) -> Protection:
    """How the player is to be treated at `now`."""
    level = judged(standing, policy, now).level
    in_crisis = crises.active(standing.crisis, now)
    breaks = [one.until for one in standing.due if one.rule == "CoolDown" and one.terms is None and one.until > now]
    return Protection(
        level=level,
        actions=policy.asked(level),
        break_until=max(breaks) if breaks and not in_crisis else None,
        crisis_until=crises.until(standing.crisis) if in_crisis else None,
        notice=statutory.due(standing.clock, now),
    )


def _passed(standing: Standing, policy: Policy, now: float) -> Mapping[int, Level]:
    """The peaks with those of the time since the last event: a level may rise while nothing happens.

    Stops that were kept leave the windows before those that were not, as an example.
    """
    history, peaks = standing.history, standing.peaks
    for moment in turning_points(history, now):
        history = settle(history, moment)
        peaks = _peaks(peaks, history.today or 0, assess(history, peaks, policy.thresholds).present)
    return peaks


def _crisis(crisis: Crisis, event: Event) -> Crisis:
    if event.kind == "crisis_sign":
        return crises.sign(crisis, event.at)
    return crises.clear(crisis, event.at) if event.kind == "crisis_cleared" else crisis


def _climbed(
    moment: Moment, done: tuple[Intervention, ...], event: Event, *, too_many: bool
) -> tuple[Intervention, ...]:
    if event.kind == "ladder_lifted":
        return let_off(done, event.at)
    if event.kind == "break_shown":
        return shown(done, event.id, event.at)
    return fallen_due(moment, done, event.terms) if event.terms is not None and too_many else done


def _tallied(tallies: Mapping[str, Tally], event: Event) -> tuple[Mapping[str, Tally], bool]:
    """The findings that rungs count, with an event more, and whether it is one that is one too many."""
    if event.kind == "ladder_lifted":
        return {}, False
    if event.terms is None:
        return tallies, False
    mine, too_many = counted(tallies.get(event.terms.rung, Tally()), event.terms, event.at)
    others = {rung: tally for rung, tally in tallies.items() if tally.ends > event.at and rung != event.terms.rung}
    return ({**others, event.terms.rung: mine} if mine.times else others), too_many


def _clock(clock: Clock, event: Event) -> Clock:
    if event.kind == "turn":
        return statutory.turned(clock, event.at)
    return statutory.shown(clock, event.at) if event.kind == "notice_shown" else clock


def _peaks(peaks: Mapping[int, Level], today: int, present: Level) -> Mapping[int, Level]:
    if present <= peaks.get(today, 0):
        return peaks
    return {today: present, **{day: level for day, level in peaks.items() if today - KEPT_PEAKS < day != today}}
