"""What of a request bears on how its answers are judged."""

from typing import Any

import pytest

from understudy.gateway.policy.facts import expected, facts_of, last_asked
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, RESPONSES, Operation

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("operation", "body", "count"),
    [
        (CHAT, {}, 1),
        (CHAT, {"n": 3}, 3),
        (CHAT, {"n": None}, 1),
        (COMPLETIONS, {"prompt": "a"}, 1),
        (COMPLETIONS, {"prompt": ["a", "b"], "n": 2}, 4),
        (COMPLETIONS, {"prompt": [1, 2, 3], "n": 2}, 2),
        (COMPLETIONS, {"prompt": [[1], [2]]}, 2),
        (COMPLETIONS, {"prompt": []}, 1),
    ],
)
def test_how_many_choices_an_answer_has(operation: Operation, body: dict[str, Any], count: int) -> None:
    assert expected(operation, body) == count


@pytest.mark.parametrize(
    ("operation", "body", "json"),
    [
        (CHAT, {}, False),
        (CHAT, {"response_format": {"type": "json_object"}}, True),
        (CHAT, {"response_format": {"type": "json_schema"}}, True),
        (CHAT, {"response_format": {"type": "text"}}, False),
        (CHAT, {"structured_outputs": {"json": {"type": "object"}}}, True),
        (CHAT, {"structured_outputs": {"regex": "a"}}, False),
        (CHAT, {"guided_json": {"type": "object"}}, True),
        (CHAT, {"guided_json": {}}, True),
        (CHAT, {"guided_json": None, "structured_outputs": {"json": None}}, False),
        (CHAT, {"structured_outputs": {"json": {}}}, True),
        (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, True),
        (RESPONSES, {"text": "x", "response_format": {"type": "json_object"}}, False),
    ],
)
def test_whether_an_answer_is_to_be_json(operation: Operation, body: dict[str, Any], json: bool) -> None:
    assert facts_of(operation, {"messages": HELLO, **body}, {}, 10).json is json


PARTS = [{"type": "text", "text": "I say: "}, "x", {"type": "text"}, {"type": "text", "text": "da"}]
PREFILLED = [*HELLO, {"role": "assistant", "content": "I say: da"}]


@pytest.mark.parametrize(
    ("operation", "body", "before"),
    [
        (CHAT, {"messages": HELLO, "continue_final_message": True}, {}),
        (CHAT, {"messages": PREFILLED}, {}),
        (CHAT, {"messages": PREFILLED, "continue_final_message": True, "n": 2}, {0: "say: da", 1: "say: da"}),
        (CHAT, {"messages": PREFILLED, "continue_final_message": True, "echo": True}, {}),
        (CHAT, {"messages": ["x"], "continue_final_message": True}, {}),
        (COMPLETIONS, {"prompt": "I say: da"}, {0: "say: da"}),
        (COMPLETIONS, {"prompt": ["one", "two"], "n": 2}, {0: "one", 1: "one", 2: "two", 3: "two"}),
        (COMPLETIONS, {"prompt": [[1, 2], [3]]}, {}),
        (COMPLETIONS, {"prompt": []}, {}),
        (COMPLETIONS, {"prompt": "I say: da", "echo": "false"}, {0: "say: da"}),
        (RESPONSES, {"input": "x"}, {}),
        (RESPONSES, {"input": []}, {}),
        (RESPONSES, {"input": PREFILLED}, {}),
        (RESPONSES, {"input": [{"role": "assistant", "status": "in_progress", "content": PARTS}]}, {0: "say: da"}),
        (CHAT, {"messages": [{"role": "assistant", "content": PARTS}], "continue_final_message": True}, {0: "say: da"}),
        (CHAT, {"messages": [{"role": "assistant", "content": None}], "continue_final_message": True}, {}),
    ],
)
def test_what_an_answer_goes_on_with(operation: Operation, body: dict[str, Any], before: dict[int, str]) -> None:
    assert facts_of(operation, body, {}, 7).before == before


def test_the_languages_of_the_person_are_part_of_it() -> None:
    assert facts_of(CHAT, {"messages": HELLO}, {b"accept-language": b"de"}, 7).languages == ("de",)


@pytest.mark.parametrize(
    ("operation", "body", "asked"),
    [
        (CHAT, {"messages": HELLO}, "hello"),
        (CHAT, {"messages": PREFILLED}, "hello"),
        (CHAT, {"messages": [{"role": "user", "content": [{"text": "a"}, {}, "x", {"text": "b"}]}]}, "a\nb"),
        (CHAT, {"messages": [{"role": "system", "content": "x"}, "x"]}, ""),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 5000}]}, "x" * 4096),
        (COMPLETIONS, {"prompt": "hello"}, "hello"),
        (COMPLETIONS, {"prompt": [1]}, ""),
        (RESPONSES, {"input": "hello"}, "hello"),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}, "hi"),
        (RESPONSES, {}, ""),
    ],
)  # fmt: skip
def test_what_a_user_said_last(operation: Operation, body: dict[str, Any], asked: str) -> None:
    assert last_asked(operation, body) == asked
