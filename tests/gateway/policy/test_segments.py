"""Names of segments, and which of them make way."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.segments import (
    ENDED,
    LANES,
    LOST,
    Bounds,
    Lane,
    aside_name,
    bounds,
    dropped_name,
    kind_code,
    lane_of,
    makes_way,
    name_of,
    parse_dropped,
    records_in,
)

WITHIN = Bounds(common=75, whole=100, segment=10)


@pytest.mark.parametrize("lane", ["common", "kept"])
def test_a_segment_is_known_by_its_name(lane: Lane) -> None:
    name = name_of("0123456789abcdef", lane, 7)
    assert lane_of(name) == lane
    assert parse_dropped(name) is None
    assert parse_dropped(dropped_name(name, 12)) == (name, 12)
    assert lane_of(dropped_name(name, 12)) is None
    assert (lane_of(aside_name(name)), parse_dropped(aside_name(name))) == (None, None)


def test_what_is_no_segment_is_left_alone() -> None:
    for name in ("lock", "0123456789abcdef-x00000001", "../0123456789abcdef-c00000001", ""):
        assert lane_of(name) is None
        assert parse_dropped(name) is None


def test_violations_and_crises_are_what_room_is_kept_for() -> None:
    assert {kind for kind, lane in LANES.items() if lane == "kept"} == {"violation", "crisis", "sign"}


def test_of_lines_it_is_known_how_many_records_of_each_kind_they_are() -> None:
    said = ["sign", "request", ENDED, "engagement", "sign", LOST, "crisis", "violation"]
    codes = bytes(kind_code(b'{"kind":"%b","n":1}\n' % each.encode(), "kept") for each in said)
    assert records_in(codes) == Counter(sign=2, request=1, engagement=1, crisis=1, violation=1)
    assert sum(records_in(codes[3:]).values()) == 4


@pytest.mark.parametrize("line", [b"", b'{"kind":"requ', b'{"kind":"of tomorrow"}\n', b"\0\0\n"])
def test_a_line_whose_kind_cannot_be_read_is_what_there_is_most_of_in_its_lane(line: bytes) -> None:
    assert records_in(bytes([kind_code(line, "common"), kind_code(line, "kept")])) == Counter(request=1, violation=1)


def test_a_quarter_is_kept_and_segments_are_small_parts_of_the_rest() -> None:
    assert bounds(64 * 2**20) == Bounds(48 * 2**20, 64 * 2**20, 2**20)
    assert bounds(2**20).segment == 2**15
    assert bounds(1000).segment == 4096


@pytest.mark.parametrize(
    ("sizes", "kept", "adding", "lane", "gone"),
    [
        ([], 0, 75, "common", 0),
        ([], 0, 76, "common", None),
        ([30, 30], 0, 15, "common", 0),
        ([30, 30], 0, 16, "common", 1),
        ([30, 30], 0, 46, "common", 2),
        ([30, 30], 30, 10, "common", 0),
        ([30, 30], 30, 11, "common", 1),
        ([30, 30], 0, 40, "kept", 0),
        ([30, 30], 20, 40, "kept", 1),
        ([30, 30], 90, 10, "kept", 2),
        ([30, 30], 90, 11, "kept", None),
        ([], 40, 70, "common", None),
    ],
)
def test_the_oldest_requests_make_way_and_nothing_else(
    sizes: list[int], kept: int, adding: int, lane: Lane, gone: int | None
) -> None:
    assert makes_way(sizes, kept, adding, lane, WITHIN) == gone


@given(
    st.lists(st.integers(1, 40), max_size=6),
    st.integers(0, 100),
    st.integers(1, 60),
    st.sampled_from(["common", "kept"]),
)
def test_no_more_goes_than_must_and_then_there_is_room(sizes: list[int], kept: int, adding: int, lane: Lane) -> None:
    def fits(gone: int) -> bool:
        common = sum(sizes[gone:])
        whole = common + kept + adding <= WITHIN.whole
        return whole and (lane == "kept" or common + adding <= WITHIN.common)

    gone = makes_way(sizes, kept, adding, lane, WITHIN)
    if gone is None:
        assert not fits(len(sizes))
    else:
        assert fits(gone)
        assert gone == 0 or not fits(gone - 1)
