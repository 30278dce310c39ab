"""What gateways are told of a player, and what follows from it for a request: values that cross between processes.

A state says until when it holds, so that one whose successor does not come ends by itself. What two states say of one
request, that of its player and that of its session, is put together to the more careful of both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.guard.engagement import crisis as crises
from understudy.guard.engagement import standing as standings
from understudy.guard.engagement.clock import Clock, due, turned
from understudy.guard.engagement.crisis import Crisis
from understudy.guard.engagement.policy import Level, Policy
from understudy.guard.engagement.standing import Standing
from understudy.guard.ladder import Hold

# Seconds for which a level is believed that nobody has confirmed; it is looked at anew each day.
LEVEL_STAYS: Final = 48 * 3600.0
LOOKED_AT: Final = 24 * 3600.0
_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Reminder:
    """One that waits to be shown, of no use from `until` on. `key` is the id of the event that tells that it was."""

    key: str
    until: float


@dataclass(frozen=True, slots=True)
class State:
    """Of one player or session. Moments are Unix seconds, minus infinity where there is none.

    `level` holds up to `level_until`, and so do `suppress_hooks` and `switch_model`, which it asks for. A break lasts
    up to `break_until`. `clock` is the statutory one. `holds`: what rungs of ladders ask for; up to `lifted` they asked
    for nothing that anybody still counts.
    """

    level: Level = 0
    level_until: float = _NEVER
    suppress_hooks: bool = False
    switch_model: bool = False
    break_until: float = _NEVER
    crisis: Crisis = field(default_factory=Crisis)
    reminder: Reminder | None = None
    clock: Clock = field(default_factory=Clock)
    holds: tuple[Hold, ...] = ()
    lifted: float = _NEVER

    @property
    def until(self) -> float:
        """From when on it says nothing any more."""
        ends = [self.break_until, self.clock.last_turn + _INTERACTION, crises.until(self.crisis) or _NEVER]
        ends += [self.level_until] if self.level else []
        ends += [self.reminder.until] if self.reminder else []
        ends += [hold.until for hold in self.holds]
        return max(ends)


# For so long after a turn the statutory clock may still say something.
_INTERACTION: Final = 3600.0


@dataclass(frozen=True, slots=True)
class SessionState:
    """What holds for a request of now.

    `cool_down_until`: Unix seconds, None where no break is on. `reminders`: to be shown, once each. `notice`: the
    statutory one is to be shown. `holds`: of rungs, for those deployments that have them.
    """

    level: Level = 0
    crisis: bool = False
    cool_down_until: float | None = None
    suppress_hooks: bool = False
    switch_model: bool = False
    reminders: tuple[Reminder, ...] = ()
    notice: bool = False
    holds: tuple[Hold, ...] = ()


CALM: Final = SessionState()


def told(standing: Standing, policy: Policy, scope: str, now: float) -> State:
    """What to tell gateways of the player at `now`; `scope` is who it is, for what is done once."""
    level = standings.judged(standing, policy, now).level
    asked = policy.asked(level)
    lasting = [one for one in standing.due if one.until > now]
    breaks = [one.until for one in lasting if one.rule == "CoolDown" and one.terms is None]
    waiting = [one for one in lasting if one.rule == "Remind" and one.terms is None]
    climbed = [(one.terms.rung, one) for one in lasting if one.terms is not None and one.rule != "Notify"]
    return State(
        level=level,
        level_until=now + LEVEL_STAYS if level else _NEVER,
        suppress_hooks="SuppressHooks" in asked,
        switch_model="SwitchModel" in asked,
        break_until=max(breaks, default=_NEVER),
        crisis=standing.crisis,
        reminder=Reminder(waiting[-1].key(scope), waiting[-1].until) if waiting else None,
        clock=standing.clock,
        holds=tuple(Hold(rung, one.at, one.until) for rung, one in climbed),
        lifted=standing.lifted,
    )


def holding(states: Iterable[State], now: float) -> SessionState:
    """What all of these ask for together. In a crisis there is no break."""
    found = [state for state in states if state.until > now]
    levelled = [state for state in found if state.level_until > now]
    crisis = any(crises.active(state.crisis, now) for state in found)
    until = max((state.break_until for state in found), default=_NEVER)
    return SessionState(
        level=max((state.level for state in levelled), default=0),
        crisis=crisis,
        cool_down_until=until if until > now and not crisis else None,
        suppress_hooks=any(state.suppress_hooks for state in levelled),
        switch_model=any(state.switch_model for state in levelled),
        reminders=tuple(state.reminder for state in found if state.reminder and state.reminder.until > now),
        notice=any(due(turned(state.clock, now), now) for state in found),
        holds=tuple(hold for state in found for hold in state.holds if hold.until > now),
    )


def dump(state: State) -> dict[str, Any]:
    """As JSON; what it does not say is left out."""
    said = {
        "level": state.level or None,
        "levelUntil": _said(state.level_until),
        "suppressHooks": state.suppress_hooks or None,
        "switchModel": state.switch_model or None,
        "breakUntil": _said(state.break_until),
        "signed": _said(state.crisis.signed),
        "cleared": _said(state.crisis.cleared),
        "reminder": None if state.reminder is None else {"key": state.reminder.key, "until": state.reminder.until},
        "since": _said(state.clock.since),
        "lastTurn": _said(state.clock.last_turn),
        "holds": [[hold.rung, hold.since, hold.until] for hold in state.holds] or None,
        "lifted": _said(state.lifted),
    }
    return {name: value for name, value in said.items() if value is not None}


def parse(document: Mapping[str, Any]) -> State:
    """Of what `dump` has made; KeyError, TypeError and ValueError for anything else."""
    level = document.get("level", 0)
    if level not in (0, 1, 2, 3):
        raise ValueError(f"level: {level!r} is none")
    reminder = document.get("reminder")
    return State(
        level=level,
        level_until=_moment(document, "levelUntil"),
        suppress_hooks=document.get("suppressHooks") is True,
        switch_model=document.get("switchModel") is True,
        break_until=_moment(document, "breakUntil"),
        crisis=Crisis(_moment(document, "signed"), _moment(document, "cleared")),
        reminder=None if reminder is None else Reminder(str(reminder["key"]), float(reminder["until"])),
        clock=Clock(_moment(document, "since"), _moment(document, "lastTurn")),
        holds=tuple(Hold(str(rung), float(at), float(until)) for rung, at, until in document.get("holds", ())),
        lifted=_moment(document, "lifted"),
    )


def _said(moment: float) -> float | None:
    return None if moment == _NEVER else moment


def _moment(document: Mapping[str, Any], name: str) -> float:
    return float(document.get(name, _NEVER))
