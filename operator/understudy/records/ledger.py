"""The ledger in the database: each question is one transaction, answered when it is on the disk."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, case, delete, func, insert, select, update
from sqlalchemy.engine import Row

from understudy.gateway.policy.budget import Kind, zone
from understudy.records.database import wait_for_turn
from understudy.records.policy.leases import Ask, Fault, Lease, Standing, ask, end, lapse
from understudy.records.policy.periods import Period, period_at
from understudy.records.schema import BUDGETS, CLOCK, LEASES

LOG: Final = logging.getLogger(__name__)
# A holder that has not been heard of for so long (seconds) is taken for dead.
LEASE_SECONDS: Final = 60
# So long is the last word of a lease remembered, and a budget after its last period.
_LEASES_KEPT: Final = 86_400
_BUDGETS_KEPT: Final = 400 * 86_400
# Clocks that are set right by a moment are nothing to speak of.
_BEHIND: Final = 5


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used in a period: `amount` of `unit` a `period` of the time zone `tz`, for all holders together."""

    account: str
    unit: str
    amount: int
    period: Kind
    tz: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What a lease comes to. `seconds` until it is over unless asked for again; of its budget, `free` is left."""

    fence: int
    granted: int
    seconds: int
    ends: int
    free: int


@dataclass(frozen=True, slots=True)
class Account:
    """How a budget stands. `open` is what open leases hold, their spent part included; `lost` as in the schema."""

    account: str
    unit: str
    period: str
    starts: int
    ends: int
    amount: int
    settled: int
    open: int
    lost: int
    leases: int


class Ledger:
    """All budgets. `clock` gives Unix seconds; methods may be called from any thread.

    They raise sqlalchemy.exc.DBAPIError when nothing can be written, and then nothing has changed.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._turn = threading.Lock()
        self._behind = 0.0
        self.lapsed = 0

    @property
    def behind(self) -> float:
        """Seconds by which the machine's clock is behind what it was once: for so long, time stands still here."""
        return self._behind

    def ask(self, lease_id: str, holder: str, budget: Budget, said: Ask) -> Granted | Fault:
        """Take `holder`'s report on a lease of `budget`, and grant more; one that is not known begins with fence 0.

        Raises ValueError for a time zone that is none.
        """
        where = zone(budget.tz)
        with self._transaction() as (connection, now):
            period = period_at(budget.period, where, now)
            account = _account(connection, budget, period)
            row = _find(connection, lease_id)
            if row is None and said.fence:
                return Fault("lease_unknown", "there is no such lease here: take a new one, with fence 0")
            if row is not None and row.state == "open" and row.budget != account:
                return Fault("lease_over", "this lease is for another budget: take a new one, and end this one")
            before = Lease() if row is None else _lease(row)
            standing = _standing(connection, account, budget.amount, lease_id)
            after = ask(standing, before, said)
            if isinstance(after, Fault):
                return after
            expires = min(now + LEASE_SECONDS, period.ends)
            if row is None:
                made = {"id": lease_id, "budget": account, "holder": holder, "expires": expires}
                connection.execute(insert(LEASES).values(**made, **_columns(after)))
            elif after is before:
                expires = row.expires
            else:
                _write(connection, lease_id, after, expires=expires)
            free = max(0, standing.amount - standing.taken - after.counted)
            return Granted(after.fence, after.granted, expires - now, period.ends, free)

    def end(self, lease_id: str, spent: int) -> Fault | None:
        """Take the last word on a lease, of which `spent` was spent in all."""
        with self._transaction() as (connection, _):
            row = _find(connection, lease_id)
            if row is None:
                return Fault("lease_unknown", "there is no such lease here, or it has been over for a day")
            before = _lease(row)
            after = end(before, spent)
            if isinstance(after, Fault):
                return after
            if after is not before:
                _write(connection, lease_id, after)
                _settle(connection, row.budget, before, after)
            return None

    def sweep(self) -> None:
        """End what has lapsed, and forget what is long over."""
        with self._transaction() as (connection, now):
            over = (LEASES.c.state != "open") & (LEASES.c.expires <= now - _LEASES_KEPT)
            connection.execute(delete(LEASES).where(over))
            held = select(LEASES.c.budget)
            old = (BUDGETS.c.ends <= now - _BUDGETS_KEPT) & BUDGETS.c.id.not_in(held)
            connection.execute(delete(BUDGETS).where(old))

    def accounts(self, account: str = "") -> list[Account]:
        """Budgets whose period is not over, of one account or (empty) of all, by name."""
        with self._transaction() as (connection, now):
            opened = (
                select(LEASES.c.budget, func.sum(_COUNTED).label("open"), func.count().label("leases"))
                .where(LEASES.c.state == "open")
                .group_by(LEASES.c.budget)
                .subquery()
            )
            wanted = (BUDGETS.c.ends > now) & ((BUDGETS.c.account == account) if account else True)
            found = connection.execute(
                select(BUDGETS, opened.c.open, opened.c.leases)
                .outerjoin(opened, opened.c.budget == BUDGETS.c.id)
                .where(wanted)
                .order_by(BUDGETS.c.account, BUDGETS.c.unit, BUDGETS.c.period)
            )
            return [_shown(row) for row in found]

    def reset_clock(self) -> None:
        """Believe the machine's clock, though it was ahead once: what was to come after it has not happened yet."""
        now = int(self._clock())
        with self._turn, self._engine.begin() as connection:
            wait_for_turn(connection, "ledger")
            ahead = select(BUDGETS.c.id).where(BUDGETS.c.starts > now)
            connection.execute(delete(LEASES).where(LEASES.c.budget.in_(ahead)))
            connection.execute(delete(BUDGETS).where(BUDGETS.c.starts > now))
            latest = now + LEASE_SECONDS
            connection.execute(update(LEASES).where(LEASES.c.expires > latest).values(expires=latest))
            connection.execute(update(CLOCK).values(latest=now))
            self._behind = 0.0

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Connection, int]]:
        """A transaction and its instant; what has lapsed by then is so in it already.

        Writers of one process wait here rather than at the database, which would have them try again and again.
        """
        with self._turn, self._engine.begin() as connection:
            wait_for_turn(connection, "ledger")
            now = self._time(connection)
            self._lapse(connection, now)
            yield connection, now

    def _time(self, connection: Connection) -> int:
        """Now, and no earlier than anything that was written: else a period could begin, and be spent, twice."""
        wall = int(self._clock())
        latest = connection.execute(select(CLOCK.c.latest)).scalar_one_or_none()
        if latest is None:
            connection.execute(insert(CLOCK).values(id=1, latest=wall))
            return wall
        behind = latest - wall
        if behind > _BEHIND >= self._behind:
            LOG.warning("the clock is %d s behind what it was: until it is there again, no period ends", behind)
        self._behind = max(0, behind)
        if wall > latest:
            connection.execute(update(CLOCK).values(latest=wall))
        return max(wall, int(latest))

    def _lapse(self, connection: Connection, now: int) -> None:
        gone = (LEASES.c.state == "open") & (LEASES.c.expires <= now)
        for row in connection.execute(select(LEASES).where(gone)).all():
            before = _lease(row)
            after = lapse(before)
            _write(connection, row.id, after)
            _settle(connection, row.budget, before, after)
            self.lapsed += 1
            if after.lost:
                text = "%s of %s was not heard of for %d s: %d of its lease count as spent unless it tells otherwise"
                LOG.warning(text, row.holder, _account_of(connection, row.budget), LEASE_SECONDS, after.lost)


_COUNTED: Final = case((LEASES.c.granted > LEASES.c.spent, LEASES.c.granted), else_=LEASES.c.spent)


def _account(connection: Connection, budget: Budget, period: Period) -> int:
    """The row of a budget in a period, made if there is none."""
    key = {"account": budget.account, "unit": budget.unit, "period": budget.period, "starts": period.starts}
    which = [BUDGETS.c[name] == value for name, value in key.items()]
    found = connection.execute(select(BUDGETS.c.id, BUDGETS.c.amount).where(*which)).one_or_none()
    if found is None:
        made = insert(BUDGETS).values(**key, ends=period.ends, amount=budget.amount, settled=0, lost=0)
        return int(connection.execute(made.returning(BUDGETS.c.id)).scalar_one())
    if found.amount != budget.amount:
        connection.execute(update(BUDGETS).where(BUDGETS.c.id == found.id).values(amount=budget.amount))
    return int(found.id)


def _account_of(connection: Connection, budget: int) -> str:
    return str(connection.execute(select(BUDGETS.c.account).where(BUDGETS.c.id == budget)).scalar_one())


def _standing(connection: Connection, budget: int, amount: int, without: str) -> Standing:
    others = (LEASES.c.budget == budget) & (LEASES.c.state == "open") & (LEASES.c.id != without)
    opened, count = connection.execute(select(func.coalesce(func.sum(_COUNTED), 0), func.count()).where(others)).one()
    settled = connection.execute(select(BUDGETS.c.settled).where(BUDGETS.c.id == budget)).scalar_one()
    return Standing(amount=amount, taken=settled + int(opened), others=count)


def _find(connection: Connection, lease_id: str) -> Row[Any] | None:
    return connection.execute(select(LEASES).where(LEASES.c.id == lease_id)).one_or_none()


def _lease(row: Row[Any]) -> Lease:
    return Lease(granted=row.granted, spent=row.spent, fence=row.fence, state=row.state)


def _columns(lease: Lease) -> dict[str, Any]:
    return {"granted": lease.granted, "spent": lease.spent, "fence": lease.fence, "state": lease.state}


def _write(connection: Connection, lease_id: str, lease: Lease, **more: int) -> None:
    connection.execute(update(LEASES).where(LEASES.c.id == lease_id).values(**_columns(lease), **more))


def _settle(connection: Connection, budget: int, before: Lease, after: Lease) -> None:
    """Carry what a lease that is not open takes into its budget's row."""
    connection.execute(
        update(BUDGETS)
        .where(BUDGETS.c.id == budget)
        .values(
            settled=BUDGETS.c.settled + (after.settled - before.settled),
            lost=BUDGETS.c.lost + (after.lost - before.lost),
        )
    )


def _shown(row: Row[Any]) -> Account:
    return Account(
        account=row.account,
        unit=row.unit,
        period=row.period,
        starts=row.starts,
        ends=row.ends,
        amount=row.amount,
        settled=row.settled,
        open=int(row.open or 0),
        lost=row.lost,
        leases=row.leases or 0,
    )
