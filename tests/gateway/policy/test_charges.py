"""What a request takes of its key's budgets: by the prices of the moment in which it came, and never a surprise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.money import Pricing, nano
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.charges import Charge, charges_of
from understudy.gateway.policy.demand import NOTHING, Demand
from understudy.gateway.policy.refusal import Refusal

TOKENS = Budget("ns/a", 1_000_000)
DOLLARS = Budget("ns/a", nano("25"), unit="USD")
PRICING = Pricing(nano("0.10"), nano("0.40"), "USD", request=nano("0.001"))
DEMAND = Demand(400, 1_000)


def charges(*budgets: Budget, demand: Demand = DEMAND, pricing: Pricing | None = PRICING) -> list[Charge]:
    found = charges_of(budgets, demand, pricing)
    assert not isinstance(found, Refusal)
    return list(found)


def test_a_key_may_have_a_budget_of_tokens_one_of_money_or_both() -> None:
    assert charges() == []
    both = charges(TOKENS, DOLLARS)
    assert [(charge.budget, charge.most) for charge in both] == [(TOKENS, 1_400), (DOLLARS, nano("0.00144"))]
    assert [charge.cost(7, 40) for charge in both] == [47, nano("0.0010167")]
    assert both == [*charges(TOKENS), *charges(DOLLARS)]


def test_tokens_are_counted_whatever_they_cost() -> None:
    assert [charge.most for charge in charges(TOKENS, pricing=None)] == [1_400]


@pytest.mark.parametrize(
    ("pricing", "has"),
    [(None, "has no prices"), (Pricing(1, 1, "EUR"), "is priced in EUR")],
)
def test_money_of_one_currency_is_not_spent_where_another_or_none_is_asked_for(
    pricing: Pricing | None, has: str
) -> None:
    refusal = charges_of((TOKENS, DOLLARS), DEMAND, pricing)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.terminal) == (403, "not_priced", True)
    assert refusal.message == (
        f"the access key has a budget in USD, and this model {has}: its ModelDeployment has to say in spec.pricing "
        "what it costs in USD, or use a key with another budget"
    )


def test_what_no_model_answers_takes_nothing_of_any_budget() -> None:
    assert charges(TOKENS, DOLLARS, demand=NOTHING, pricing=None) == []


def test_what_is_free_takes_nothing_of_a_budget_in_money() -> None:
    assert charges(DOLLARS, pricing=Pricing(0, 0, "USD")) == []
    # Embeddings have prompts alone.
    assert charges(DOLLARS, demand=Demand(400, 0), pricing=Pricing(0, 7, "USD")) == []


@given(st.builds(Pricing, *[st.integers(1, 10**18)] * 2, st.just("USD"), st.integers(0, 10**18)), st.data())
def test_what_was_foreseen_is_never_exceeded_but_by_an_engine_that_counts_more_and_by_a_context_at_most(
    pricing: Pricing, data: st.DataObject
) -> None:
    demand = Demand(data.draw(st.integers(1, 10**8)), data.draw(st.integers(0, 10**8)))
    for charge in charges(TOKENS, DOLLARS, demand=demand, pricing=pricing):
        foreseen = data.draw(st.integers(0, demand.prompt)), data.draw(st.integers(0, demand.output))
        assert 0 <= charge.cost(*foreseen) <= charge.most
        # A request with that many tokens more is believed, one with a billion is not.
        assert charge.cost(demand.prompt + 2**20 - 1, demand.output) <= charge.most + charge.beyond
        assert charge.cost(10**17, 10**17) == charge.most + charge.beyond
