"""What is put at the end of an answer is the end of its text, and nothing else of it changes."""

from typing import Any

import pytest

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Operation
from understudy.gateway.policy.postscript import streamed, takes, whole


@pytest.mark.parametrize(
    ("operation", "document", "can"),
    [
        (CHAT, {}, True),
        (COMPLETIONS, {"prompt": "a"}, True),
        (CHAT, {"response_format": {"type": "text"}}, True),
        (CHAT, {"n": 2}, False),
        (CHAT, {"response_format": {"type": "json_object"}}, False),
        (CHAT, {"response_format": "json"}, False),
        (CHAT, {"structured_outputs": {"regex": "a"}}, False),
        (COMPLETIONS, {"prompt": ["a", "b"]}, False),
        (COMPLETIONS, {"echo": True}, False),
        (RESPONSES, {}, True),
        (RESPONSES, {"text": {"verbosity": "low"}}, True),
        (RESPONSES, {"text": {"format": {"type": "text"}}}, True),
        (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, False),
        (EMBEDDINGS, {}, False),
    ],
)
def test_only_a_text_for_a_person_has_one(operation: Operation, document: dict[str, Any], can: bool) -> None:
    assert takes(operation, document) is can


def test_a_whole_answer_ends_with_it() -> None:
    chat: Any = {"choices": [{"message": {"content": "Once."}, "finish_reason": "stop"}]}
    assert whole(chat, "Rest.")
    assert chat["choices"][0]["message"]["content"] == "Once.\n\nRest."
    text: Any = {"choices": [{"text": "Once", "finish_reason": "length"}]}
    assert whole(text, "Rest.")
    assert text["choices"][0]["text"] == "Once\n\nRest."


@pytest.mark.parametrize(
    "choices",
    [
        [],
        None,
        ["a"],
        [{"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "stop"}],
        [{"message": {"content": "a", "tool_calls": [{}]}, "finish_reason": "stop"}],
        [{"message": {"content": "a"}, "finish_reason": "tool_calls"}],
        [{"message": {"content": "a"}, "finish_reason": "content_filter"}],
        [{"message": {"content": "a"}, "finish_reason": "stop"}] * 2,
    ],
)
def test_an_answer_that_nobody_reads_gets_none(choices: Any) -> None:
    answer = {"choices": choices}
    before = str(answer)
    assert not whole(answer, "Rest.")
    assert str(answer) == before


def chunk(usage: Any = None, **choice: Any) -> dict[str, Any]:
    return {"id": "x", "model": "m", "usage": usage, "choices": [{"index": 0, **choice}]}


def said(chunks: list[dict[str, Any]] | None) -> list[tuple[str, str | None]]:
    assert chunks is not None
    choices = [one["choices"][0] for one in chunks]
    return [(one.get("text", one.get("delta", {}).get("content", "")), one["finish_reason"]) for one in choices]


def test_in_a_stream_it_comes_before_the_end() -> None:
    assert said(streamed(chunk(delta={}, finish_reason="stop"), "Rest.")) == [("\n\nRest.", None), ("", "stop")]
    assert said(streamed(chunk(delta={"content": "."}, finish_reason="stop"), "Rest.")) == [
        (".", None), ("\n\nRest.", None), ("", "stop"),
    ]  # fmt: skip
    assert said(streamed(chunk(text=".", finish_reason="length"), "Rest.")) == [
        (".", None), ("\n\nRest.", None), ("", "length"),
    ]  # fmt: skip


def test_what_was_used_is_told_once() -> None:
    found = streamed(chunk({"total_tokens": 3}, delta={"content": "."}, finish_reason="stop"), "Rest.")
    assert found is not None
    assert [one["usage"] for one in found] == [None, None, {"total_tokens": 3}]


@pytest.mark.parametrize("finish", [None, "tool_calls", "content_filter"])
def test_a_chunk_that_does_not_end_the_text_is_left_alone(finish: str | None) -> None:
    assert streamed(chunk(delta={"content": "a"}, finish_reason=finish), "Rest.") is None
