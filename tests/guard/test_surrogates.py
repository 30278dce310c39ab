"""Characters that were spelt in two halves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.surrogates import Joiner, joined

HALVES = "a\ud835\udd86\U0001f600é"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("\ud835\udd86", "\U0001d586"),
        ("a\ud83d", "a\ufffd"),
        ("\udd86\ud835", "\ufffd\ufffd"),
        ("\ud83d\ud83d\ude00!", "\ufffd\U0001f600!"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_two_halves_are_one_character_and_one_is_none(text: str, whole: str) -> None:
    assert joined(text) == whole


@given(st.text(alphabet=HALVES, max_size=8), st.lists(st.integers(0, 8), max_size=4))
def test_no_cut_changes_what_is_whole(text: str, cuts: list[int]) -> None:
    joiner = Joiner()
    pieces = [joiner.feed(text[a:b]) for a, b in itertools.pairwise([0, *sorted(cuts), len(text)])]
    assert "".join([*pieces, joiner.finish()]) == joined(text)
    assert joiner.finish() == ""


@given(st.text(alphabet=HALVES, max_size=8))
def test_what_is_whole_has_an_encoding_and_stays_as_it_is(text: str) -> None:
    assert joined(text).encode().decode() == joined(joined(text)) == joined(text)
