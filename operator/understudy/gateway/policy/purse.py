"""What a gateway may spend of a key's budget without asking, and what it asks the ledger when.

A purse has one lease at a time (the ledger's side: records/policy/leases.py). A request holds as much of it as it may
use at most, and pays at its end what it did use. Times are monotonic seconds. Whoever has a purse asks it for its
`question`, sends that, and tells what came of it; there is one question at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from understudy.gateway.policy.budget import HIGHEST_MONEY, Budget

# A lease is meant to last so long at the rate of the moment, and is filled up when this part of that is left.
AHEAD: Final = 10.0
LOW: Final = 0.3
# The ledger hears of a lease at least so often; it forgets who says nothing for a minute.
REPORT: Final = 15.0
# A lease that nobody has used for so long goes back.
IDLE: Final = 10.0
# What was not to be had is not asked for again for so long.
PATIENCE: Final = 1.0
_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 2.0
# So many questions without an answer are no accident.
_AWAY: Final = 3

Word = Literal["wait", "exhausted", "away"]


@dataclass(slots=True)
class Lease:
    """A part of the budget: `granted` in all, of which `spent` is gone and `held` by requests under way."""

    id: str
    granted: int = 0
    spent: int = 0
    held: int = 0
    fence: int = 0
    until: float = math.inf

    @property
    def free(self) -> int:
        """What may still be held; below nothing where engines used more than could be foreseen."""
        return self.granted - self.spent - self.held

    @property
    def told(self) -> int:
        """What the ledger hears of `spent`: no budget has more, and what does not fit into its numbers it refuses."""
        return min(self.spent, HIGHEST_MONEY)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one request may use of a lease; without one it goes on trust, while the ledger is away."""

    lease: Lease | None
    amount: int


@dataclass(frozen=True, slots=True)
class Question:
    """What the ledger is asked, in the fields of its API. `last`: the lease ends, and only `spent` counts."""

    lease: str
    spent: int
    held: int = 0
    fence: int = 0
    keep: int = 0
    need: int = 0
    want: int = 0
    last: bool = False


class Purse:
    """One key's part of its budget in this gateway. `draw` makes the id of a lease, 32 hexadecimal digits.

    `leaving`: what is not held goes back, and no more is taken than somebody waits for.
    """

    __slots__ = (
        "_again", "_answered", "_asked_at", "_asking", "_draw", "_failures", "_lease", "_over", "_owed", "_rate",
        "_short", "_short_until", "_told", "_used", "budget", "leaving",
    )  # fmt: skip

    def __init__(self, budget: Budget, draw: Callable[[], str], now: float) -> None:
        self.budget = budget
        self.leaving = False
        self._draw = draw
        self._lease: Lease | None = None
        # Leases without a future, until their requests have ended and the ledger has had the last word on them.
        self._over: dict[str, Lease] = {}
        self._owed = 0
        self._rate = 0.0
        self._told = 0
        self._answered = self._used = now
        self._asking = False
        self._asked_at = self._again = now
        self._failures = 0
        self._short = 0
        self._short_until = now

    @property
    def empty(self) -> bool:
        """Whether the ledger knows all, and nothing of it is in here."""
        return self._lease is None and not self._over and not self._owed

    @property
    def away(self) -> bool:
        """Whether the ledger does not answer."""
        return self._failures >= _AWAY

    # Requests.

    def hold(self, need: int, now: float) -> Hold | Word:
        """Hold `need` for a request, or say why not; "wait" for what comes of the next question."""
        self._let_lapse(now)
        lease = self._lease
        free = 0 if lease is None else lease.free
        if lease is not None and free >= need:
            lease.held += need
            self._used = now
            return Hold(lease, need)
        if self.away:
            return Hold(None, need) if self.budget.allow else "away"
        if now < self._short_until and need - free >= self._short:
            return "exhausted"
        return "wait"

    def pay(self, hold: Hold, used: int, now: float) -> None:
        """A request that held something has ended, and has `used` so much."""
        self._used = now
        if hold.lease is None:
            self._owed += used
        else:
            hold.lease.held -= hold.amount
            hold.lease.spent += used

    # The ledger.

    def question(self, now: float, first: int, total: int) -> Question | None:
        """What to ask now, if anything: `first` is what the first of those who wait needs, `total` what all do."""
        self._let_lapse(now)
        if self._asking or now < self._again:
            return None
        asked = self._last_word() or self._live(now, first, total)
        if asked is not None:
            self._asking, self._asked_at = True, now
        return asked

    def granted(self, asked: Question, fence: int, granted: int, seconds: float, free: int, now: float) -> None:
        """The ledger has answered: the lease has `granted`, and `seconds` from when it was asked; `free` is left."""
        self._heard()
        lease = self._lease
        if lease is None or lease.id != asked.lease:
            return  # Its time ended before the answer came.
        lease.fence, lease.granted, lease.until = fence, granted, self._asked_at + seconds
        elapsed = max(self._asked_at - self._answered, PATIENCE)
        self._rate = max((asked.spent - self._told) / elapsed, self._rate / 2)
        self._told, self._answered = asked.spent, self._asked_at
        # More may be free than is missing: then this was the answer to a question before, which had got lost.
        if free < asked.keep + asked.need - granted:
            self._short, self._short_until = asked.need, now + PATIENCE

    def ended(self, asked: Question) -> None:
        """The ledger has taken the last word on a lease."""
        self._heard()
        del self._over[asked.lease]

    def refused(self, asked: Question, *, unknown: bool) -> None:
        """The ledger says that the lease is over, or `unknown` to it: it may have lost its memory, so tell it anew."""
        self._heard()
        if not asked.last:
            self._retire(asked.lease)
        elif unknown:
            self._owed += self._over.pop(asked.lease).spent
        else:
            del self._over[asked.lease]

    def failed(self, now: float) -> None:
        """Nobody has answered; the question may have been heard all the same."""
        self._asking = False
        self._again = now + min(_FIRST_RETRY * 2**self._failures, _LAST_RETRY)
        self._failures = min(self._failures + 1, 10)

    def _heard(self) -> None:
        self._asking = False
        self._failures = 0

    def _let_lapse(self, now: float) -> None:
        if self._lease is not None and now >= self._lease.until:
            self._retire(self._lease.id)

    def _retire(self, lease_id: str) -> None:
        lease = self._lease
        if lease is not None and lease.id == lease_id:
            self._over[lease_id] = lease
            self._lease = None

    def _last_word(self) -> Question | None:
        for lease in self._over.values():
            if not lease.held:
                return Question(lease.id, lease.told, last=True)
        return None

    def _live(self, now: float, first: int, total: int) -> Question | None:
        lease = self._lease
        if lease is None:
            if not first and not self._owed:
                return None
            lease = self._lease = Lease(self._draw())
            self._told, self._answered = 0, now
        if lease.fence and not first and not lease.held and (self.leaving or now - self._used >= IDLE):
            self._retire(lease.id)
            return self._last_word()
        lease.spent += self._owed
        self._owed = 0
        # One more than the whole budget is refused as surely as what does not fit into the ledger's numbers.
        need = min(max(0, first - lease.free), self.budget.amount + 1) if first else 0
        back = max(0, lease.free - first) if self.leaving else 0
        if lease.fence and not need and not back and not self._due(lease, now):
            return None
        lease.granted -= back
        ahead = 0 if self.leaving else max(math.ceil(self._rate * AHEAD), 3 * first)
        want = max(need, min(total + ahead - lease.free, self.budget.amount))
        return Question(lease.id, lease.told, lease.held, lease.fence, lease.granted, need, want)

    def _due(self, lease: Lease, now: float) -> bool:
        since = now - self._answered
        return since >= REPORT or (since >= PATIENCE and lease.free < LOW * self._rate * AHEAD)
