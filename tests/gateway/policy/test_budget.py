"""Budgets as written: read as meant, or refused with the field and what to write instead."""

import pytest

from understudy.gateway.policy.budget import Budget, budget_fields, parse_amount, parse_budget, zone


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ({}, None),
        ({"hash": "x"}, None),
        ({"budgetTokens": "5000000"}, Budget("ns/a", 5_000_000, "month", "UTC")),
        (
            {
                "budgetTokens": "1000000000000000",
                "budgetPeriod": "day",
                "budgetTimeZone": "Europe/Berlin",
                "onLedgerLoss": "allow",
            },
            Budget("ns/a", 10**15, "day", "Europe/Berlin", allow=True),
        ),
        ({"budgetTokens": "1", "budgetPeriod": "week", "onLedgerLoss": "refuse"}, Budget("ns/a", 1, "week", "UTC")),
    ],
)
def test_a_budget_is_read_as_it_is_written(fields: dict[str, str], budget: Budget | None) -> None:
    assert parse_budget("ns/a", fields) == budget
    assert parse_budget("ns/a", budget_fields(budget)) == budget


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"budgetPeriod": "day"}, "budgetPeriod: there is no budgetTokens that it could be about"),
        ({"onLedgerLoss": "allow"}, "onLedgerLoss: there is no budgetTokens that it could be about"),
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
    ],
)
def test_what_cannot_be_read_is_told_by_field(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence):
        parse_budget("ns/a", fields)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e6", "1_000", "٣", " 5", "1000000000000001", "9" * 99])
def test_an_amount_is_a_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="want a whole number"):
        parse_amount(text)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../../etc/passwd", "/etc/passwd", "UTC\0", "a" * 300])
def test_what_is_no_time_zone_is_told_what_to_write(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone: write one such as Europe/Berlin, or UTC"):
        zone(name)
