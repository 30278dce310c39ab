"""What a request takes of each budget of its key: the most that it may, before it sets out, and at its end what it did.

Prices bind when a request comes: those of the name that it asks for, whoever answers it, and whatever is written later.
"""

from dataclasses import dataclass
from typing import Final

from understudy.domain.money import Pricing
from understudy.gateway.policy.budget import TOKENS, Budget
from understudy.gateway.policy.demand import Demand
from understudy.gateway.policy.refusal import Refusal

_LONGEST_CONTEXT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request takes of `budget`: `most` of it, or `beyond` that where an engine counts more than was foreseen.

    A count beyond any context is not believed: by one wrong number an engine could take a whole budget. `pricing` is
    None where tokens are counted.
    """

    budget: Budget
    most: int
    beyond: int
    pricing: Pricing | None

    def cost(self, prompt: int, output: int) -> int:
        """What so many tokens take of it."""
        cost = prompt + output if self.pricing is None else self.pricing.cost(prompt, output)
        return min(cost, self.most + self.beyond)


def charges_of(budgets: tuple[Budget, ...], demand: Demand, pricing: Pricing | None) -> tuple[Charge, ...] | Refusal:
    """What a request with `demand` at a model of these prices takes of each budget of which it takes anything."""
    if not demand.most:
        # No model answers.
        return ()
    charges = []
    for budget in budgets:
        if budget.unit == TOKENS:
            charges.append(Charge(budget, demand.most, _LONGEST_CONTEXT, None))
        elif pricing is None or pricing.currency != budget.unit:
            return _unpriced(budget, pricing)
        elif most := pricing.cost(demand.prompt, demand.output):
            dearer = max(
                pricing.cost(demand.prompt + _LONGEST_CONTEXT, demand.output),
                pricing.cost(demand.prompt, demand.output + _LONGEST_CONTEXT),
            )
            charges.append(Charge(budget, most, dearer - most, pricing))
    return tuple(charges)


def _unpriced(budget: Budget, pricing: Pricing | None) -> Refusal:
    has = "has no prices" if pricing is None else f"is priced in {pricing.currency}"
    message = (
        f"the access key has a budget in {budget.unit}, and this model {has}: its ModelDeployment has to say in "
        f"spec.pricing what it costs in {budget.unit}, or use a key with another budget"
    )
    return Refusal(403, "not_priced", message)
