"""Budgets of access keys as people write them: so many tokens a day, week or month of a time zone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Kind = Literal["day", "week", "month"]
PERIODS: Final[tuple[Kind, ...]] = get_args(Kind)
LOSSES: Final = ("refuse", "allow")
HIGHEST_BUDGET: Final = 10**15
AMOUNT_FIELD: Final = "budgetTokens"
PERIOD_FIELD: Final = "budgetPeriod"
ZONE_FIELD: Final = "budgetTimeZone"
LOSS_FIELD: Final = "onLedgerLoss"
FIELDS: Final = (AMOUNT_FIELD, PERIOD_FIELD, ZONE_FIELD, LOSS_FIELD)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key may use: `amount` tokens a `period` of the time zone `tz`, of all gateways together.

    `account` is where that is counted: the key's Secret, so that a key that is made anew there goes on with it.
    `allow`: while the ledger is away and what was leased is spent, it goes on, and that is told later.
    """

    account: str
    amount: int
    period: Kind = "month"
    tz: str = "UTC"
    allow: bool = False


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as Europe/Berlin; ValueError says what to write instead."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # A name that is a folder of the database ("Europe"), or reaches out of it, is an OSError or a ValueError.
        raise ValueError(f"{name!r} is not a time zone: write one such as Europe/Berlin, or UTC") from error


def parse_amount(text: str) -> int:
    """Tokens as written; ValueError says what to write instead."""
    if not _NUMBER.fullmatch(text) or int(text) > HIGHEST_BUDGET:
        # Not what was written: in a Secret it may be anything.
        raise ValueError(f"want a whole number from 1 to {HIGHEST_BUDGET}, in digits alone")
    return int(text)


def parse_budget(account: str, fields: Mapping[str, str]) -> Budget | None:
    """The budget among the fields of a key, None where there is none; ValueError names the field.

    Nothing is taken for something else: a key whose budget cannot be read would spend without one.
    """
    given = [field for field in FIELDS if field in fields]
    if not given:
        return None
    if AMOUNT_FIELD not in fields:
        raise ValueError(f"{given[0]}: there is no {AMOUNT_FIELD} that it could be about")
    usual = Budget(account, 1)
    period, loss = fields.get(PERIOD_FIELD, usual.period), fields.get(LOSS_FIELD, LOSSES[0])
    tz = fields.get(ZONE_FIELD, usual.tz)
    try:
        amount = parse_amount(fields[AMOUNT_FIELD])
    except ValueError as error:
        raise ValueError(f"{AMOUNT_FIELD}: {error}; where there is no budget, leave the field out") from None
    if period not in PERIODS:
        raise ValueError(f"{PERIOD_FIELD}: want {', '.join(PERIODS[:-1])} or {PERIODS[-1]}")
    if loss not in LOSSES:
        raise ValueError(f"{LOSS_FIELD}: want {' or '.join(LOSSES)}")
    try:
        zone(tz)
    except ValueError:
        raise ValueError(f"{ZONE_FIELD}: want a time zone such as Europe/Berlin, or UTC") from None
    return Budget(account, amount, period, tz, allow=loss == "allow")


def budget_fields(budget: Budget | None) -> dict[str, str]:
    """The fields of a key that say its budget."""
    if budget is None:
        return {}
    loss = {LOSS_FIELD: "allow"} if budget.allow else {}
    return {
        AMOUNT_FIELD: str(budget.amount),
        PERIOD_FIELD: budget.period,
        ZONE_FIELD: budget.tz,
        **loss,
    }
