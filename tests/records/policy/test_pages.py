"""Where pages end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.records.policy.pages import Cursor, parse_cursor


@given(st.integers(0, 10**15 - 1), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_as_it_was_written(at_ms: int, number: int) -> None:
    assert parse_cursor(str(Cursor(at_ms, number))) == Cursor(at_ms, number)


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "-1.1", "1.1 ", "1.1.1", "x.y", "1" * 16 + ".1", "1." + "1" * 19]
)
def test_what_is_no_cursor_is_told_so(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor: send what `next` of the page before says"):
        parse_cursor(text)
