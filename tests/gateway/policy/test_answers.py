"""What an answer says: content, an end, tokens, and whose fault a refusal is."""

from typing import Any

import pytest

from understudy.gateway.policy.answers import finishes, has_choices, is_refusal, says_something, tokens_used


def choice(**members: Any) -> dict[str, Any]:
    return {"choices": [members]}


@pytest.mark.parametrize(
    "answer",
    [
        choice(delta={"content": "a"}),
        choice(delta={"reasoning_content": "a"}),
        choice(delta={"reasoning": "a"}),
        choice(delta={"tool_calls": [{}]}),
        choice(delta={"refusal": "no"}),
        choice(text="a"),
        choice(message={"content": "a"}),
        {"choices": [{"delta": {}}, {"delta": {"content": "a"}}]},
    ],
)
def test_content_of_every_kind_is_seen(answer: dict[str, Any]) -> None:
    assert says_something(answer)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": "text"},
        {"choices": ["text"]},
        choice(delta={"role": "assistant", "content": ""}),
        choice(delta=None),
        choice(delta="a"),
        choice(text=""),
        choice(message={"content": None}),
        choice(finish_reason="stop"),
    ],
)
def test_nothing_is_nothing(answer: dict[str, Any]) -> None:
    assert not says_something(answer)


@pytest.mark.parametrize(
    ("chunk", "ends"),
    [
        (choice(finish_reason="stop"), True),
        (choice(finish_reason=None), False),
        (choice(), False),
        ({"choices": ["x"]}, False),
        ({"choices": None}, False),
        ({}, False),
    ],
)
def test_an_end_is_seen(chunk: dict[str, Any], ends: bool) -> None:
    assert finishes(chunk) is ends


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5}, (3, 5)),
        ({"prompt_tokens": 3}, (3, 0)),
        ({"prompt_tokens": -3, "completion_tokens": 5}, None),
        ({"prompt_tokens": 3, "completion_tokens": -5}, None),
        ({"prompt_tokens": "3"}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ({"prompt_tokens": 10**9, "completion_tokens": 10**9}, (10**9, 10**9)),
        ({"prompt_tokens": 10**9 + 1, "completion_tokens": 5}, None),
        ({"prompt_tokens": 3, "completion_tokens": 2**64 - 1}, None),
        ({"prompt_tokens": 3, "completion_tokens": None}, None),
        ({}, None),
        (None, None),
        ([3, 5], None),
    ],
)
def test_tokens_are_taken_only_from_a_sound_usage(usage: Any, tokens: tuple[int, int] | None) -> None:
    assert tokens_used({"usage": usage}) == tokens
    assert tokens_used({}) is None


def test_embeddings_have_no_choices() -> None:
    assert not has_choices({"data": []})
    assert has_choices(choice())


@pytest.mark.parametrize("status", [400, 413, 415, 422, 451])
def test_the_engine_may_refuse_what_a_client_sends(status: int) -> None:
    assert is_refusal(status)


@pytest.mark.parametrize("status", [200, 301, 399, 401, 403, 404, 405, 408, 429, 500, 503])
def test_everything_else_is_not_the_clients_fault(status: int) -> None:
    assert not is_refusal(status)


def test_tokens_of_a_response_go_by_other_names() -> None:
    assert tokens_used({"usage": {"input_tokens": 3, "output_tokens": 4}}) == (3, 4)
    assert tokens_used({"usage": {"input_tokens": 3}}) == (3, 0)
    assert tokens_used({"usage": {"input_tokens": "3"}}) is None
