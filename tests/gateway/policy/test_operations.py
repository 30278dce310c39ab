"""Which paths there are, and which bodies no engine ever sees."""

from typing import Any

import pytest

from understudy.gateway.policy.head import Head, parse_head
from understudy.gateway.policy.operations import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    FORBIDDEN,
    FORWARDED,
    MODELS,
    Operation,
    check_fields,
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
        (CHAT, {"messages": MESSAGES}, "model"),
        (CHAT, {"model": "", "messages": MESSAGES}, "model"),
        (CHAT, {"model": 7, "messages": MESSAGES}, "model"),
        (CHAT, {"model": "x" * 257, "messages": MESSAGES}, "model"),
        (CHAT, {"model": "m"}, "messages"),
        (CHAT, {"model": "m", "messages": []}, "messages"),
        (CHAT, {"model": "m", "messages": "hi"}, "messages"),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream": 1}, "stream"),
        (CHAT, {"model": "m", "messages": MESSAGES, "stream_options": []}, "stream_options"),
        (EMBEDDINGS, {"model": "m", "input": "x", "stream": True}, "stream"),
        *((COMPLETIONS, {"model": "m", "prompt": "x", field: 1}, field) for field in sorted(FORBIDDEN)),
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
        (CHAT, {"model": "m", "messages": MESSAGES, "stream": None, "stream_options": None, "anything": [1]}),
        (COMPLETIONS, {"model": "m", "prompt": "x", "stream": True}),
        (EMBEDDINGS, {"model": "m", "input": "x", "stream": False}),
    ],
)
def test_a_good_body_goes_on(operation: Operation, body: dict[str, Any]) -> None:
    assert check_fields(operation, body) is None
