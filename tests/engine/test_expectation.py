"""Expectations of probe prompts."""

from typing import Any

import pytest

from understudy.engine.expectation import shortfall, time_allowed


@pytest.mark.parametrize(
    ("expect", "text"),
    [
        ({}, "yes"),
        ({"notEmpty": True}, "yes"),
        ({"notEmpty": False}, ""),
        ({"matches": "(?i)YES"}, "oh yes indeed"),
        ({"matches": "^yes$"}, "yes"),
        ({"mustNotMatch": "sorry"}, "yes"),
        ({"matches": "fox", "mustNotMatch": "wolf", "notEmpty": True}, "the fox ran"),
        ({"jsonSchema": {"required": ["name"]}}, ' {"name": "fox"} '),
        ({"jsonSchema": {}, "matches": "fox"}, '["fox"]'),
    ],
)
def test_a_good_answer_lacks_nothing(expect: dict[str, Any], text: str) -> None:
    assert shortfall(expect, text) == ""


@pytest.mark.parametrize(
    ("expect", "text", "said"),
    [
        ({}, "", "the answer is empty"),
        ({"notEmpty": True}, " \n", "the answer is empty"),
        ({"matches": "fox"}, "wolf", "the answer 'wolf' does not match 'fox'"),
        ({"matches": "^yes$"}, "oh yes", "the answer 'oh yes' does not match '^yes$'"),
        ({"jsonSchema": {"type": "object"}}, "[1]", "the answer '[1]' is [1], not object"),
        ({"jsonSchema": {"required": ["name"]}}, "{}", "the answer '{}' has no \"name\""),
        ({"jsonSchema": {}}, "{", "the answer '{' is not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        ({"mustNotMatch": "(?i)SORRY"}, "I am sorry", "the answer 'I am sorry' matches '(?i)SORRY'"),
    ],
)
def test_a_bad_answer_is_told_in_words(expect: dict[str, Any], text: str, said: str) -> None:
    assert shortfall(expect, text) == said


def test_a_long_answer_is_shown_in_part() -> None:
    said = shortfall({"matches": "fox"}, "x" * 500)
    assert "…" in said
    assert len(said) < 130


def test_a_pattern_that_is_none_says_so() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        shortfall({"matches": "(?=look-ahead)"}, "text")


def test_a_pattern_that_would_take_for_ever_elsewhere_is_linear_here() -> None:
    assert shortfall({"matches": "(a+)+$"}, "a" * 5000 + "b")


@pytest.mark.parametrize(("expect", "allowed"), [({}, 30.0), ({"within": "5s"}, 5.0), ({"within": "1m500ms"}, 60.5)])
def test_the_time_allowed_is_what_was_asked_for(expect: dict[str, Any], allowed: float) -> None:
    assert time_allowed(expect) == allowed


def test_a_time_that_is_none_says_so() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        time_allowed({"within": "soon"})
