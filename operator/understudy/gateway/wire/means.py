"""What one request may use of its key's limits and budgets: held before it sets out, paid for when it is over.

Requests of other keys have none, and pay nothing for it but the look whether there are any.
"""

from typing import TYPE_CHECKING

from understudy.gateway.policy.charges import Charge
from understudy.gateway.policy.demand import Demand, count_of
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.meters import Lease
from understudy.gateway.policy.purse import Hold
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.wire.attempt import Attempt

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection
    from understudy.gateway.wire.exchange import Exchange


class Means:
    """Those of one request of `client`, which shows `key`, has `demand`, and takes `charges` of the key's budgets."""

    __slots__ = ("_charges", "_demand", "_exchange", "_holds", "_key", "_lease", "client")

    def __init__(self, client: "Connection", key: AccessKey, demand: Demand, charges: tuple[Charge, ...]) -> None:
        self.client = client
        self._key = key
        self._demand = demand
        self._charges = charges
        self._exchange: Exchange | None = None
        self._lease: Lease | None = None
        # Of the first charges; one budget is asked after the other.
        self._holds: list[Hold] = []

    @property
    def counts_each(self) -> bool:
        """Whether tokens are: then it must be known what an answer has cost that does not come to its end."""
        limits = self._key.limits
        return bool(self._charges) or (limits is not None and limits.tokens > 0)

    def ask(self, exchange: "Exchange") -> None:
        """Have `exchange` set out, at once or later, or refuse it."""
        plane = exchange.plane
        self._exchange = exchange
        if self._key.limits is not None:
            admitted, fields = plane.admit(self._key, self._demand, plane.clock())
            exchange.add_fields(fields)
            if isinstance(admitted, Refusal):
                self._lacks(exchange, admitted)
                return
            self._lease = admitted
        self._afford(exchange)

    def _afford(self, exchange: "Exchange") -> None:
        """Hold what it takes of the next budget; with all of them held it sets out."""
        held = len(self._holds)
        if held == len(self._charges):
            exchange.set_out()
        else:
            charge = self._charges[held]
            exchange.plane.budgets.hold(self, charge.budget, charge.most)

    def afforded(self, found: Hold | Refusal) -> None:
        """Whether a budget has room for it is known."""
        exchange = self._exchange
        if exchange is None:
            return
        if isinstance(found, Refusal):
            self._lacks(exchange, found)
        else:
            self._holds.append(found)
            self._afford(exchange)

    def _lacks(self, exchange: "Exchange", refusal: Refusal) -> None:
        """There is not enough for it: what it takes all the same is nobody's."""
        if exchange.spared():
            exchange.set_out()
        else:
            exchange.refuse(refusal)

    def pay(self, attempt: Attempt | None, *, whole: bool) -> None:
        """What the answer of `attempt` has cost is known now; without one it has cost nothing."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        plane = exchange.plane
        used = None if attempt is None else attempt.used
        tokens = None if used is None else count_of(self._demand, *used, whole=whole)[0]
        holds, self._holds = self._holds, []
        for charge, hold in zip(self._charges, holds, strict=False):
            plane.budgets.pay(charge.budget, hold, 0 if tokens is None else charge.cost(*tokens))
        if len(holds) < len(self._charges):
            plane.budgets.forget(self, self._charges[len(holds)].budget)
        lease, self._lease = self._lease, None
        if lease is not None:
            plane.settle(lease, used, whole=whole)
