"""Logs for tests, in a few words: `at` counts minutes from a Monday noon in UTC."""

import itertools
from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st

from understudy.guard.engagement.events import CUES, Event, Kind, Source, in_order
from understudy.guard.engagement.history import MINUTE, History, settle, step
from understudy.guard.engagement.policy import Thresholds
from understudy.guard.engagement.signs import Figures, Sign, figures, signs

NOON: Final = 1_767_614_400.0  # 2026-01-05T12:00:00Z
DAY: Final = 24 * 60.0
_numbers = itertools.count()


def told(kind: Kind, at: float, name: str = "", mood: int = 0, source: Source = "gateway", zone: str = "") -> Event:
    return Event(f"n{next(_numbers):09}", kind, NOON + at * MINUTE, source, zone, name, mood)


def turn(at: float, name: str = "user", zone: str = "") -> Event:
    return told("turn", at, name, zone=zone)


def plays(begin: float, minutes: float, every: float = 5.0, zone: str = "") -> list[Event]:
    """Turns of the player at even distances; with no more than five minutes between them all of it is active."""
    return [turn(begin + i * every, zone=zone) for i in range(round(minutes / every) + 1)]


def history(log: Iterable[Event], at: float | None = None) -> History:
    """The log folded, up to its last event or `at`."""
    now = float("inf") if at is None else NOON + at * MINUTE
    past = History()
    for event in in_order(log):
        if event.at <= now:
            past = step(past, event)
    return past if at is None else settle(past, now)


def seen(log: Iterable[Event], at: float | None = None, thresholds: Thresholds | None = None) -> Figures:
    return figures(history(log, at), thresholds or Thresholds())


def flagged(log: Iterable[Event], at: float | None = None, thresholds: Thresholds | None = None) -> frozenset[Sign]:
    return signs(seen(log, at, thresholds), thresholds or Thresholds())


MOMENTS = st.integers(0, 40 * 24 * 12).map(lambda fives: fives * 5.0)
NAMES: dict[Kind, tuple[str, ...]] = {"turn": ("user", "assistant"), "cue": CUES, "assist_hook": ("exclusivity",)}


@st.composite
def events(draw: st.DrawFn, kinds: tuple[Kind, ...], sources: tuple[Source, ...] = ("gateway",)) -> Event:
    kind = draw(st.sampled_from(kinds))
    name = draw(st.sampled_from(NAMES.get(kind, ("",))))
    mood = draw(st.integers(-2, 2)) if kind == "mood" else 0
    return told(kind, draw(MOMENTS), name, mood, draw(st.sampled_from(sources)))


@st.composite
def spells(draw: st.DrawFn) -> list[Event]:
    """Some playing at a stretch, which single turns at random moments would hardly ever make."""
    return plays(draw(MOMENTS), draw(st.sampled_from((15.0, 60.0, 200.0))), draw(st.sampled_from((5.0, 12.0))))
