"""A player's standing, kept while events come in as they come: late, twice, in any order.

Events younger than `LATENESS` are kept beside what all older ones have been folded to; one that comes late is put in
its place, and what came after it is folded again. So the standing is that of the whole log (`stand`), whatever the
order, as long as no event comes later than that: none does by a clock that all share, since its time is held within
those bounds when it is received.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from understudy.guard.engagement.events import EARLIEST, LATEST, Event, in_order
from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.policy import Policy
from understudy.guard.engagement.standing import Standing, step

# Seconds by which an event may be older than the newest that is known.
LATENESS: Final = EARLIEST + LATEST


@dataclass(frozen=True, slots=True)
class Player:
    """`standing` is the fold of `settled` and the `recent` events, in order.

    `issued`: interventions that were handed out, by rule and window, to when each was of use.
    """

    settled: Standing = field(default_factory=Standing)
    recent: tuple[Event, ...] = ()
    standing: Standing = field(default_factory=Standing)
    issued: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def horizon(self) -> float:
        """The oldest time, Unix seconds, of which an event is still taken."""
        return self.recent[-1].at - LATENESS if self.recent else float("-inf")


@dataclass(frozen=True, slots=True)
class Advance:
    """The player after some events, and what to do that was not handed out before.

    `refused`: events from before the horizon. If the log lacks one of them, put it there and begin `anew`.
    """

    player: Player
    interventions: tuple[Intervention, ...]
    refused: tuple[Event, ...]


def advance(player: Player, told: Iterable[Event], policy: Policy, now: float) -> Advance:
    """Take some events, all under one policy; those that are known already change nothing. `now`: Unix seconds."""
    horizon = player.horizon
    refused, new = [], []
    known = {event.key for event in player.recent}
    for event in in_order(told):
        if event.at < horizon:
            refused.append(event)
        elif event.key not in known:
            new.append(event)
    recent = (*player.recent, *new)
    if new and player.recent and new[0].order < player.recent[-1].order:
        recent = tuple(in_order(recent))
        standing = _fold(player.settled, recent, policy)
    else:
        standing = _fold(player.standing, new, policy)
    fresh = tuple(one for one in standing.due if _is_told(one, now) and (one.rule, one.window) not in player.issued)
    issued = {key: until for key, until in player.issued.items() if until > now - LATENESS}
    issued |= {(one.rule, one.window): one.until for one in fresh}
    return Advance(_settle(Player(player.settled, recent, standing, issued), policy), fresh, tuple(refused))


def anew(player: Player, log: Iterable[Event], policy: Policy, now: float) -> Advance:
    """The player folded from the whole log: for a policy that has changed, or an event that came too late."""
    return advance(Player(issued=player.issued), log, policy, now)


def _is_told(one: Intervention, now: float) -> bool:
    """Whether it is to be handed out. A gateway did what a ladder asks for at once: that is told though it is over."""
    return one.until > now or (one.terms is not None and one.at > now - LATENESS)


def _settle(player: Player, policy: Policy) -> Player:
    """What no event can come before any more is folded for good."""
    horizon = player.horizon
    old = [event for event in player.recent if event.at < horizon]
    settled = _fold(player.settled, old, policy)
    return Player(settled, player.recent[len(old) :], player.standing, player.issued)


def _fold(standing: Standing, events: Iterable[Event], policy: Policy) -> Standing:
    for event in events:
        standing = step(standing, event, policy)
    return standing
