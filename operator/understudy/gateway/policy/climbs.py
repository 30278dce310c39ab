"""What a gateway has counted itself for rungs of ladders: it acts by that at once, and alone while records are away.

The records count for all gateways, and what they tell comes within a second. So nothing of this is kept on a disk, it
is bounded, and it gives way: findings that led to what the records tell of are used up here, too, and whoever was let
off by them is let off here.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from understudy.gateway.policy.players import Who
from understudy.guard.engagement.state import State
from understudy.guard.ladder import Hold, Per, Tally, Terms, counted, renewed
from understudy.guard.pseudonyms import SubjectKind

# What is kept at once, a rung of somebody weighing as much as four findings: some tens of megabytes. Beyond that those
# are forgotten of whom nothing was found for longest.
MOST: Final = 200_000
_RUNG: Final = 4
_NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class _Climb:
    tally: Tally
    hold: Hold

    @property
    def weight(self) -> int:
        return _RUNG + len(self.tally.times)


class Climbs:
    """Of one process, by the names by which it calls somebody. `due` counts what fell due here, by what it asks for."""

    __slots__ = ("_climbs", "_most", "_weight", "due")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._climbs: OrderedDict[str, dict[str, _Climb]] = OrderedDict()
        self._weight = 0
        self.due: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._climbs)

    def count(self, name: str, terms: Terms, at: float, told: State) -> None:
        """Somebody of whom the records tell so has a finding more."""
        mine = self._climbs.setdefault(name, {})
        self._climbs.move_to_end(name)
        before = _left(mine.get(terms.rung), terms.rung, told)
        tally, too_many = counted(before.tally, terms, at)
        hold = before.hold
        if too_many:
            hold = renewed(before.hold, terms, at, 0)
            self.due[terms.action] = self.due.get(terms.action, 0) + (hold.since == at)
        self._weight -= mine[terms.rung].weight if terms.rung in mine else 0
        mine[terms.rung] = _Climb(tally, hold)
        self._weight += mine[terms.rung].weight
        while self._weight > self._most:
            _, gone = self._climbs.popitem(last=False)
            self._weight -= sum(climb.weight for climb in gone.values())

    def holds(self, name: str, told: State) -> tuple[Hold, ...]:
        """What holds for somebody of whom the records tell so, by what was counted here."""
        mine = self._climbs.get(name)
        if mine is None:
            return ()
        return tuple(climb.hold for climb in mine.values() if climb.hold.since > told.lifted)

    def tidy(self, now: float) -> None:
        """Forget what does not count any more."""
        for name, mine in list(self._climbs.items()):
            over = [rung for rung, climb in mine.items() if climb.tally.ends <= now and climb.hold.until <= now]
            for rung in over:
                self._weight -= mine.pop(rung).weight
            if not mine:
                del self._climbs[name]


def whom(per: Per, who: Who) -> tuple[SubjectKind, str] | None:
    """For whom a rung counts what `who` says: a session in the place of a player whom nobody knows. None for nobody."""
    if per == "player" and who.player:
        return "player", who.player
    return ("session", who.session) if who.session else None


def _left(climb: _Climb | None, rung: str, told: State) -> _Climb:
    """What was counted, without what the records have used up, or let somebody off."""
    if climb is None:
        climb = _Climb(Tally(), Hold(rung, _NEVER, _NEVER))
    used = max((hold.since for hold in told.holds if hold.rung == rung), default=_NEVER)
    hold = climb.hold if climb.hold.since > told.lifted else Hold(rung, _NEVER, _NEVER)
    return _Climb(climb.tally.after(max(used, told.lifted)), hold)
