"""What the gateway says itself is an answer that official clients read."""

from typing import Any

import orjson
import pytest
from openai.types import Completion

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, RESPONSES, Operation
from understudy.gateway.policy.spoken import spoken, spoken_events

ID = "01J00000000000000000000000"


def said(operation: Operation) -> Any:
    return orjson.loads(spoken(operation, "storyteller", "Call somebody.", ID, 7))


def streamed(operation: Operation) -> list[Any]:
    parts = spoken_events(operation, "storyteller", "Call somebody.", ID, 7).split(b"\n\n")
    datas = [part.partition(b"data: ")[2] for part in parts if part]
    return [data if data == b"[DONE]" else orjson.loads(data) for data in datas]


def test_a_chat_is_answered_by_an_assistant() -> None:
    answer = said(CHAT)
    assert (answer["object"], answer["model"], answer["created"]) == ("chat.completion", "storyteller", 7)
    (choice,) = answer["choices"]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "content": "Call somebody."}, "stop")
    first, last, mark = streamed(CHAT)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Call somebody."}
    assert (first["choices"][0]["finish_reason"], last["choices"][0]["finish_reason"]) == (None, "stop")
    assert (first["object"], last["choices"][0]["delta"], mark) == ("chat.completion.chunk", {}, b"[DONE]")


def test_a_completion_is_a_text() -> None:
    assert said(COMPLETIONS)["choices"][0]["text"] == "Call somebody."
    # In one chunk: official clients know no choice of completions that has no reason to end.
    only, mark = streamed(COMPLETIONS)
    (choice,) = only["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Call somebody.", "stop")
    assert (only["object"], mark) == ("text_completion", b"[DONE]")
    assert Completion.model_validate(only).choices[0].finish_reason == "stop"


def test_a_response_has_one_message() -> None:
    answer = said(RESPONSES)
    assert (answer["status"], answer["output"][0]["content"][0]["text"]) == ("completed", "Call somebody.")
    events = streamed(RESPONSES)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == answer
    assert [event["delta"] for event in events if event["type"] == "response.output_text.delta"] == ["Call somebody."]
    named = spoken_events(RESPONSES, "storyteller", "", ID, 7).split(b"\n")[::3]
    assert [line.removeprefix(b"event: ").decode() for line in named if line] == [event["type"] for event in events]


@pytest.mark.parametrize("operation", [CHAT, COMPLETIONS])
def test_nothing_was_used(operation: Operation) -> None:
    assert said(operation)["usage"]["total_tokens"] == 0


def test_a_response_that_has_begun_goes_on_where_it_is() -> None:
    parts = spoken_events(RESPONSES, "storyteller", "Call somebody.", ID, 7, (2, 9)).split(b"\n\n")
    events = [orjson.loads(part.partition(b"data: ")[2]) for part in parts if part]
    assert [event["sequence_number"] for event in events] == list(range(9, 9 + len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.output_item.added", "response.completed")
    assert {event["output_index"] for event in events[:-1]} == {2}
