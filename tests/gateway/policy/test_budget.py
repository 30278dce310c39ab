"""Budgets as written: read as meant, or refused with the field and what to write instead."""

import pytest

from understudy.gateway.policy.budget import (
    HIGHEST_MONEY,
    Budget,
    budget_fields,
    parse_amount,
    parse_budgets,
    parse_money,
    zone,
)


@pytest.mark.parametrize(
    ("fields", "budgets"),
    [
        ({}, ()),
        ({"hash": "x"}, ()),
        ({"budgetTokens": "5000000"}, (Budget("ns/a", 5_000_000, "month", "UTC"),)),
        (
            {
                "budgetTokens": "1000000000000000",
                "budgetPeriod": "day",
                "budgetTimeZone": "Europe/Berlin",
                "onLedgerLoss": "allow",
            },
            (Budget("ns/a", 10**15, "day", "Europe/Berlin", allow=True),),
        ),
        ({"budgetTokens": "1", "budgetPeriod": "week", "onLedgerLoss": "refuse"}, (Budget("ns/a", 1, "week", "UTC"),)),
        (
            {"budgetMoney": "100000000", "budgetCurrency": "JPY", "onLedgerLoss": "allow"},
            (Budget("ns/a", HIGHEST_MONEY, "month", "UTC", allow=True, unit="JPY"),),
        ),
        (
            {"budgetTokens": "7", "budgetMoney": "0.000000001", "budgetCurrency": "USD", "budgetPeriod": "day"},
            (Budget("ns/a", 7, "day", "UTC"), Budget("ns/a", 1, "day", "UTC", unit="USD")),
        ),
    ],
)
def test_a_budget_is_read_as_it_is_written(fields: dict[str, str], budgets: tuple[Budget, ...]) -> None:
    assert parse_budgets("ns/a", fields) == budgets
    assert parse_budgets("ns/a", budget_fields(budgets)) == budgets


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"budgetPeriod": "day"}, "budgetPeriod: there is no budgetTokens or budgetMoney that it could be about"),
        ({"onLedgerLoss": "allow"}, "onLedgerLoss: there is no budgetTokens or budgetMoney that it could be about"),
        (
            {"budgetTokens": ""},
            (
                "budgetTokens: want a whole number from 1 to 1000000000000000, in digits alone; "
                "where there is no budget, leave the field out"
            ),
        ),
        ({"budgetTokens": "5", "budgetPeriod": "hour"}, "budgetPeriod: want day, week or month"),
        ({"budgetTokens": "5", "budgetTimeZone": "CEST5"}, "budgetTimeZone: want a time zone such as Europe/Berlin"),
        ({"budgetTokens": "5", "onLedgerLoss": "maybe"}, "onLedgerLoss: want refuse or allow"),
        (
            {"budgetMoney": "5"},
            "budgetMoney: there is no budgetCurrency that says of what: write one such as USD",
        ),
        (
            {"budgetTokens": "5", "budgetCurrency": "USD"},
            "budgetCurrency: there is no budgetMoney that it could be about",
        ),
        (
            {"budgetMoney": "5", "budgetCurrency": "dollars"},
            "budgetCurrency: want a currency's three capital letters, such as USD; where there is no budget, leave",
        ),
        (
            {"budgetMoney": "5 USD", "budgetCurrency": "USD"},
            r"budgetMoney: want a decimal such as 25\.00, above 0, at most 100000000; where there is no budget, leave",
        ),
    ],
)
def test_what_cannot_be_read_is_told_by_field(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence):
        parse_budgets("ns/a", fields)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e6", "1_000", "٣", " 5", "1000000000000001", "9" * 99])
def test_an_amount_is_a_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="want a whole number"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "1e6", "5 USD", "", "100000000.000000001", "0.0000000001"])
def test_money_is_a_decimal_above_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"want a decimal such as 25\.00, above 0, at most 100000000$"):
        parse_money(text)


def test_budgets_of_one_key_are_told_apart_by_what_they_count() -> None:
    tokens, money = Budget("ns/a", 1), Budget("ns/a", 1, unit="EUR")
    assert len({tokens.book, money.book, Budget("ns/b", 1).book}) == 3


def test_so_much_of_a_budget_is_told_as_it_is_written() -> None:
    assert Budget("ns/a", 1).told(1_200) == "1200 tokens"
    assert Budget("ns/a", 1, unit="EUR").told(1_200_000) == "0.0012 EUR"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../../etc/passwd", "/etc/passwd", "UTC\0", "a" * 300])
def test_what_is_no_time_zone_is_told_what_to_write(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone: write one such as Europe/Berlin, or UTC"):
        zone(name)
