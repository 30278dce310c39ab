"""Hashes are the same for what is the same, different for what differs, and never move by themselves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.revision import (
    canonical_json,
    content_hash,
    revision_hash,
    short_revision,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def shuffled(value: Any) -> Any:
    """The same value with every object's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
@given(JSON)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(JSON)
def test_canonical_json_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_the_order_of_lists_matters(value: list[int]) -> None:
    assert content_hash(value) != content_hash(value[::-1])


def test_equal_numbers_and_sequences_are_written_alike() -> None:
    assert canonical_json({"a": 1.0, "b": (1, 2)}) == b'{"a":1,"b":[1,2]}'
    assert canonical_json(True) != canonical_json(1)
    assert canonical_json("é") == '"é"'.encode()


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="float"):
        canonical_json(float("nan"))
    with pytest.raises(TypeError, match="key must be a string"):
        canonical_json({1: 2})
    with pytest.raises(TypeError):
        canonical_json({1, 2})


def test_the_hash_of_a_revision_is_pinned() -> None:
    intent = {"engine": {"type": "vllm", "image": "e:1", "args": ["--a"]}, "model": {"source": {"enginePath": "/m"}}}
    assert revision_hash(intent, 1) == "3c8c42fcd57d697abfbe153a4e61f9583c7b451e4ad03137814493f90295fd8e"
    assert revision_hash(intent, 2) == "8a73bc9f1725246aebed7e812a56c05aee95d46acd9285ce60abc9f9bec012e6"
    assert short_revision(revision_hash(intent, 1)) == "3c8c42fc"
