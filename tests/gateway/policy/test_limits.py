"""Limits of keys as they are written: what is one, what is none, and what to write instead."""

import pytest

from understudy.gateway.policy.limits import HIGHEST_LIMIT, RateLimits, limit_fields, parse_limit, parse_limits


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("60", 60), ("1000000000", HIGHEST_LIMIT)])
def test_a_limit_is_a_whole_number(text: str, number: int) -> None:
    assert parse_limit(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "01", "1.5", "1e3", "10k", "٣", "1 ", "1000000001", "9" * 9999])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"^want a whole number from 1 to 1000000000, in digits alone$"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({}, None),
        ({"priority": "3"}, None),
        ({"requestsPerMinute": "1"}, RateLimits(requests=1)),
        ({"tokensPerMinute": "7"}, RateLimits(tokens=7)),
        ({"requestsPerMinute": "2", "tokensPerMinute": "3"}, RateLimits(2, 3)),
    ],
)
def test_a_key_has_the_limits_that_are_written_and_no_others(fields: dict[str, str], limits: RateLimits | None) -> None:
    assert parse_limits(fields) == limits
    written = {name: int(value) for name, value in fields.items() if name != "priority"}
    assert limit_fields(limits) == written


@pytest.mark.parametrize("field", ["requestsPerMinute", "tokensPerMinute"])
@pytest.mark.parametrize("written", ["", "many"])
def test_the_field_of_a_wrong_limit_is_named(field: str, written: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: want .*; where there is no limit, leave the field out$"):
        parse_limits({field: written})
