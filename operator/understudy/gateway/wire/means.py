"""What one request may use of its key's limits and budget: held before it sets out, paid for when it is over.

Requests of other keys have none, and pay nothing for it but the look whether there are any.
"""

from typing import TYPE_CHECKING, Final

from understudy.gateway.policy.demand import Demand, cost_of
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.meters import Lease
from understudy.gateway.policy.purse import Hold
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.wire.attempt import Attempt

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection
    from understudy.gateway.wire.exchange import Exchange

_LONGEST_CONTEXT: Final = 1 << 20


class Means:
    """Those of one request of `client`, which shows `key` and has `demand`."""

    __slots__ = ("_demand", "_exchange", "_hold", "_key", "_lease", "client")

    def __init__(self, client: "Connection", key: AccessKey, demand: Demand) -> None:
        self.client = client
        self._key = key
        self._demand = demand
        self._exchange: Exchange | None = None
        self._lease: Lease | None = None
        self._hold: Hold | None = None

    @property
    def counts_each(self) -> bool:
        """Whether tokens are: then it must be known what an answer has cost that does not come to its end."""
        limits = self._key.limits
        return self._key.budget is not None or (limits is not None and limits.tokens > 0)

    def ask(self, exchange: "Exchange") -> None:
        """Have `exchange` set out, at once or later, or refuse it."""
        plane, budget = exchange.plane, self._key.budget
        self._exchange = exchange
        if self._key.limits is not None:
            admitted, fields = plane.admit(self._key, self._demand, plane.clock())
            exchange.add_fields(fields)
            if isinstance(admitted, Refusal):
                exchange.refuse(admitted)
                return
            self._lease = admitted
        if budget is None or not self._demand.most:
            exchange.set_out()
        else:
            plane.budgets.hold(self, budget, self._demand.most)

    def afforded(self, found: Hold | Refusal) -> None:
        """Whether the budget has room for it is known."""
        exchange = self._exchange
        if exchange is None:
            return
        if isinstance(found, Refusal):
            exchange.refuse(found)
        else:
            self._hold = found
            exchange.set_out()

    def pay(self, attempt: Attempt | None, *, whole: bool) -> None:
        """What the answer of `attempt` has cost is known now; without one it has cost nothing."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        plane, budget = exchange.plane, self._key.budget
        used = None if attempt is None else attempt.used
        hold, self._hold = self._hold, None
        if budget is not None and hold is not None:
            cost = 0 if used is None else cost_of(self._demand, *used, whole=whole)[0]
            # A count beyond any context is not believed: by one wrong number an engine could take a whole budget.
            plane.budgets.pay(budget, hold, min(cost, self._demand.most + _LONGEST_CONTEXT))
        elif budget is not None:
            plane.budgets.forget(self, budget)
        lease, self._lease = self._lease, None
        if lease is not None:
            plane.settle(lease, used, whole=whole)
