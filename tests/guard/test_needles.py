"""Patterns are taken or refused before any text is seen."""

import pytest

from understudy.guard.findings import Severity
from understudy.guard.needles import Pattern, PatternError, prepare
from understudy.guard.views import PLAIN, WORDS

HIGH: Severity = 6


def pattern(literal: str = "", regex: str = "") -> Pattern:
    return Pattern("d", "p", "c", HIGH, literal=literal, regex=regex)


@pytest.mark.parametrize(
    ("literal", "chars", "starts", "ends", "view"),
    [
        ("Darn", "darn", True, True, WORDS),
        ("d4rn", "darn", True, True, WORDS),
        ("c++", "c++", True, False, WORDS),
        ("@home", "ahome", False, True, WORDS),
        ("1488", "1488", True, True, PLAIN),
        (":-(", ":-(", False, False, PLAIN),
        ("人a", "人a", False, True, WORDS),
        ("a\u200b", "a", True, True, WORDS),
    ],
)
def test_a_literal_is_a_word_where_it_begins_and_ends_with_letters_or_digits(
    literal: str, chars: str, starts: bool, ends: bool, view: str
) -> None:
    needle = prepare(pattern(literal), 100)
    assert (needle.chars, needle.starts_word, needle.ends_word, needle.view) == (chars, starts, ends, view)
    assert needle.width == len(chars)
    assert needle.starts("x" * 40, 40) == [40 - len(chars)]


def test_an_expression_is_a_word_where_it_says_so() -> None:
    needle = prepare(pattern(regex="\\b[A-Z]{2,4}"), 100)
    assert (needle.width, needle.starts_word, needle.ends_word, needle.view) == (4, True, False, PLAIN)
    assert needle.starts("xabc", 4) == [0, 1, 2]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (pattern("\u200b "), ": its literal has no character that can be seen: write some text"),
        (
            pattern(regex="a+"),
            (
                ": 'a+' repeats without end, and nothing could be released while it might go on: "
                "write bounds, such as {0,40} for * and {1,40} for +"
            ),
        ),
        (pattern("x" * 4097), " is 4097 characters long, and at most 4096 can be: write several"),
        (pattern(regex="[ab]" * 1025), " is 4100 characters long, and at most 4096 can be: write several"),
        (
            pattern(regex="a?" * 400 + "b"),
            (
                ": more than 65536 ways from one character to the next: write fewer parts that may be left out, or "
                "several patterns"
            ),
        ),
        (pattern(regex="a?"), ": 'a?' matches nothing at all, which is everywhere: name at least one character"),
        (pattern(regex=""), ": '' matches nothing at all, which is everywhere: name at least one character"),
        (
            pattern(regex="(?:a{64}|b{64}){65}"),
            (
                ": '(?:a{64}|b{64}){65}' is 8320 characters long with all its repetitions written out, and at most "
                "4096 can be: write smaller bounds, or several patterns"
            ),
        ),
        (
            pattern(regex="a{100}"),
            (
                " finds up to 100 characters, and at most 99 can be held back under stream.maxHoldChars: 100: "
                "write smaller bounds, or raise maxHoldChars"
            ),
        ),
        (
            pattern("x" * 100),
            (
                " finds up to 100 characters, and at most 99 can be held back under stream.maxHoldChars: 100: "
                "write smaller bounds, or raise maxHoldChars"
            ),
        ),
        (
            pattern(regex="a^"),
            ": at character 2 of 'a^': a stream has no lines to begin: leave out `^`, or write \\^ for the character",
        ),
    ],
)
def test_what_cannot_be_looked_for_is_refused_with_the_reason(refused: Pattern, message: str) -> None:
    with pytest.raises(PatternError) as error:
        prepare(refused, 100)
    assert str(error.value) == f"pattern 'p'{message}"
