"""What a client gets is read off what goes out, whatever the API's shape."""

from typing import Any

import pytest

from understudy.gateway.policy.outgoing import MOST, Outgoing
from understudy.gateway.policy.verdicts import Facts
from understudy.guard.plan import Plan
from understudy.guard.scan import Scanner
from understudy.guard.second import Second, Text

NOTHING = Second((), Plan("output", Scanner((), lambda _: None, {}), {}))  # type: ignore[arg-type,return-value]
REFERRAL = "You are not alone.\n988"


def outgoing(**facts: Any) -> Outgoing:
    return Outgoing(NOTHING, Facts(**facts), [REFERRAL])


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]}


def texts(of: Outgoing) -> list[Text]:
    return sorted(of.texts(), key=lambda text: text.text)


def test_each_text_of_each_choice_is_put_together() -> None:
    out = outgoing()
    for index in (0, 1):
        out.chunk(chunk({"role": "assistant", "content": f"a{index}", "reasoning": f"r{index}"}, index=index))
        out.chunk(chunk({"content": "b", "reasoning": "s", "refusal": f"n{index}"}, index=index))
    out.chunk(chunk({}, "stop"))
    assert texts(out) == [
        Text("a0b"),
        Text("a1b", whole=False),
        Text("n0"),
        Text("n1", whole=False),
        Text("r0s"),
        Text("r1s", whole=False),
    ]


def test_what_tools_are_called_with_is_json_and_their_names_are_words() -> None:
    out = outgoing()
    for number, function in enumerate(({"name": "roll", "arguments": '{"a"'}, {"arguments": ": 1}"})):
        call = {"index": 0, "function": function}
        out.chunk(chunk({"tool_calls": [call, {"index": 1, "function": None}]}, "tool_calls" if number else None))
    out.chunk(chunk({"function_call": {"name": "old", "arguments": "{}"}}))
    assert texts(out) == [Text("old"), Text("roll"), Text('{"a": 1}', json=True), Text("{}", json=True)]


def test_what_a_rule_has_ended_may_stop_in_the_middle_of_a_word() -> None:
    out = outgoing()
    out.chunk(chunk({"content": "oh da"}, "content_filter"))
    assert texts(out) == [Text("oh da", whole=False)]


@pytest.mark.parametrize("own", ["[removed]", "\n\n[removed]", REFERRAL, f"\n\n{REFERRAL}"])
def test_what_the_gateway_says_itself_is_not_of_the_answer_and_all_of_it_was_cut_off_there(own: str) -> None:
    out = outgoing()
    out.chunk(chunk({"content": "oh da" + own, "reasoning": "so"}, "stop"))
    assert texts(out) == [Text("oh da", whole=False), Text("so", whole=False)]


def test_whole_answers_have_the_same_texts() -> None:
    out = outgoing()
    calls = [{"id": "a", "function": {"name": "roll", "arguments": "{}"}}, {"function": {"arguments": "[]"}}]
    message = {"content": "well", "tool_calls": calls, "reasoning": None}
    out.whole({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert texts(out) == [Text("[]", json=True), Text("roll"), Text("well"), Text("{}", json=True)]
    out = outgoing(before={0: "on"})
    out.whole({"choices": [{"index": 0, "text": "ce", "finish_reason": "length"}]})
    assert texts(out) == [Text("once", 2)]
    out = outgoing()
    out.whole({"prompt": "spelled"})
    assert texts(out) == [Text("spelled")]
    out = outgoing()
    out.whole({})
    assert texts(out) == []


def test_an_answer_that_was_asked_for_as_json_is_json_and_what_was_thought_before_is_not() -> None:
    out = outgoing(json=True)
    out.chunk(chunk({"content": "{}", "reasoning": "so"}, "stop"))
    assert texts(out) == [Text("so"), Text("{}", json=True)]
    out = outgoing(json=True, before={0: '{"a'})
    out.chunk(chunk({"content": '": 1}', "reasoning": "so"}, "stop"))
    assert texts(out) == [Text("so")], "where its strings begin cannot be told"


def delta(stem: str, text: str, **at: Any) -> dict[str, Any]:
    return {"type": f"response.{stem}.delta", "output_index": 0, "item_id": "i", **at, "delta": text}


def test_texts_of_a_response_are_read_off_its_events() -> None:
    out = outgoing()
    item = {"id": "i", "type": "message", "content": [{"type": "output_text", "text": "well, now"}]}
    call = {"id": "c", "type": "function_call", "name": "roll", "arguments": "{}"}
    out.event({"type": "response.created", "response": {"output": []}})
    out.event({"type": "response.output_item.added", "output_index": 0, "item": {"id": "i", "type": "message"}})
    out.event(delta("output_text", "well, ", content_index=0))
    out.event(delta("output_text", "now", content_index=0))
    out.event(delta("reasoning_summary_text", "so", summary_index=0))
    out.event({"type": "response.output_item.added", "output_index": 1, "item": call})
    out.event({**delta("function_call_arguments", "{}"), "output_index": 1})
    assert all(not text.whole for text in out.texts() if text.text != "roll")
    out.event({"type": "response.completed", "response": {"output": [item, call]}})
    assert texts(out) == [Text("roll"), Text("so"), Text("well, now"), Text("{}", json=True)]


def test_what_only_the_end_of_a_response_says_is_not_missed() -> None:
    out = outgoing()
    out.event(delta("output_text", "well", content_index=0))
    parts = [{"type": "output_text", "text": "darn"}, {"type": "refusal", "refusal": "no"}]
    items = [
        {"id": "i", "content": parts, "summary": [{"type": "summary_text", "text": "so"}]},
        {"id": "j", "type": "custom_tool_call", "name": "eval", "input": "x"},
    ]
    out.event({"type": "response.completed", "response": {"output": items}})
    assert [text.text for text in texts(out)] == ["darn", "eval", "no", "so", "well", "x"]


def test_a_response_that_a_rule_has_ended_was_cut_off() -> None:
    out = outgoing()
    out.event(delta("output_text", "oh da", content_index=0))
    out.event({"type": "response.incomplete", "response": {"output": []}})
    assert texts(out) == [Text("oh da", whole=False)]
    for status, whole in (("completed", True), ("incomplete", False)):
        out = outgoing()
        item = {"id": "i", "content": [{"type": "output_text", "text": "well"}]}
        out.whole({"status": status, "output": [item]})
        assert texts(out) == [Text("well", whole=whole)]


def test_of_a_long_answer_the_beginning_is_kept() -> None:
    out = outgoing()
    for _ in range(3):
        out.chunk(chunk({"content": "x" * (MOST // 2 + 1)}))
    out.chunk(chunk({"reasoning": "y"}, "stop"))
    assert texts(out) == [Text("x" * MOST, whole=False)]
