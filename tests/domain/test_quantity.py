from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.quantity import parse_quantity


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, Decimal(4)),
        ("4", Decimal(4)),
        ("0.5", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("4.", Decimal(4)),
        ("500m", Decimal("0.5")),
        ("100n", Decimal("1e-7")),
        ("7u", Decimal("7e-6")),
        ("16Gi", Decimal(16 * 2**30)),
        ("1Ki", Decimal(1024)),
        ("1Ei", Decimal(2**60)),
        ("2k", Decimal(2000)),
        ("3M", Decimal(3_000_000)),
        ("1e3", Decimal(1000)),
        ("1E3", Decimal(1000)),
        ("2E", Decimal("2e18")),
        ("-1", Decimal(-1)),
        ("12e-1", Decimal("1.2")),
    ],
)
def test_every_form_is_exact(value: str | int, expected: Decimal) -> None:
    assert parse_quantity(value) == expected


@pytest.mark.parametrize("value", ["", "Gi", "1 Gi", "1gi", "1e", "0x10", "one", "1Gi2", "\u0661"])
def test_anything_else_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(ValueError, match="such as 4, 500m or 16Gi"):
        parse_quantity(value)


def test_a_boolean_is_not_a_quantity() -> None:
    with pytest.raises(ValueError, match="True is not a quantity"):
        parse_quantity(True)


@given(st.integers(0, 10**9))
def test_units_agree_with_each_other(number: int) -> None:
    assert parse_quantity(f"{number}Mi") == parse_quantity(f"{number * 1024}Ki") == number * 2**20
    assert parse_quantity(f"{number}m") * 1000 == parse_quantity(number)
