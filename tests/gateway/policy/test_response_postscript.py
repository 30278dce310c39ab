"""What is put at the end of a response is the end of its last text, in every event that says it again."""

import copy
from typing import Any

import pytest

from understudy.gateway.policy.response_postscript import ResponsePostscript, whole_response

PART = {"type": "output_text", "text": "Once.", "annotations": [], "logprobs": []}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [PART]}
CALL = {"id": "fc_1", "type": "function_call", "name": "roll", "arguments": "{}"}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "content": []}
SAID = "Once.\n\nRest."


def response(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return copy.deepcopy({"id": "resp_1", "status": status, "output": list(output), **more})


def place(index: int = 0, content: int = 0) -> dict[str, Any]:
    return {"item_id": "msg_1", "output_index": index, "content_index": content}


def ending(index: int = 0, content: int = 0) -> list[dict[str, Any]]:
    """The events by which a message ends."""
    return copy.deepcopy(
        [
            {"type": "response.output_text.done", **place(index, content), "text": "Once.", "logprobs": []},
            {"type": "response.content_part.done", **place(index, content), "part": PART},
            {"type": "response.output_item.done", "output_index": index, "item": MESSAGE},
        ]
    )


def stream(*events: dict[str, Any], first: int = 0) -> tuple[list[dict[str, Any]], ResponsePostscript]:
    """What comes out for these events, numbered."""
    postscript = ResponsePostscript("Rest.")
    out = [
        each
        for number, event in enumerate(events, first)
        for each in postscript.event({**copy.deepcopy(event), "sequence_number": number})
    ]
    return out, postscript


DELTA = {"type": "response.output_text.delta", **place(), "delta": "Once.", "logprobs": []}


def test_a_whole_response_ends_with_it() -> None:
    answer = response(THOUGHT, MESSAGE)
    assert whole_response(answer, "Rest.")
    assert answer["output"][1]["content"][0] == {**PART, "text": SAID}
    assert answer["output"][0] == THOUGHT


@pytest.mark.parametrize(
    "answer",
    [
        response(MESSAGE, CALL),
        response(CALL, MESSAGE),
        response(MESSAGE, THOUGHT),
        response(MESSAGE, "item"),
        response(),
        response({**MESSAGE, "content": []}),
        response({**MESSAGE, "content": None}),
        response({**MESSAGE, "content": ["part"]}),
        response({**MESSAGE, "content": [{"type": "refusal", "refusal": "no"}]}),
        response({**MESSAGE, "content": [{**PART, "text": None}]}),
        response(MESSAGE, status="failed"),
        response(MESSAGE, status="incomplete", incomplete_details={"reason": "content_filter"}),
        response(MESSAGE, status="incomplete", incomplete_details=None),
        {"status": "completed", "output": None},
        {},
    ],
)
def test_a_response_that_nobody_reads_to_its_end_gets_none(answer: dict[str, Any]) -> None:
    before = copy.deepcopy(answer)
    assert not whole_response(answer, "Rest.")
    assert answer == before
    event = {"type": "response.completed", "response": answer}
    out, postscript = stream(*ending(), event)
    assert [each.get("response") for each in out] == [None, None, None, before]
    assert out[0]["text"] == "Once."
    assert not postscript.done


def test_one_that_was_cut_for_its_length_is_read_all_the_same() -> None:
    assert whole_response(
        response(MESSAGE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "R"
    )


def test_in_a_stream_every_event_that_ends_the_text_says_all_of_it_and_numbers_go_on() -> None:
    created = {"type": "response.created", "response": response(status="in_progress")}
    out, postscript = stream(created, DELTA, *ending(), {"type": "response.completed", "response": response(MESSAGE)})
    assert postscript.done
    assert [each["sequence_number"] for each in out] == list(range(7))
    assert out[:2] == [{**created, "sequence_number": 0}, {**DELTA, "sequence_number": 1}]
    added, text, part, item, completed = out[2:]
    assert added == {**DELTA, "delta": "\n\nRest.", "sequence_number": 2}
    assert text["text"] == part["part"]["text"] == item["item"]["content"][0]["text"] == SAID
    assert completed["response"]["output"] == [item["item"]]
    assert "".join(each.get("delta", "") for each in out) == SAID


def test_what_ends_another_text_is_left_as_it_is() -> None:
    other = {**MESSAGE, "id": "msg_0"}
    two = {**MESSAGE, "content": [PART, {**PART}]}
    whole = {"type": "response.completed", "response": response(other, two)}
    # The first message, the first part of the second one, and then what it ends with.
    out, _ = stream(*ending(0), *ending(1, 0)[:2], *ending(1, 1)[:2], ending(1)[2], whole)
    assert out[0]["type"] == "response.output_text.delta"
    assert (out[0]["output_index"], out[0]["content_index"]) == (1, 1)
    texts = [each["text"] for each in out if each["type"] == "response.output_text.done"]
    assert texts == ["Once.", "Once.", SAID]
    parts = [each["part"]["text"] for each in out if each["type"] == "response.content_part.done"]
    assert parts == ["Once.", "Once.", SAID]
    items = [each["item"] for each in out if each["type"] == "response.output_item.done"]
    assert [[part["text"] for part in item["content"]] for item in items] == [["Once."], ["Once.", SAID]]


def test_what_waits_goes_on_in_its_order_when_something_follows() -> None:
    added = {"type": "response.output_item.added", "output_index": 1, "item": CALL}
    out, postscript = stream(DELTA, *ending())
    assert out == [{**DELTA, "sequence_number": 0}]
    out = postscript.event({**added, "sequence_number": 4})
    assert [each["sequence_number"] for each in out] == [1, 2, 3, 4]
    assert [{key: value for key, value in each.items() if key != "sequence_number"} for each in out[:3]] == ending()
    assert postscript.rest() == []


def test_what_waits_for_an_end_that_does_not_come_is_there_to_be_sent() -> None:
    _, postscript = stream(*ending())
    assert [each["type"] for each in postscript.rest()] == [each["type"] for each in ending()]
    assert postscript.rest() == []


def test_events_without_numbers_are_numbered_from_there_on() -> None:
    postscript = ResponsePostscript("Rest.")
    out = postscript.event({"type": "response.completed", "response": response(MESSAGE)})
    assert [(each["type"], each["sequence_number"]) for each in out] == [
        ("response.output_text.delta", 0),
        ("response.completed", 1),
    ]
