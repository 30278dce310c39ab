"""The Responses API without memory: what is refused, and what answers and events mean."""

from typing import Any

import orjson
import pytest

from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import ends, error_event, fails, is_empty, make_stateless, says_something

FUNCTION = {"type": "function", "name": "f", "parameters": {}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"store": True},
        {"store": None},
        {"previous_response_id": None, "conversation": None, "prompt": None, "background": False},
        {"input": [{"role": "user", "content": "hi"}, {"type": "reasoning", "id": "rs_1"}, "odd"]},
        {"tools": []},
        {"tools": None},
        {"tools": [FUNCTION, {"type": "custom", "name": "c"}, {"type": "namespace", "tools": [FUNCTION]}]},
        {"tools": ["odd"]},
    ],
)
def test_a_request_that_brings_everything_goes_on_and_nothing_is_stored(more: dict[str, Any]) -> None:
    body = {"input": "hi", **more}
    assert make_stateless(body) is None
    assert body["store"] is False


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        *(
            ({"tools": [FUNCTION, {"type": kind}]}, "tools")
            for kind in (
                "web_search", "web_search_preview", "file_search", "code_interpreter", "mcp", "image_generation",
                "computer_use_preview", "local_shell", "namespace2", None, 7, ["function"],
            )
        ),
        ({"tools": [{"type": "namespace", "tools": [{"type": "mcp", "server_url": "http://10.0.0.1"}]}]}, "tools"),
        ({"tools": [{"type": "namespace", "tools": [{"type": "namespace", "tools": []}]}]}, "tools"),
    ],
)  # fmt: skip
def test_what_needs_memory_or_a_tool_of_the_server_is_unsupported(more: dict[str, Any], param: str) -> None:
    found = make_stateless({"input": "hi", **more})
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "unsupported", param)
    assert found.message.startswith(f"{param}: ")


@pytest.mark.parametrize("given", [None, 7, {}])
def test_there_must_be_an_input(given: Any) -> None:
    found = make_stateless({"input": given})
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "invalid_request", "input")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.reasoning_text.delta", "delta": "a"},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.output_item.added", "item": {"type": "function_call"}},
        {"type": "response.output_item.added", "item": {"type": "custom_tool_call"}},
    ],
)
def test_content_of_every_kind_is_seen_in_events(event: dict[str, Any]) -> None:
    assert says_something(event)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 7},
        {"type": "response.created", "response": {}},
        {"type": "response.output_text.delta", "delta": ""},
        {"type": "response.output_item.added", "item": {"type": "message", "content": []}},
        {"type": "response.output_item.added", "item": None},
        {"type": "response.completed"},
    ],
)
def test_events_without_content_say_nothing(event: dict[str, Any]) -> None:
    assert not says_something(event)


def test_a_response_ends_whole_or_cut_short_and_fails_in_two_ways() -> None:
    kinds = ("response.completed", "response.incomplete", "response.failed", "error", "response.created")
    assert [ends({"type": kind}) for kind in kinds] == [True, True, False, False, False]
    assert [fails({"type": kind}) for kind in kinds] == [False, False, True, True, False]


@pytest.mark.parametrize(
    "output",
    [
        [{"type": "function_call", "name": "f"}],
        [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
        [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}],
        [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "a"}]}],
    ],
)
def test_an_answer_with_a_text_or_a_call_is_not_empty(output: Any) -> None:
    assert not is_empty({"output": output})


@pytest.mark.parametrize(
    "output", [None, [], "text", ["text"], [{}], [{"content": "text"}], [{"content": [{"text": ""}, "text"]}]]
)
def test_an_answer_without_either_is_empty(output: Any) -> None:
    assert is_empty({"output": output})


def test_an_error_is_flat_as_documented_and_nested_as_clients_look_for_it() -> None:
    name, data = error_event(Refusal(503, "no_capacity", "nobody is there"), 4).removesuffix(b"\n\n").split(b"\n")
    error = {"message": "nobody is there", "code": "no_capacity", "param": None}
    said = orjson.loads(data.removeprefix(b"data: "))
    assert name == b"event: error"
    assert said == {**error, "type": "error", "sequence_number": 4, "error": {**error, "type": "server_error"}}
