"""The JSON of a request: one reading of it, or none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.document import MAX_COMMAS, MAX_CONTAINERS, MAX_DEPTH, read_object
from understudy.gateway.policy.refusal import Refusal

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
