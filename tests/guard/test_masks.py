"""Spans that are taken out of a text."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from understudy.guard.masks import Masks


def test_the_mask_stands_in_the_place_of_what_is_taken_out() -> None:
    masks = Masks()
    masks.add(13, 16, "[b]")
    masks.add(11, 12, "[a]")
    assert masks.apply("0123456789", 10) == "0[a]2[b]6789"
    assert masks.apply("abc", 20) == "abc"


def test_spans_that_overlap_become_one_with_the_first_ones_mask() -> None:
    for order in itertools.permutations([(2, 5, "[a]"), (4, 8, "[b]"), (2, 3, "[c]"), (8, 9, "[d]")]):
        masks = Masks()
        for span in order:
            masks.add(*span)
        assert masks.apply("0123456789", 0) == "01[a][d]9"


def test_no_span_is_cut() -> None:
    masks = Masks()
    masks.add(3, 6, "[a]")
    assert [masks.before(upto) for upto in range(2, 8)] == [2, 3, 3, 3, 6, 7]
    assert masks.apply("012", 0) == "012"
    assert masks.apply("345678", 3) == "[a]678"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=6), st.lists(st.integers(0, 40), max_size=4))
def test_what_is_taken_out_never_comes_out_wherever_the_text_is_cut(
    spans: list[tuple[int, int]], cuts: list[int]
) -> None:
    masks, text, at, out = Masks(), "".join(chr(0x4E00 + at) for at in range(40)), 0, ""
    for start, length in spans:
        masks.add(start, start + length, "[]")
    for cut in [*sorted(cuts), 40]:
        upto = max(at, masks.before(cut))
        out += masks.apply(text[at:upto], at)
        at = upto
    gone = {at for start, length in spans for at in range(start, start + length)}
    assert out.replace("[]", "") == "".join(char for at, char in enumerate(text) if at not in gone)


def test_many_spans_cost_no_more_than_their_number() -> None:
    # One request can have so many; compared each with each they would take minutes.
    masks, count = Masks(), 20_000
    for at in range(count):
        masks.add(2 * at, 2 * at + 1, "[]")
    assert masks.apply("ab" * count, 0) == "[]b" * count
