"""The split: sticky, monotone, fair; and what a conversation is known by."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.conversation import (
    Source,
    client_request_id,
    conversation_id,
    position,
    session_name,
    thresholds,
    traceparent,
    variant_at,
)

WEIGHTS = st.integers(0, 100)
IDS = st.binary(min_size=1, max_size=40)


def on_candidate(conversation: bytes, weight: int, salt: str = "a90b1234") -> bool:
    where = position(conversation, "default/story", salt)
    return variant_at(where, thresholds([weight, 100 - weight])) == 0


@given(IDS, WEIGHTS, WEIGHTS)
def test_a_rising_weight_only_moves_conversations_to_the_candidate(conversation: bytes, one: int, two: int) -> None:
    low, high = sorted((one, two))
    assert on_candidate(conversation, low) <= on_candidate(conversation, high)


@given(IDS, WEIGHTS)
def test_a_revert_moves_all_of_them_back(conversation: bytes, weight: int) -> None:
    assert not on_candidate(conversation, 0)
    assert on_candidate(conversation, weight) == on_candidate(conversation, weight)
    assert on_candidate(conversation, 100)


@pytest.mark.parametrize("weight", [1, 5, 10, 25, 50, 75, 90, 99])
@pytest.mark.parametrize("salt", ["a90b1234", "00000000", "deadbeef"])
def test_shares_are_fair(weight: int, salt: str) -> None:
    count = 4000
    share = sum(on_candidate(b"player-%d" % i, weight, salt) for i in range(count))
    expected = count * weight / 100
    spread = 3.29 * math.sqrt(count * weight / 100 * (1 - weight / 100))  # 99.9 % of a binomial
    assert abs(share - expected) <= spread


def test_each_rollout_has_other_guinea_pigs() -> None:
    people = [b"player-%d" % i for i in range(2000)]
    first = {p for p in people if on_candidate(p, 10, "a90b1234")}
    second = {p for p in people if on_candidate(p, 10, "b90b1234")}
    assert len(first & second) < len(first) / 2


def test_deployments_split_independently() -> None:
    people = [b"player-%d" % i for i in range(100)]
    assert [position(p, "a/x", "s") for p in people] != [position(p, "a/y", "s") for p in people]


def test_an_id_cannot_reach_into_the_deployment_or_the_salt() -> None:
    assert position(b"a", "b/c", "d") != position(b"ab", "/c", "d")
    assert position(b"a", "b", "cd") != position(b"a", "bc", "d")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(0, 2**64 - 1))
def test_every_conversation_has_a_variant(parts: list[int], where: int) -> None:
    weights = [*parts, 100 - sum(parts)] if sum(parts) <= 100 else [100]
    assert 0 <= variant_at(where, thresholds(weights)) < len(weights)


def test_weights_that_do_not_sum_to_a_hundred_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        variant_at(2**64 - 1, thresholds([50]))


def found(body: dict[str, Any], header: bytes | None = None, *, from_user: bool = False) -> tuple[bytes, str]:
    return conversation_id(header, body, "tenant", from_user=from_user)


def chat(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


OPENING = (("system", "You are a narrator."), ("user", "Begin."))


def test_explicit_ids_win_in_order() -> None:
    body = chat(*OPENING, metadata={"session": "m"}, prompt_cache_key="c", user="u")
    assert found(body, b"h", from_user=True) == (b"h", "header")
    assert found(body, from_user=True) == (b"m", "metadata")
    del body["metadata"]
    assert found(body, from_user=True) == (b"c", "cache_key")
    del body["prompt_cache_key"]
    assert found(body, from_user=True) == (b"u", "user")
    assert found(body)[1] == "content"


@pytest.mark.parametrize("useless", [None, "", 7, ["x"], "x" * 513])
def test_useless_ids_are_passed_over(useless: Any) -> None:
    body = chat(*OPENING, metadata={"session": useless}, prompt_cache_key=useless, user=useless)
    assert found(body, b"", from_user=True)[1] == "content"


def test_the_opening_stays_the_same_as_the_conversation_goes_on() -> None:
    second = (*OPENING, ("assistant", "Once"))
    third = (*second, ("user", "Go on."), ("assistant", "upon"), ("user", "More."))
    assert found(chat(*second)) == found(chat(*third))
    assert found(chat(*OPENING)) != found(chat(*second))


def test_openings_differ_by_tenant_and_by_text() -> None:
    body = chat(*OPENING)
    assert found(body) != conversation_id(None, body, "other", from_user=False)
    assert found(body) != found(chat(("system", "You are a pirate."), ("user", "Begin.")))
    assert found(chat(("user", "a" * 5000 + "x" + "a" * 5000))) == found(chat(("user", "a" * 5000 + "y" + "a" * 5000)))
    assert found(chat(("user", "a" * 5000))) != found(chat(("user", "a" * 5001)))


def test_parts_and_developer_messages_count() -> None:
    parts = [{"type": "text", "text": "hi"}]
    assert found(chat(("developer", "x"), ("user", parts))) != found(chat(("developer", "y"), ("user", parts)))


@pytest.mark.parametrize(
    "body", [{}, {"prompt": "x"}, {"messages": "x"}, {"messages": ["x"]}, chat(("assistant", "x")), {"metadata": "x"}]
)
def test_a_request_without_an_opening_is_a_conversation_of_its_own(body: dict[str, Any]) -> None:
    assert found(body) == (b"", "random")


@pytest.mark.parametrize(
    ("value", "kept"),
    [(b"abc-DEF_1.2", True), (b"x" * 64, True), (b"x" * 65, False), (b"", False), (b"a b", False), (b"a\xff", False)],
)
def test_a_clients_request_id_is_repeated_only_when_harmless(value: bytes, kept: bool) -> None:
    assert client_request_id(value) == (value if kept else None)
    assert client_request_id(None) is None


GOOD_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (GOOD_TRACE, True),
        (b"ff" + GOOD_TRACE[2:], False),
        (GOOD_TRACE.upper(), False),
        (GOOD_TRACE + b"-x", False),
        (b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", False),
        (b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01", False),
    ],
)
def test_a_trace_context_is_checked_before_it_goes_on(value: bytes, kept: bool) -> None:
    assert traceparent(value) == (value if kept else None)
    assert traceparent(None) is None


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ({"input": "hi"}, {"input": [{"role": "user", "content": "hi"}]}),
        (
            {"input": "hi", "instructions": "be kind"},
            {"input": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]},
        ),
    ],
)
def test_a_request_for_a_response_is_known_by_how_its_input_begins(body: dict[str, Any], same: dict[str, Any]) -> None:
    found = conversation_id(None, body, "t", from_user=False, turns="input")
    assert found[1] == "content"
    assert found == conversation_id(None, same, "t", from_user=False, turns="input")
    assert found != conversation_id(None, {**body, "input": "ho"}, "t", from_user=False, turns="input")
    assert conversation_id(None, {"input": 7, "instructions": "x"}, "t", from_user=False, turns="input") == (
        b"",
        "random",
    )


@pytest.mark.parametrize(
    ("conversation", "source", "name"),
    [
        (b"evening", "header", "evening"),
        (bytes([0, 255, 10]), "content", "00ff0a"),
        ("süß\0".encode(), "metadata", "süß\ufffd"),
        (b"\xff", "header", "\ufffd"),
        (b"x" * 400, "user", "x" * 320),
        (b"", "random", ""),
    ],
)
def test_records_call_a_conversation_by_a_text(conversation: bytes, source: Source, name: str) -> None:
    assert session_name(conversation, source) == name
