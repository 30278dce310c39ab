"""The ledger of budgets as a gateway asks it: `understudy records`, over HTTP."""

import asyncio
from dataclasses import dataclass
from typing import Final

from understudy.gateway import kubeapi
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.purse import Question

_SECONDS: Final = 2.0


class NoAnswerError(Exception):
    """The ledger cannot be reached, or says that it cannot answer now."""


class LeaseOverError(Exception):
    """The ledger does not go on with this lease; `unknown` if it never heard of it."""

    def __init__(self, *, unknown: bool) -> None:
        super().__init__("the lease is over")
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Granted:
    """The ledger's answer: the lease has `granted` for `seconds`, and `free` is left of the budget."""

    fence: int
    granted: int
    seconds: float
    free: int


class Ledger:
    """Asks `server`, whose token and certificates are those of its dataclass; `holder` is this gateway's name."""

    def __init__(self, server: kubeapi.ApiServer, holder: str) -> None:
        self._server = server
        self._holder = holder

    async def ask(self, budget: Budget, asked: Question) -> Granted | None:
        """The answer to a question; None to the last one of a lease. Raises NoAnswerError, LeaseOverError."""
        path = f"/v1/ledger/leases/{asked.lease}"
        try:
            async with asyncio.timeout(_SECONDS):
                if asked.last:
                    await kubeapi.request(self._server, "POST", f"{path}/end", {"spent": asked.spent})
                    return None
                answer = await kubeapi.request(self._server, "POST", path, self._body(budget, asked))
            fence, granted = int(answer["fence"]), int(answer["granted"])
            return Granted(fence, granted, float(answer["seconds"]), int(answer["free"]))
        except kubeapi.ApiError as error:
            if error.status in (404, 409):
                raise LeaseOverError(unknown=error.status == 404) from error
            raise NoAnswerError(str(error)) from error
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error

    def _body(self, budget: Budget, asked: Question) -> dict[str, str | int]:
        return {
            "holder": self._holder,
            "account": budget.account,
            "unit": budget.unit,
            "amount": budget.amount,
            "period": budget.period,
            "tz": budget.tz,
            "fence": asked.fence,
            "spent": asked.spent,
            "held": asked.held,
            "keep": asked.keep,
            "need": asked.need,
            "want": asked.want,
        }
