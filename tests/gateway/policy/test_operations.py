"""Which paths there are, and which bodies no engine ever sees."""

from typing import Any

import pytest

from understudy.domain.fields import NEVER_PASSED
from understudy.gateway.policy.head import Head, parse_head
from understudy.gateway.policy.operations import (
    CHAT,
    COMPLETIONS,
    DETOKENIZE,
    EMBEDDINGS,
    EVENTS,
    FORWARDED,
    MODELS,
    PLAYER,
    RERANK,
    RESPONSES,
    SCORE,
    TOKENIZE,
    Operation,
    check_fields,
    check_model,
    find_operation,
)
from understudy.gateway.policy.refusal import Refusal

JSON = "Content-Type: application/json\r\nContent-Length: 2\r\n"


def head(method: str, target: str, fields: str = JSON) -> Head:
    found = parse_head(f"{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    assert isinstance(found, Head)
    return found


@pytest.mark.parametrize("operation", FORWARDED)
def test_every_path_is_found_by_its_method(operation: Operation) -> None:
    assert find_operation(head("POST", operation.path)) is operation


def test_models_are_listed_by_get_and_head() -> None:
    assert find_operation(head("GET", "/v1/models", "")) is MODELS
    assert find_operation(head("HEAD", "/v1/models", "")) is MODELS


@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        ("GET", "/", "", 404),
        ("GET", "/v1/models/", "", 404),
        ("GET", "/v1/models/x", "", 404),
        ("GET", "/v1/Models", "", 404),
        ("GET", "/v1/models?x=1", "", 400),
        ("GET", "/v1/%6dodels", "", 400),
        ("GET", "/v1/../v1/models", "", 400),
        ("GET", "//v1/models", "", 400),
        ("GET", "/v1\\models", "", 400),
        ("GET", "/v1/models", "Content-Length: 1\r\n", 400),
        ("GET", "/v1/models", "Transfer-Encoding: chunked\r\n", 400),
        ("POST", "/v1/models", JSON, 405),
        ("GET", "/v1/chat/completions", "", 405),
        ("HEAD", "/v1/chat/completions", "", 405),
        ("POST", "/v1/chat/completions", "Content-Length: 2\r\n", 415),
        ("POST", "/v1/chat/completions", "Content-Type: text/plain\r\nContent-Length: 2\r\n", 415),
        ("POST", "/v1/chat/completions", "Content-Type: application/jsonp\r\n", 415),
    ],
)
def test_everything_else_is_refused(method: str, target: str, fields: str, status: int) -> None:
    found = find_operation(head(method, target, fields))
    assert isinstance(found, Refusal)
    assert found.status == status


def test_a_405_says_what_is_allowed() -> None:
    found = find_operation(head("PUT", "/v1/models", ""))
    assert isinstance(found, Refusal)
    assert (found.allow, found.close) == ("GET, HEAD", False)
    found = find_operation(head("PUT", "/v1/embeddings", ""))
    assert isinstance(found, Refusal)
    assert found.allow == "POST"


def test_json_may_name_its_charset() -> None:
    fields = "Content-Type: Application/JSON ; charset=utf-8\r\nContent-Length: 2\r\n"
    assert find_operation(head("POST", "/v1/embeddings", fields)) is EMBEDDINGS


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        (CHAT, {"model": "m"}, "messages"),
        (CHAT, {"model": "m", "messages": []}, "messages"),
        (CHAT, {"model": "m", "messages": "hi"}, "messages"),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream": 1}, "stream"),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream_options": []}, "stream_options"),
        (EMBEDDINGS, {"model": "m", "input": "x", "stream": True}, "stream"),
    ],
)
def test_a_bad_body_is_refused_by_field(operation: Operation, body: dict[str, Any], param: str) -> None:
    found = check_fields(operation, body)
    assert found is not None
    assert (found.status, found.param) == (400, param)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {"model": "m", "messages": MESSAGES}),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream": None, "stream_options": None}),
        (COMPLETIONS, {"model": "m", "prompt": "x", "stream": True}),
        (EMBEDDINGS, {"model": "m", "input": "x", "stream": False}),
    ],
)
def test_a_good_body_goes_on(operation: Operation, body: dict[str, Any]) -> None:
    assert check_fields(operation, body) is None


@pytest.mark.parametrize("model", [None, "", 7, "x" * 257])
def test_a_body_names_its_model(model: Any) -> None:
    found = check_model({} if model is None else {"model": model})
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "invalid_request", "model")
    assert check_model({"model": "m"}) is None


# One request of each path with everything that its own clients commonly send.
USUAL: dict[Operation, dict[str, Any]] = {
    CHAT: {
        "messages": MESSAGES, "max_completion_tokens": 5, "temperature": 0, "top_p": 1, "stop": ["a"], "seed": 1,
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "user": "u", "top_k": 5,
        "response_format": {"type": "json_object"}, "logprobs": True, "top_logprobs": 2, "metadata": {"session": "s"},
        "chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low", "store": False, "n": 2,
        "prompt_cache_key": "k", "parallel_tool_calls": False, "min_p": 0.1, "structured_outputs": {"regex": "a"},
    },
    COMPLETIONS: {"prompt": ["x"], "max_tokens": 5, "logprobs": 3, "best_of": 2, "suffix": "s", "echo": True},
    RESPONSES: {
        "input": "x", "instructions": "y", "max_output_tokens": 5, "reasoning": {"effort": "low"}, "store": True,
        "text": {"format": {"type": "text"}}, "tools": [], "include": ["reasoning.encrypted_content"],
        "previous_response_id": None, "background": False, "truncation": "auto",
    },
    EMBEDDINGS: {"input": ["x"], "encoding_format": "float", "dimensions": 8, "user": "u"},
    TOKENIZE: {"messages": MESSAGES, "add_generation_prompt": True, "return_token_strs": True},
    DETOKENIZE: {"tokens": [1, 2]},
    **{path: {"query": "q", "documents": ["a", "b"], "top_n": 1} for path in RERANK},
    **{path: {"text_1": "a", "text_2": ["b"], "truncate_prompt_tokens": 8} for path in SCORE},
}  # fmt: skip


@pytest.mark.parametrize("operation", FORWARDED)
def test_the_usual_fields_of_a_path_are_taken_and_no_others(operation: Operation) -> None:
    usual = {"model": "m", **USUAL[operation]}
    assert check_fields(operation, usual) is None
    for unknown in ("anything", "messages2", "", "\u0000", "x" * 1000):
        found = check_fields(operation, {**usual, unknown: 1})
        assert found is not None
        assert (found.status, found.code, found.param) == (400, "unknown_parameter", unknown[:64])


@pytest.mark.parametrize("operation", FORWARDED)
@pytest.mark.parametrize("field", NEVER_PASSED)
def test_some_fields_are_never_passed_on_even_if_the_deployment_says_so(operation: Operation, field: str) -> None:
    found = check_fields(operation, {"model": "m", **USUAL[operation], field: None}, extra=(field,))
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "invalid_request", field)


def test_a_deployment_may_add_fields() -> None:
    body = {"model": "m", "messages": MESSAGES, "stream_interval": 4, "mm_payload": "none"}
    assert check_fields(CHAT, body, extra=("mm_payload", "stream_interval")) is None
    found = check_fields(CHAT, body, extra=("mm_payload",))
    assert found is not None
    assert found.param == "stream_interval"


def test_a_path_does_not_take_the_fields_of_another() -> None:
    for operation, field in ((DETOKENIZE, "messages"), (EMBEDDINGS, "tools"), (COMPLETIONS, "messages")):
        found = check_fields(operation, {"model": "m", **USUAL[operation], field: MESSAGES})
        assert found is not None
        assert found.param == field


def test_caps_and_media_are_looked_at() -> None:
    found = check_fields(CHAT, {"model": "m", "messages": MESSAGES, "n": 17})
    assert found is not None
    assert found.param == "n"
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/x"}}]}]
    found = check_fields(CHAT, {"model": "m", "messages": picture})
    assert found is not None
    assert found.param == "messages"
    assert check_fields(CHAT, {"model": "m", "messages": picture}, media_hosts=("a.example",)) is None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/engagement/anna", PLAYER),
        ("POST", "/v1/engagement/events", EVENTS),
        ("GET", "/v1/engagement/events", 405),
        ("POST", "/v1/engagement/anna", 405),
        ("GET", "/v1/engagement/", 404),
        ("GET", "/v1/engagement/a/b", 404),
        ("GET", "/v1/engagement/a%20b", 400),
    ],
)
def test_a_players_path_ends_with_his_name(method: str, path: str, expected: Operation | int) -> None:
    found = find_operation(head(method, path, "" if method == "GET" else JSON))
    assert (found.status if isinstance(found, Refusal) else found) == expected
