"""The JSON of a request: one reading of it, or none."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.document import (
    MAX_COMMAS,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MOST_PER_BYTE,
    lend,
    read_object,
)
from understudy.gateway.policy.refusal import NO_ROOM, Refusal
from understudy.gateway.policy.shares import Shares

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 1]))
def test_every_object_without_repeated_keys_is_read_as_it_is(value: dict[str, Any], indent: int | None) -> None:
    assert read_object(json.dumps(value, indent=indent).encode()) == value


@given(
    st.text(),
    st.sampled_from(["{{{0}:1,{0}:2}}", '{{"x":{{{0} :1, {0}\t:2}}}}', "[{{{0}:1}}]", '{{"y":[{{{0}:1,{0}:1}}]}}']),
)
def test_repeated_keys_are_refused_at_any_level(key: str, form: str) -> None:
    found = read_object(form.format(json.dumps(key)).encode())
    assert isinstance(found, Refusal)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"one: two: three","b":":"}',
        b'{"a":"\\":", "b": "x\\": y"}',
        b'{"a" : "\\\\", "b" : [{"c" : ": "}]}',
    ],
)
def test_colons_in_texts_are_no_keys(body: bytes) -> None:
    assert read_object(body) == json.loads(body)


def test_a_repeated_key_cannot_hide_behind_colons_in_texts() -> None:
    found = read_object(b'{"a" :1,"a" :2 ,"b":": "}')
    assert isinstance(found, Refusal)
    assert "twice" in found.message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"a"', b"null", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"{} {}"]
)
def test_what_is_not_one_json_object_is_refused(body: bytes) -> None:
    found = read_object(body)
    assert isinstance(found, Refusal)
    assert found.status == 400
    assert not found.close


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"

    assert isinstance(read_object(nested(MAX_DEPTH)), dict)
    assert isinstance(read_object(nested(MAX_DEPTH + 1)), Refusal)
    assert isinstance(read_object(b'{"a":' * 5000 + b"1" + b"}" * 5000), Refusal)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * MAX_CONTAINERS + b"0]}",
        b'{"a":[' + b'{"":0},' * MAX_CONTAINERS + b"0]}",
        b'{"a":[' + b'"ab" ,' * (MAX_COMMAS + 1) + b"0]}",
        b'{"a":[' + b"0," * (MAX_COMMAS + 1) + b"0]}",
    ],
    ids=["arrays", "objects", "texts", "numbers"],
)
def test_a_body_that_would_be_read_into_far_more_memory_than_it_has_bytes_is_refused(body: bytes) -> None:
    found = read_object(body)
    assert isinstance(found, Refusal)
    assert found.message == "the body has more than 100000 objects and arrays, or 500000 values"


def test_brackets_and_commas_in_texts_are_no_parts() -> None:
    code = 'say(x[1], {"a": "\\"}),\n' * MAX_COMMAS
    assert read_object(json.dumps({"content": code}).encode()) == {"content": code}


# The most wasteful texts there are: what little of each is read into much.
WASTEFUL = {
    "empty objects": b"{},",
    "empty arrays": b"[],",
    "objects of one": b'{"":0},',
    "objects in objects": b'{"a":{"b":{}}},',
    "objects in objects, deep": b'{"":' * 60 + b"0" + b"}" * 60 + b",",
    "arrays in objects": b'{"a":[]},',
    "arrays of one": b"[0],",
    "floats": b"1.5,",
    "numbers": b"123456,",
    "short texts": b'"ab",',
    "letters beyond ASCII": '"\u00e9",'.encode(),
    "short texts beyond ASCII": '"\u00e9\u00e9",'.encode(),
    "short texts far beyond ASCII": '"\u8a9e\u8a9e",'.encode(),
    "emoji": '"a\U0001f98a",'.encode(),
    "escaped emoji": b'"\\ud83e\\udd8aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",',
}


def memory_of(body: bytes) -> int:
    """What reading a body takes, as the allocator counts it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        document = read_object(body)
        assert isinstance(document, dict)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("part", WASTEFUL.values(), ids=WASTEFUL.keys())
def test_no_body_is_read_into_more_than_was_set_aside_for_it(part: bytes) -> None:
    body = b'{"x":[' + part * (90_000 // len(part)) + b"0]}"
    used = memory_of(body)
    alone = lend(Shares(100_000_000), "a", body)
    assert isinstance(alone, int)
    assert used <= alone <= MOST_PER_BYTE * len(body)
    crowded = Shares(100_000_000)
    assert crowded.take("other", 60_000_000)
    lent = lend(crowded, "a", body)
    assert isinstance(lent, int)
    assert used <= lent


def test_many_keys_are_not_read_into_more_than_was_set_aside_for_them() -> None:
    body = json.dumps({f"k{i}": i for i in range(8000)}).encode()
    used = memory_of(body)
    crowded = Shares(100_000_000)
    assert crowded.take("other", 60_000_000)
    lent = lend(crowded, "a", body)
    assert isinstance(lent, int)
    assert used <= lent


def test_little_bodies_are_not_counted_while_there_is_room() -> None:
    pool = Shares(1000 * MOST_PER_BYTE)
    assert lend(pool, "a", b"x" * 100) == 18 * 100
    assert lend(pool, "a", b"[" * 400) == 400 * MOST_PER_BYTE
    counted = lend(pool, "a", b"x" * 400)
    assert isinstance(counted, int)
    assert counted < 1000


def test_brackets_and_commas_in_texts_take_no_room_where_there_is_little() -> None:
    body = json.dumps({"content": "a[1],{2},:" * 1000}).encode()
    pool = Shares(60_000)
    lent = lend(pool, "a", body)
    assert isinstance(lent, int)
    assert lent < 2 * len(body)


def test_without_room_a_body_is_for_later_and_a_huge_one_for_never() -> None:
    pool = Shares(60_000)
    assert pool.take("other", 50_000) is False
    assert pool.take("other", 40_000)
    assert lend(pool, "a", b"x" * 20_000) is NO_ROOM
    found = lend(pool, "a", b"[" * 10_000)
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (413, "body_too_large")
    assert pool.used == 40_000
