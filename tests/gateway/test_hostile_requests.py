"""Clients that look for a way around input rules, and honest ones that must not be taken for them."""

from typing import Any

import orjson
import pytest

from tests.gateway.clients import CHAT, chat, client
from tests.gateway.engines import Asked, answers_well
from tests.gateway.guardrails import CARD, NUMBERS, policy_spec, rule
from tests.gateway.test_guardrails import judged
from tests.gateway.test_hearing import asked
from tests.gateway.test_responses import RESPONSES

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"file": {"type": "string"}, "image": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "open_it", "parameters": SCHEMA}}


def turns(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**chat(), "messages": list(messages), **more}


def calls(**function: Any) -> dict[str, Any]:
    return turns(
        {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": {"name": "f", **function}}]}
    )


def tool(**parameters: Any) -> dict[str, Any]:
    return chat(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])


HIDDEN: dict[str, dict[str, Any]] = {
    "a role": turns({"role": "darn", "content": "x"}),
    "a role in the middle": turns({"role": "so darn it", "content": "x"}, {"role": "user", "content": "y"}),
    "a name": turns({"role": "user", "name": "darn", "content": "x"}),
    "an id": turns({"role": "tool", "tool_call_id": "darn", "content": "x"}),
    "a kind": turns({"role": "user", "content": [{"type": "darn", "text": "x"}]}),
    "a thought": turns({"role": "assistant", "content": "x", "reasoning_content": "darn"}),
    "a member's name": turns({"role": "user", "content": "x", "darn": 1}),
    "arguments": calls(arguments='{"a": "d\\u0061rn"}'),
    "the name of an argument": calls(arguments='{"d\\u0061rn": 1}'),
    "arguments that are no text": calls(arguments={"file": "darn"}),
    "names of arguments that are no text": calls(arguments={"darn": 1}),
    "kinds of arguments that are no text": calls(arguments={"type": "darn", "id": "x"}),
    "a parameter": tool(type="object", properties={"darn": {"type": "string"}}),
    "a parameter's default": tool(type="object", properties={"image": {"default": "darn"}}),
    "what may be chosen": tool(type="object", properties={"a": {"enum": ["x", "darn"]}}),
    "a document": chat(documents=[{"darn": "x"}]),
    "a shape": chat(response_format={"type": "json_schema", "json_schema": {"schema": {"properties": {"darn": {}}}}}),
    "a variable": chat(chat_template_kwargs={"persona": "darn"}),
    "a variable's name": chat(chat_template_kwargs={"darn": True}),
    "effort": chat(reasoning_effort="darn"),
    "a text deep within": turns({"role": "user", "content": [[[{"text": "darn"}]]]}),
}


@pytest.mark.parametrize("where", HIDDEN)
async def test_no_model_hears_what_is_hidden_in(where: str) -> None:
    answer, heard = await asked(HIDDEN[where], policy_spec("Block"))
    assert (answer.status, answer.code, heard) == (400, "content_filter", [])
    assert "darn" not in str(answer.json["error"]["param"])


HONEST: list[tuple[str, dict[str, Any]]] = [
    (CHAT, chat(tools=[TOOL], tool_choice="auto", response_format={"type": "json_schema", "json_schema": SCHEMA})),
    (CHAT, turns({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c", "content": "x"})),
    (CHAT, calls(arguments={"file": "a.txt", "size": 10**9, "deep": [{"image": None}]})),
    (RESPONSES, {"model": "storyteller", "input": [{"type": "message", "role": "user", "status": "completed",
                                                    "content": [{"type": "input_text", "text": "x"}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), HONEST)
async def test_an_honest_request_is_heard_as_it_is(path: str, body: dict[str, Any]) -> None:
    _, [heard] = await asked(body, policy_spec("Block"), path=path)
    assert {name: heard[name] for name in body if name != "model"} == {
        name: body[name] for name in body if name != "model"
    }


async def test_a_number_that_is_no_text_is_redacted_too() -> None:
    spec = {"detectors": [NUMBERS], "rules": [rule("pii", "Redact")]}
    body = calls(arguments={"card": int(CARD.replace(" ", "")), "few": 7})
    _, [heard] = await asked(body, spec)
    assert heard["messages"][0]["tool_calls"][0]["function"]["arguments"] == {"card": "[pii]", "few": 7}


# Beginnings that a client chooses.


async def says_text(asked: Asked) -> None:
    choice = {"index": 0, "text": f"{CARD}, darn it", "finish_reason": "stop"}
    await asked.answer(200, {"id": "c1", "object": "text_completion", "model": asked.model, "choices": [choice]})


@pytest.mark.parametrize("before", ["x", "9", "I say da", "a\n"])
async def test_no_beginning_lets_the_first_word_of_an_answer_out(before: str) -> None:
    numbers = ("numbers", {"detectors": [NUMBERS], "rules": [rule("pii", "Redact", where=["output"])]})
    calm = ("calm", policy_spec("Redact"))
    async with judged(says_text, numbers, calm) as (_, g), client(g.port) as c:
        answer = await c.ask({"model": "storyteller", "prompt": before}, "/v1/completions")
        assert answer.json["choices"][0]["text"] == "[pii], [rude] it"
    prefilled = turns(
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": before}, continue_final_message=True
    )
    async with judged(answers_well(f"{CARD}, darn it"), numbers, calm) as (_, g), client(g.port) as c:
        for stream in (True, False):
            answer = await c.ask({**prefilled, "stream": stream})
            assert answer.text == "[pii], [rude] it"
            assert b"4111" not in orjson.dumps(answer.body.decode())
