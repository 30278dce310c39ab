"""Requests of keys with a budget, and what they may spend: held before they set out, paid when they have ended.

Who finds enough in the purse of his key waits for nobody. Who does not waits here for the ledger's answer; requests of
one key are served in the order in which they came.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from understudy.gateway.policy.budget import TOKENS, Budget
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.purse import Hold, Purse, Question
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.wire.ledger import LeaseOverError, Ledger, NoAnswerError

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection

LOG: Final = logging.getLogger(__name__)
# Purses that have nothing pressing are looked at so often, seconds.
_LOOK_SECONDS: Final = 0.25
# So many questions are on their way at a time: each is a connection.
_MAX_QUESTIONS: Final = 16
# How long a gateway that leaves waits for the ledger to have heard its last words.
_LEAVE_SECONDS: Final = 3.0
Book = tuple[str, str]
OUTCOMES: Final = ("granted", "ended", "over", "failed")
_AWAY: Final = Refusal(
    503, "budget_unavailable", "the budget of this access key cannot be looked up at the moment", retry_after=2
)


class Spender(Protocol):
    """A request that may be made to wait."""

    client: "Connection"

    def afforded(self, found: Hold | Refusal) -> None:
        """It may set out with what it holds, or is refused."""


class Budgets:
    """The purses of all keys with budgets. Without a `ledger` each is as if that were away."""

    def __init__(
        self,
        clock: Callable[[], float],
        ledger: Ledger | None,
        isolated: Callable[[Callable[[], None], "Connection"], None],
    ) -> None:
        self.outcomes: dict[str, float] = dict.fromkeys(OUTCOMES, 0)
        self._clock = clock
        self._ledger = ledger
        self._isolated = isolated
        self._purses: dict[Book, Purse] = {}
        self._waiting: dict[Book, deque[tuple[Spender, int]]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._news = asyncio.Event()
        self._keys: Mapping[str, AccessKey] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait for the ledger."""
        return sum(len(line) for line in self._waiting.values())

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show."""
        return {
            "understudy_purses": ("Budgets of access keys of which something is leased", {"": len(self._purses)}),
            "understudy_ledger_waiting_requests": ("Requests that wait for the ledger", {"": self.waiting}),
            "understudy_ledger_questions_total": ("Questions to the ledger, by what came of them", dict(self.outcomes)),
        }

    def __len__(self) -> int:
        return len(self._purses)

    def follow(self, keys: Mapping[str, AccessKey]) -> None:
        """These are the keys from now on. What is leased for one that is gone goes back."""
        if keys is self._keys:
            return
        self._keys = keys
        if not self._purses:
            return
        budgets = {budget.book: budget for key in keys.values() for budget in key.budgets}
        for book, purse in self._purses.items():
            purse.budget = budgets.get(book, purse.budget)
            purse.leaving = self._leaving or book not in budgets

    # Requests.

    def hold(self, spender: Spender, budget: Budget, need: int) -> None:
        """Tell `spender`, at once or later, whether it may spend `need` of `budget`."""
        line = self._waiting.get(budget.book)
        found = None if line else self._find(budget, need)
        if found is not None:
            spender.afforded(found)
            return
        self._waiting.setdefault(budget.book, deque()).append((spender, need))
        self._news.set()

    def forget(self, spender: Spender, budget: Budget) -> None:
        """It waits no more, if it did."""
        line = self._waiting.get(budget.book, ())
        left = deque(waiter for waiter in line if waiter[0] is not spender)
        if left:
            self._waiting[budget.book] = left
        else:
            self._waiting.pop(budget.book, None)

    def pay(self, budget: Budget, hold: Hold, used: int) -> None:
        """A request that held something has ended, and has `used` so much."""
        if self._ledger is None:
            return
        self._purse(budget).pay(hold, used, self._clock())
        if budget.book in self._waiting:
            self._news.set()

    def _purse(self, budget: Budget) -> Purse:
        purse = self._purses.get(budget.book)
        if purse is None:
            purse = self._purses[budget.book] = Purse(budget, _draw, self._clock())
            purse.leaving = self._leaving
        return purse

    def _find(self, budget: Budget, need: int) -> Hold | Refusal | None:
        if self._ledger is None:
            return Hold(None, need) if budget.allow else _AWAY
        found = self._purse(budget).hold(need, self._clock())
        if isinstance(found, Hold):
            return found
        if found == "exhausted":
            return _exhausted(budget, need)
        return _AWAY if found == "away" else None

    def _serve(self, book: Book) -> None:
        """Let those go who wait and need wait no longer."""
        while line := self._waiting.get(book):
            spender, need = line[0]
            found = self._find(self._purses[book].budget, need)
            if found is None:
                return
            line.popleft()
            if not line:
                del self._waiting[book]
            self._isolated(partial(spender.afforded, found), spender.client)

    # The ledger.

    async def run(self) -> None:
        """Ask what is to be asked, until cancelled."""
        if self._ledger is None:
            return
        while True:
            self._ask_all(self._ledger)
            self._news.clear()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass

    def begin_to_leave(self) -> None:
        """No more is leased than requests wait for, and the rest goes back."""
        self._leaving = True
        for purse in self._purses.values():
            purse.leaving = True
        self._news.set()

    async def leave(self) -> None:
        """All requests are over: wait, not for long, until the ledger has the last word on each lease."""
        end = self._clock() + _LEAVE_SECONDS
        while self._purses and self._ledger is not None and self._clock() < end:
            self._ask_all(self._ledger)
            await asyncio.sleep(0.02)
        for task in self._asking:
            task.cancel()
        if self._purses:
            LOG.warning("the ledger was not told of %d leases: they count as spent", len(self._purses))

    def _ask_all(self, ledger: Ledger) -> None:
        now = self._clock()
        for book, purse in tuple(self._purses.items()):
            self._serve(book)
            line = self._waiting.get(book, ())
            if not line and purse.empty:
                del self._purses[book]
                continue
            if len(self._asking) >= _MAX_QUESTIONS:
                return
            asked = purse.question(now, line[0][1] if line else 0, sum(need for _, need in line))
            if asked is not None:
                task = asyncio.ensure_future(self._ask(ledger, book, purse, asked))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _ask(self, ledger: Ledger, book: Book, purse: Purse, asked: Question) -> None:
        away = purse.away
        try:
            answer = await ledger.ask(purse.budget, asked)
        except NoAnswerError as error:
            purse.failed(self._clock())
            self.outcomes["failed"] += 1
            if purse.away and not away:
                LOG.warning("the ledger does not answer for %s (%s): %s", *book, error)
        except LeaseOverError as error:
            purse.refused(asked, unknown=error.unknown)
            self.outcomes["over"] += 1
        else:
            if answer is None:
                purse.ended(asked)
                self.outcomes["ended"] += 1
            else:
                purse.granted(asked, answer.fence, answer.granted, answer.seconds, answer.free, self._clock())
                self.outcomes["granted"] += 1
        if away and not purse.away:
            LOG.info("the ledger answers again for %s (%s)", *book)
        self._serve(book)
        self._news.set()


def _draw() -> str:
    return secrets.token_hex(16)


def _exhausted(budget: Budget, need: int) -> Refusal:
    left = "not as many are left" if budget.unit == TOKENS else "not as much is left"
    message = (
        f"this request may take {budget.told(need)}, and of the access key's budget of {budget.told(budget.amount)} a "
        f"{budget.period} {left}"
    )
    return Refusal(429, "insufficient_quota", message, final=True)
