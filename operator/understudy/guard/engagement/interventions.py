"""What is done once, at a moment: a reminder, a break, a word to somebody who cares.

What holds as long as a level does (hooks suppressed, another model) is no such thing: it follows from the level.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from understudy.guard.engagement.calendar import day_of
from understudy.guard.engagement.history import BREAK, MINUTE
from understudy.guard.engagement.policy import Level, Policy
from understudy.guard.ladder import RungAction, Terms, lasts, window

# Active minutes without a break between reminders.
MARK: Final = 60.0
_DAY: Final = 24 * 3600.0
# Two marks lie an hour apart at least, so no two of them share a window.
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Intervention:
    """One of them: due from `at`, of no use from `until` on; Unix seconds. `window`: what it is due once in.

    `terms`: of the rung of a ladder that asks for it, None where the level does.
    """

    rule: RungAction
    level: Level
    window: str
    at: float
    until: float
    terms: Terms | None = None

    def key(self, scope: str) -> str:
        """What to do it under, for a scope such as a player's pseudonym: what was done under it is not done again."""
        return hashlib.sha256(f"{self.rule}\n{scope}\n{self.window}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a turn of events may make due: `rises` to `level`, `passes` a mark of minutes without a break."""

    at: float
    zone: str
    level: Level
    rises: bool
    passes: bool
    crisis: bool


def passes(before: float | None, after: float | None) -> bool:
    """Whether a mark lies between continuous seconds, None being a break."""
    return (after or 0.0) // (MARK * MINUTE) > (before or 0.0) // (MARK * MINUTE)


def due(moment: Moment, done: tuple[Intervention, ...], policy: Policy) -> tuple[Intervention, ...]:
    """What was due lately, `done`, and what now is.

    In a crisis no break begins. None does while one lasts; each on one day is longer than the one before.
    """
    if not moment.rises and not moment.passes:
        return done
    asked, at, level = policy.asked(moment.level), moment.at, moment.level
    hour = f"{at // _HOUR:.0f}"
    new = []
    if "Remind" in asked and moment.passes:
        new.append(Intervention("Remind", level, hour, at, at + BREAK))
    if "Notify" in asked and moment.rises:
        new.append(Intervention("Notify", level, f"L{level}/{day_of(at, moment.zone)}", at, at + _DAY))
    if "CoolDown" in asked and _may_break(moment, done):
        new.append(Intervention("CoolDown", level, hour, at, at + policy.cool_down.length(_breaks(moment, done))))
    return _together(done, new, at)


def fallen_due(moment: Moment, done: tuple[Intervention, ...], terms: Terms) -> tuple[Intervention, ...]:
    """The same with what a rung of a ladder asks for now; what it asked for and holds still goes on for longer."""
    if terms.action == "CoolDown" and not _may_break(moment, done):
        return done
    at, until = moment.at, moment.at + lasts(terms, _breaks(moment, done))
    for number, one in enumerate(done):
        if one.terms is not None and one.terms.rung == terms.rung and one.until > at:
            return (*done[:number], replace(one, until=until), *done[number + 1 :])
    new = Intervention(terms.action, moment.level, window(terms, at), at, until, terms)
    if terms.action == "Remind" and any((one.rule, one.window) == (new.rule, new.window) for one in done):
        return done
    # What ended before its time, since somebody was let off, may begin anew in the same window.
    return _together(tuple(one for one in done if (one.rule, one.window) != (new.rule, new.window)), [new], at)


def shown(done: tuple[Intervention, ...], window: str, at: float) -> tuple[Intervention, ...]:
    """The same where a ladder's reminder was shown: none waits in this window any more."""
    return tuple(
        replace(one, until=at) if one.terms is not None and one.window == window and one.until > at else one
        for one in done
    )


def let_off(done: tuple[Intervention, ...], at: float) -> tuple[Intervention, ...]:
    """The same where nothing that a ladder has asked for goes on."""
    return tuple(one if one.terms is None or one.until <= at else replace(one, until=at) for one in done)


def _may_break(moment: Moment, done: tuple[Intervention, ...]) -> bool:
    return not moment.crisis and all(one.until <= moment.at for one in done if one.rule == "CoolDown")


def _breaks(moment: Moment, done: tuple[Intervention, ...]) -> int:
    """Those of the same day."""
    day = day_of(moment.at, moment.zone)
    return sum(one.rule == "CoolDown" and day_of(one.at, moment.zone) == day for one in done)


def _together(done: tuple[Intervention, ...], new: list[Intervention], at: float) -> tuple[Intervention, ...]:
    known = {(one.rule, one.window) for one in done}
    # Those of a day back, and of the hour by which a day may be longer.
    lately = (one for one in done if one.at > at - _DAY - _HOUR or one.until > at)
    return (*lately, *(one for one in new if (one.rule, one.window) not in known))
