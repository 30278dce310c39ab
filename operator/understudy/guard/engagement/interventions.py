"""What is done once, at a moment: a reminder, a break, a word to somebody who cares.

What holds as long as a level does (hooks suppressed, another model) is no such thing: it follows from the level.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from understudy.guard.engagement.calendar import day_of
from understudy.guard.engagement.history import BREAK, MINUTE
from understudy.guard.engagement.policy import Level, Policy

# Active minutes without a break between reminders.
MARK: Final = 60.0
_DAY: Final = 24 * 3600.0
# Two marks lie an hour apart at least, so no two of them share a window.
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Intervention:
    """One of them: due from `at`, of no use from `until` on; Unix seconds. `window`: what it is due once in."""

    rule: Literal["Remind", "CoolDown", "Notify"]
    level: Level
    window: str
    at: float
    until: float

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
    hour, day = f"{at // _HOUR:.0f}", day_of(at, moment.zone)
    new = []
    if "Remind" in asked and moment.passes:
        new.append(Intervention("Remind", level, hour, at, at + BREAK))
    if "Notify" in asked and moment.rises:
        new.append(Intervention("Notify", level, f"L{level}/{day}", at, at + _DAY))
    if "CoolDown" in asked and not moment.crisis:
        breaks = [one for one in done if one.rule == "CoolDown"]
        if all(one.until <= at for one in breaks):
            before = sum(day_of(one.at, moment.zone) == day for one in breaks)
            new.append(Intervention("CoolDown", level, hour, at, at + policy.cool_down.length(before)))
    known = {(one.rule, one.window) for one in done}
    # Those of a day back, and of the hour by which a day may be longer.
    lately = (one for one in done if one.at > at - _DAY - _HOUR)
    return (*lately, *(one for one in new if (one.rule, one.window) not in known))
