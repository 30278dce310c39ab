"""What a request says to a model: every string of it, and what is no text."""

from typing import Any

import pytest

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES, TOKENIZE, Operation
from understudy.gateway.policy.said import in_tokens, is_heard, said, shows_media

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string", "description": "where"}}}


@pytest.mark.parametrize(
    ("operation", "body", "heard"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "a"}]}, ["user messages[0].content a"]),
        (
            CHAT,
            {"messages": [{"role": "user", "name": "n", "content": [{"type": "text", "text": "a"}, {"odd": "b"}]}]},
            [
                "user messages[0].name n",
                "user messages[0].content[0].text a",
                "user messages[0].content[1].* odd",
                "user messages[0].content[1].* b",
            ],
        ),
        (
            CHAT,
            {"messages": [{"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [CALL]}]},
            [
                "assistant messages[0].reasoning r",
                "assistant messages[0].tool_calls[0].id c",
                "assistant messages[0].tool_calls[0].function.name look",
                "assistant messages[0].tool_calls[0].function.arguments {}",
            ],
        ),
        (
            CHAT,
            {"tools": [{"function": {"name": "f", "parameters": SCHEMA}}], "documents": [{"text": "d"}]},
            [
                "system tools[0].function.name f",
                "system tools[0].function.parameters.type object",
                "system tools[0].function.parameters.properties.* at",
                "system tools[0].function.parameters.properties.*.type string",
                "system tools[0].function.parameters.properties.*.description where",
                "system documents[0].text d",
            ],
        ),
        (CHAT, {"response_format": {"json_schema": {"name": "s"}}}, ["user response_format.json_schema.name s"]),
        (
            CHAT,
            {"chat_template_kwargs": {"persona": "p", "thinking": True}},
            [f"user chat_template_kwargs.* {each}" for each in ("persona", "p", "thinking")],
        ),
        (CHAT, {"reasoning_effort": "r", "verbosity": "v"}, ["user reasoning_effort r", "user verbosity v"]),
        (CHAT, {"model": "m", "user": "u", "stop": ["s"], "metadata": {"a": "b"}, "temperature": 1}, []),
        (COMPLETIONS, {"prompt": "a", "suffix": "b"}, ["user prompt a", "user suffix b"]),
        (COMPLETIONS, {"prompt": ["a", "b"]}, ["user prompt[0] a", "user prompt[1] b"]),
        (RESPONSES, {"instructions": "i", "input": "a"}, ["system instructions i", "user input a"]),
        (
            RESPONSES,
            {"input": [{"role": "developer", "content": [{"type": "input_text", "text": "a"}]}, {"output": "o"}]},
            ["developer input[0].content[0].text a", "user input[1].output o"],
        ),
        (EMBEDDINGS, {"input": ["a"]}, ["text input[0] a"]),
        (
            RERANK[0],
            {"query": "q", "documents": ["d", {"text": "e"}]},
            ["text query q", "system documents[0] d", "system documents[1].text e"],
        ),
        (
            CHAT,
            {"messages": [{"role": "x" * 40, "content": "a"}, {"role": 7, "content": "b"}]},
            [
                f"user messages[0].role {'x' * 40}",
                "user messages[0].content a",
                "user messages[1].content b",
            ],
        ),
        (CHAT, {"new_field": {"deep": [["a"]]}}, ["user new_field.* deep", "user new_field.*[0][0] a"]),
        # Templates show what is in the places of ids and roles, and arguments that are no text.
        (
            CHAT,
            {"messages": [{"role": "sing", "content": "a"}, {"role": "tool", "tool_call_id": "t", "content": "b"}]},
            ["sing messages[0].role sing", "sing messages[0].content a", "tool messages[1].tool_call_id t",
             "tool messages[1].content b"],
        ),
        (
            CHAT,
            {"messages": [{"role": "assistant", "function_call": {"arguments": {"file": "a", "type": "b", "c": 1}}}]},
            [f"assistant messages[0].function_call.arguments.{each}" for each in ("file a", "type b", "* c")],
        ),
        (
            CHAT,
            {"documents": [{"a": 4111111111111111, "b": 4.111111111111111e15, "c": 99, "d": True}], "seed": 10**9},
            [f"system documents[0].* {each}" for each in ("a", 4111111111111111, "b", 4111111111111111.0, "c", "d")],
        ),
        (CHAT, {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}, {"image": "y"}]}]}, []),
    ],
)  # fmt: skip
def test_every_string_that_a_model_hears_is_found_with_who_says_it(
    operation: Operation, body: dict[str, Any], heard: list[str]
) -> None:
    assert [f"{each.role} {each.path} {each.text}" for each in said(operation, body)] == heard


@pytest.mark.parametrize(
    ("turns", "answered"),
    [
        ("u", ""), ("ua", ""), ("a", ""), ("uau", "0"), ("uaua", "0"), ("suaus", "01"), ("uauau", "02"), ("uaut", "0"),
    ],
)  # fmt: skip
def test_what_was_answered_is_told_from_what_is_new(turns: str, answered: str) -> None:
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    for operation, field in ((CHAT, "messages"), (RESPONSES, "input")):
        body = {field: [{"role": roles[turn], "content": str(number)} for number, turn in enumerate(turns)]}
        assert (
            "".join(each.text for each in said(operation, body) if each.answered and each.role != "assistant")
            == answered
        )
    assert not any(each.answered for each in said(CHAT, {"messages": ["x", 1, {"content": "y"}], "prompt": ["z"]}))


def test_names_and_ids_are_words() -> None:
    call = {"id": "i", "type": "function", "function": {"name": "f", "arguments": {"a": "b"}}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    assert {each.text: each.word for each in said(CHAT, body)} == {"i": True, "f": False, "a": True, "b": False}


def test_arguments_are_json_and_something_else_can_be_heard_in_their_place() -> None:
    body = {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}
    name, arguments = said(CHAT, body)
    assert (name.json, arguments.json) == (False, True)
    arguments.put("[1]")
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "[1]"  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
        ({"input": [[1], [2]]}, "input"),
        ({"prompt": ["a"], "input": "b"}, ""),
        ({"prompt": ["a", 1]}, "prompt"),
        ({}, ""),
    ],
)
def test_prompts_in_numbers_are_told_from_texts(body: dict[str, Any], field: str) -> None:
    assert in_tokens(body) == field


@pytest.mark.parametrize(
    ("content", "shows"),
    [
        ("a", False),
        ([{"type": "text", "text": "image_url"}], False),
        ([{"type": "image_url", "image_url": {"url": "data:,"}}], True),
        ([{"type": "input_audio", "input_audio": {"data": "x"}}], True),
        ([{"type": "input_image"}], True),
        ([{"text": "a", "image_url": None}], False),
    ],
)
def test_what_is_no_text_is_seen(content: Any, shows: bool) -> None:
    assert shows_media({"model": "m", "messages": [{"role": "user", "content": content}]}) is shows


def test_nothing_is_a_picture_for_what_somebody_calls_it() -> None:
    schema = {"type": "object", "properties": {"file": {"type": "string"}, "image": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "open", "parameters": schema}}]
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "open", "arguments": {"file": "a"}}}]}
    assert not shows_media({"tools": tools, "response_format": {"json_schema": schema}, "messages": [called]})
    assert shows_media({"documents": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]})


def test_no_model_hears_what_is_only_cut_into_tokens() -> None:
    assert is_heard(CHAT)
    assert not is_heard(TOKENIZE)
