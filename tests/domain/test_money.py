"""Money is exact: what is written is what is counted, and no sum of prices is ever too small."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.money import NANO, Pricing, currency, decimal, nano

AMOUNTS = st.integers(0, 10**18 - 1)
TOKENS = st.integers(0, 10**9)
PRICINGS = st.builds(Pricing, AMOUNTS, AMOUNTS, st.just("USD"), AMOUNTS)


@pytest.mark.parametrize(
    ("text", "amount", "shortest"),
    [
        ("0", 0, "0"),
        ("0.10", 100_000_000, "0.1"),
        ("25", 25 * NANO, "25"),
        ("100.000", 100 * NANO, "100"),
        ("007.000000001", 7 * NANO + 1, "7.000000001"),
        ("999999999.999999999", 10**18 - 1, "999999999.999999999"),
    ],
)
def test_a_decimal_is_read_as_it_is_written(text: str, amount: int, shortest: str) -> None:
    assert (nano(text), decimal(amount)) == (amount, shortest)


@given(AMOUNTS)
def test_every_amount_has_a_decimal(amount: int) -> None:
    assert nano(decimal(amount)) == amount


NO_DECIMALS = ["", ".5", "5.", "-1", "+1", "1e3", "1,5", " 1", "1_0", "٣", "1" * 10, "0." + "1" * 10]


@pytest.mark.parametrize("text", NO_DECIMALS)
def test_what_is_no_decimal_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"want a decimal such as 0\.10, at most 9 digits on each side"):
        nano(text)


@pytest.mark.parametrize("text", ["", "usd", "US", "EURO", "€", "ÀÀÀ", "USD\n"])
def test_a_currency_is_three_capital_letters(text: str) -> None:
    assert currency("EUR") == "EUR"
    with pytest.raises(ValueError, match="want a currency's three capital letters, such as USD"):
        currency(text)


def test_a_request_costs_its_tokens_by_their_kind_and_what_requests_cost() -> None:
    # 0.10 and 0.40 USD a million, and a tenth of a cent.
    pricing = Pricing(nano("0.10"), nano("0.40"), "USD", request=nano("0.001"))
    assert decimal(pricing.cost(1_000, 250)) == "0.0012"
    assert decimal(pricing.cost(0, 0)) == "0.001"


@given(PRICINGS, TOKENS, TOKENS)
def test_a_cost_is_the_true_one_rounded_up_by_less_than_a_billionth(pricing: Pricing, prompt: int, output: int) -> None:
    true = Fraction(prompt * pricing.input + output * pricing.output, 10**6) + pricing.request
    assert 0 <= pricing.cost(prompt, output) - true < 1


@given(PRICINGS, TOKENS, TOKENS, st.fractions(0, 1), st.fractions(0, 1))
def test_what_uses_no_more_than_was_held_costs_no_more(
    pricing: Pricing, prompt: int, output: int, of_prompt: Fraction, of_output: Fraction
) -> None:
    assert pricing.cost(int(prompt * of_prompt), int(output * of_output)) <= pricing.cost(prompt, output)
