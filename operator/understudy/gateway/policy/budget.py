"""Budgets of access keys as people write them: so many tokens, or so much money, a day, week or month somewhere."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from understudy.domain.money import NANO, currency, decimal, nano

Kind = Literal["day", "week", "month"]
PERIODS: Final[tuple[Kind, ...]] = get_args(Kind)
LOSSES: Final = ("refuse", "allow")
TOKENS: Final = "tokens"
HIGHEST_BUDGET: Final = 10**15
# Of a currency's billionths: what requests use beyond a budget still fits into the ledger's 64 bits.
HIGHEST_MONEY: Final = 10**8 * NANO
AMOUNT_FIELD: Final = "budgetTokens"
MONEY_FIELD: Final = "budgetMoney"
CURRENCY_FIELD: Final = "budgetCurrency"
PERIOD_FIELD: Final = "budgetPeriod"
ZONE_FIELD: Final = "budgetTimeZone"
LOSS_FIELD: Final = "onLedgerLoss"
FIELDS: Final = (AMOUNT_FIELD, MONEY_FIELD, CURRENCY_FIELD, PERIOD_FIELD, ZONE_FIELD, LOSS_FIELD)
_Value = TypeVar("_Value")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key may use: `amount` a `period` of the time zone `tz`, of all gateways together.

    `unit` is what is counted: tokens, or billionths of the currency that it names. `account` is where that is counted:
    the key's Secret, so that a key that is made anew there goes on with it.
    `allow`: while the ledger is away and what was leased is spent, it goes on, and that is told later.
    """

    account: str
    amount: int
    period: Kind = "month"
    tz: str = "UTC"
    allow: bool = False
    unit: str = TOKENS

    @property
    def book(self) -> tuple[str, str]:
        """What it is told by from other budgets, of the same key as well."""
        return self.account, self.unit

    def told(self, amount: int) -> str:
        """So much of it, for people."""
        return f"{amount if self.unit == TOKENS else decimal(amount)} {self.unit}"


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


def parse_money(text: str) -> int:
    """Billionths of a currency, of a decimal as written; ValueError says what to write instead."""
    try:
        amount = nano(text)
    except ValueError:
        amount = 0
    if not 0 < amount <= HIGHEST_MONEY:
        raise ValueError(f"want a decimal such as 25.00, above 0, at most {decimal(HIGHEST_MONEY)}")
    return amount


def parse_budgets(account: str, fields: Mapping[str, str]) -> tuple[Budget, ...]:
    """The budgets among the fields of a key, of tokens, of money, or both; ValueError names the field.

    Nothing is taken for something else: a key whose budget cannot be read would spend without one.
    """
    given = [field for field in FIELDS if field in fields]
    if not given:
        return ()
    amounts = {TOKENS: _read(fields, AMOUNT_FIELD, parse_amount)} if AMOUNT_FIELD in fields else {}
    if MONEY_FIELD in fields:
        amount = _read(fields, MONEY_FIELD, parse_money)
        if CURRENCY_FIELD not in fields:
            raise ValueError(f"{MONEY_FIELD}: there is no {CURRENCY_FIELD} that says of what: write one such as USD")
        amounts[_read(fields, CURRENCY_FIELD, currency)] = amount
    elif CURRENCY_FIELD in fields:
        raise ValueError(f"{CURRENCY_FIELD}: there is no {MONEY_FIELD} that it could be about")
    if not amounts:
        raise ValueError(f"{given[0]}: there is no {AMOUNT_FIELD} or {MONEY_FIELD} that it could be about")
    usual = Budget(account, 1)
    period, loss = fields.get(PERIOD_FIELD, usual.period), fields.get(LOSS_FIELD, LOSSES[0])
    tz = fields.get(ZONE_FIELD, usual.tz)
    if period not in PERIODS:
        raise ValueError(f"{PERIOD_FIELD}: want {', '.join(PERIODS[:-1])} or {PERIODS[-1]}")
    if loss not in LOSSES:
        raise ValueError(f"{LOSS_FIELD}: want {' or '.join(LOSSES)}")
    try:
        zone(tz)
    except ValueError:
        raise ValueError(f"{ZONE_FIELD}: want a time zone such as Europe/Berlin, or UTC") from None
    return tuple(Budget(account, amounts[unit], period, tz, loss == "allow", unit) for unit in amounts)


def budget_fields(budgets: Sequence[Budget]) -> dict[str, str]:
    """The fields of a key that say its budgets."""
    fields: dict[str, str] = {}
    for budget in budgets:
        if budget.unit == TOKENS:
            fields[AMOUNT_FIELD] = str(budget.amount)
        else:
            fields |= {MONEY_FIELD: decimal(budget.amount), CURRENCY_FIELD: budget.unit}
        fields |= {PERIOD_FIELD: budget.period, ZONE_FIELD: budget.tz}
        if budget.allow:
            fields[LOSS_FIELD] = "allow"
    return fields


def _read(fields: Mapping[str, str], field: str, parse: Callable[[str], _Value]) -> _Value:
    try:
        return parse(fields[field])
    except ValueError as error:
        raise ValueError(f"{field}: {error}; where there is no budget, leave the field out") from None
