"""Engines that do their worst under an enforcing rule: what is forbidden is in nothing that a client reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
import pytest

from tests.gateway.clients import Answer, chat, client
from tests.gateway.engines import Asked, Script, chunk
from tests.gateway.guardrails import policy_spec
from tests.gateway.test_guardrails import judged
from tests.gateway.test_responses import RESPONSES

WORD: Final = "darn"
WISHES: Final[Sequence[dict[str, Any]]] = (
    {},
    {"stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
)
# Beside what, if anything: a text that may be seen, so that the answer goes on.
WELL: Final = {"index": 0, "delta": {"content": "well "}, "finish_reason": None}
STOP: Final = {"index": 0, "delta": {}, "finish_reason": "stop"}


def strings(value: Any) -> Iterator[str]:
    """Every string of a document, names of members among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def gathered(value: Any, path: str, into: dict[str, str]) -> None:
    """Put together what comes in pieces, as official clients do: strings at one place of several events are one."""
    if isinstance(value, str):
        into[path] = into.get(path, "") + value
    elif isinstance(value, dict):
        for name, each in value.items():
            gathered(each, f"{path}.{name}", into)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            at = each.get("index", number) if isinstance(each, dict) else number
            gathered(each, f"{path}[{at}]", into)


def read(answer: Answer) -> list[Any]:
    """All that a client can read of an answer: documents, and what its events come to together."""
    if not answer.fields.get("content-type", "").startswith("text/event-stream"):
        return [answer.json]
    lines = [line for line in answer.body.split(b"\n") if line and not line.startswith(b":")]
    names = [line.decode() for line in lines if not line.startswith(b"data: ")]
    said = [line[6:] for line in lines if line.startswith(b"data: ") and line != b"data: [DONE]"]
    documents = [orjson.loads(each) for each in said]
    together: dict[str, str] = {}
    for each in documents:
        gathered(each, "", together)
    return [*documents, names, together]


def leaks(answer: Answer) -> list[str]:
    """Where what is forbidden stands."""
    return [each for each in strings(read(answer)) if WORD in each.lower()]


def streams(*chunks: Mapping[str, Any] | bytes, end: bool = True) -> Script:
    """Chunks as an engine sends them; bytes are events as they are, `MODEL` in them is its name."""

    async def script(asked: Asked) -> None:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": asked.model}
        await asked.begin_stream()
        for each in chunks:
            if isinstance(each, bytes):
                await asked.send(chunk(each.replace(b"MODEL", asked.model.encode()) + b"\n\n"))
            else:
                await asked.event(orjson.dumps({**head, **each}))
        if end:
            await asked.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    return script


def says(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": None, **choice}]}


def delta(**said: Any) -> dict[str, Any]:
    return says(delta=said)


def call(index: Any = 0, **said: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"index": index, **said}])


def raw(delta: bytes, beside: bytes = b"") -> bytes:
    """An event whose delta is exactly this."""
    return b'data: {"model":"MODEL"%b,"choices":[{"index":0,"delta":%b}]}' % (beside, delta)


WELL_SAID: Final = {"choices": [WELL]}
STOPPED: Final = {"choices": [STOP]}
USAGE: Final = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
NESTED: Final = {"a": [{"darn": "darn"}]}
STREAMS: Final[dict[str, Sequence[Mapping[str, Any] | bytes]]] = {
    "an id": [{**WELL_SAID, "id": "darn"}],
    "an id that is no text": [{**WELL_SAID, "id": NESTED}],
    "an object": [{**WELL_SAID, "object": "darn"}],
    "a time": [{**WELL_SAID, "created": "darn"}],
    "a fingerprint": [{**WELL_SAID, "system_fingerprint": "so darn it"}],
    "a fingerprint in pieces": [{**WELL_SAID, "system_fingerprint": "da"}, {**WELL_SAID, "system_fingerprint": "rn"}],
    "a tier": [{**WELL_SAID, "service_tier": "darn"}],
    "usage beside": [{**WELL_SAID, "usage": {"prompt_tokens": "darn", "darn": 1}}],
    "usage within": [{**WELL_SAID, "usage": {"prompt_tokens": 1, "prompt_tokens_details": NESTED}}],
    "beside what is cut": [{**WELL_SAID, "darn": 1, "usage": USAGE}, {**delta(content="darn it"), "usage": USAGE}],
    "the last usage": [WELL_SAID, STOPPED, {"choices": [], "usage": {"prompt_tokens": 1, "darn": "darn"}}],
    "beside the last usage": [WELL_SAID, STOPPED, {"choices": [], "usage": {}, "prompt_text": "darn"}],
    "no choices": [WELL_SAID, STOPPED, {"choices": [], "delta": {"content": "darn"}}],
    "choices that are none": [WELL_SAID, {"choices": None, "text": "darn"}],
    "choices by name": [WELL_SAID, {"choices": {"0": {"delta": {"content": "darn"}}}}],
    "beside the choices": [{**WELL_SAID, "prompt": "darn", "darn": 1}, STOPPED],
    "a call's id": [call(id="darn", function={"name": "f"})],
    "a call's id in pieces": [call(id="da", function={"name": "f"}), call(id="rn")],
    "a call's name in pieces": [call(id="a", function={"name": "da"}), call(function={"name": "rn"})],
    "a function's name in pieces": [delta(function_call={"name": "da"}), delta(function_call={"name": "rn"})],
    "a call's type": [call(id="a", type="darn", function={"name": "f"})],
    "a call's number": [call("darn", id="a", function={"name": "f"}), call(NESTED, id="a")],
    "arguments that are no text": [call(id="a", function={"name": "f", "arguments": NESTED})],
    "arguments in escapes": [call(id="a", function={"name": "f", "arguments": '{"d\\u0061'}),
                             call(function={"arguments": 'rn": 1}'})],
    "who speaks": [delta(role="darn", content="well")],
    "why it ended": [says(delta={"content": "well"}, finish_reason="darn")],
    "why it ended, at length": [says(delta={"content": "well"}, finish_reason=NESTED)],
    "content in parts": [delta(content=[{"type": "text", "text": "darn"}])],
    "a refusal": [delta(content="well", refusal="so darn it")],
    "both thoughts": [delta(reasoning="so darn it", reasoning_content="so darn it")],
    "sound and notes": [delta(content="well", audio={"transcript": "darn"}, annotations=[NESTED])],
    "tokens": [says(delta={"content": "well"}, logprobs={"content": [
        {"token": "darn", "logprob": -1, "bytes": [100], "top_logprobs": [{"token": "darn"}]}]})],
    "tokens under other names": [says(delta={"content": "well"}, logprobs={"tokens": ["darn"], "token_logprobs": [1]})],
    "another choice": [WELL_SAID, says(index=1, delta={"content": "so darn it"})],
    "a choice below the first": [WELL_SAID, says(index=-1, delta={"content": "so darn it"})],
    "a choice far away": [WELL_SAID, says(index=2**40, delta={"content": "so darn it"})],
    "a choice with a name": [WELL_SAID, says(index="darn", delta={"content": "x"})],
    "after the end of a choice": [WELL_SAID, STOPPED, delta(content="darn")],
    "a chunk that is a whole answer": [says(message={"role": "assistant", "content": "darn"}, text="darn")],
    "the same member twice": [raw(b'{"content":"x","content":"darn"}')],
    "a member's name in escapes": [raw(b'{"cont\\u0065nt":"d\\u0061rn it"}')],
    "half of a character": [raw(b'{"content":"\\ud800 darn it"}', b',"id":"\\ud800"')],
    "several lines of data": [raw(b'\ndata:{"content":\ndata: "darn it"}')],
    "lines that end in CR": [raw(b'{"content":"darn it"}') + b"\r\rdata: [DONE]\r"],
    "comments, names, ids and times": [b"event: darn\nid: darn\nretry: 1\n: darn\n" + raw(b"{}")],
    "a mark of byte order": [b"\xef\xbb\xbf" + raw(b'{"content":"darn it"}')],
    "guardrails of its own": [{**WELL_SAID, "guardrails": {"crisis": {"text": "darn"}}}],
}  # fmt: skip


@pytest.mark.parametrize("how", STREAMS)
async def test_no_event_of_a_stream_has_what_is_forbidden(how: str) -> None:
    async with judged(streams(*STREAMS[how], STOPPED), policy_spec()) as (_, g), client(g.port) as c:
        for wishes in WISHES:
            answer = await c.ask(chat(stream=True, **wishes))
            assert leaks(answer) == []
            assert answer.complete


def answers(status: int, document: Any, fields: str = "") -> Script:
    async def script(asked: Asked) -> None:
        document_of = document if isinstance(document, bytes) else orjson.dumps(document)
        await asked.answer(status, document_of.replace(b"MODEL", asked.model.encode()), fields)

    return script


def whole(*, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "well", **message}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "MODEL", "choices": [choice]}


CALL: Final = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
WHOLES: Final[dict[str, Any]] = {
    **{f"head: {name}": {**whole(), name: "darn"} for name in ("id", "object", "created", "service_tier", "odd")},
    "head: fingerprint": {**whole(), "system_fingerprint": "so darn it"},
    "usage": {**whole(), "usage": {"prompt_tokens": 1, "completion_tokens": "darn", "prompt_tokens_details": NESTED}},
    "usage that is none": {**whole(), "usage": "darn"},
    "prompts": {**whole(), "prompt_logprobs": [NESTED], "prompt_token_ids": ["darn"], "kv_transfer_params": NESTED},
    "who speaks": whole(role="darn"),
    "why it ended": whole(finish="darn"),
    "why it ended, at length": whole(finish=NESTED),
    "content in parts": whole(content=[{"type": "text", "text": "darn"}]),
    "thoughts": whole(reasoning="so darn it", reasoning_content="so darn it"),
    "a refusal": whole(content=None, refusal="so darn it"),
    "sound": whole(audio={"id": "darn", "transcript": "darn"}, annotations=[NESTED]),
    "a call's id": whole(tool_calls=[{**CALL, "id": "darn"}]),
    "a call's name": whole(tool_calls=[{**CALL, "function": {"name": "do_darn", "arguments": "{}"}}]),
    "a call's type": whole(tool_calls=[{**CALL, "type": "darn"}]),
    "arguments": whole(tool_calls=[{**CALL, "function": {"name": "f", "arguments": '{"d\\u0061rn": 1}'}}]),
    "no choices": {"id": "c1", "model": "MODEL", "choices": [], "error": {"message": "darn"}},
    "choices twice": {**whole(), "choices": [*whole()["choices"], *whole(content="so darn it")["choices"]]},
    "too many choices": {**whole(), "choices": [*whole()["choices"], {"index": 7, "message": {"content": "so darn"}}]},
    "a text beside": {**whole(), "choices": [{"index": 0, "text": "darn", "message": {"content": "well"}}]},
    "a delta beside": {**whole(), "choices": [{"index": 0, "delta": {"content": "darn"}, "message": {"content": "x"}}]},
    "content twice": b'{"model":"MODEL","choices":[{"index":0,"message":{"content":"x","content":"so darn"}}]}',
    "no answer": b'["darn"]',
    "no JSON": b"darn",
    "half of a character": b'{"model":"MODEL","id":"\\ud800","choices":[{"index":0,"message":{"content":"darn"}}]}',
    "depth": b'{"model":"MODEL","choices":' + b"[" * 5000 + b'"darn"' + b"]" * 5000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("how", WHOLES)
async def test_no_whole_answer_has_what_is_forbidden(how: str) -> None:
    async with judged(answers(200, WHOLES[how]), policy_spec()) as (_, g), client(g.port) as c:
        assert leaks(await c.ask(chat())) == []


# What an engine says instead of an answer.

TOOLS: Final = "1 validation error: Invalid JSON [type=json_invalid, input_value='so darn it', input_type=str]"
REFUSALS: Final[dict[str, Any]] = {
    "a message": {"error": {"message": TOOLS, "code": 400}},
    "the message of older engines": {"object": "error", "message": TOOLS, "code": 400},
    "a parameter": {"error": {"message": "no", "param": "darn"}},
    "a message that is none": {"error": {"message": NESTED}},
    "no error": {"error": "darn"},
    "no JSON": b"<html>darn</html>",
}


@pytest.mark.parametrize("how", REFUSALS)
@pytest.mark.parametrize("stream", [True, False])
async def test_no_refusal_of_an_engine_has_what_is_forbidden(how: str, stream: bool) -> None:
    for status in (400, 422, 500):
        async with judged(answers(status, REFUSALS[how]), policy_spec()) as (_, g), client(g.port) as c:
            answer = await c.ask(chat(stream=stream))
            assert answer.status == (status if status < 500 else 502)
            assert leaks(answer) == []


async def test_a_refusal_without_anything_forbidden_is_the_clients_to_hear() -> None:
    said = {"error": {"message": "at most 4096 tokens", "param": "max_tokens"}}
    async with judged(answers(400, said), policy_spec()) as (_, g), client(g.port) as c:
        error = (await c.ask(chat())).json["error"]
        assert (error["message"], error["param"]) == ("at most 4096 tokens", "max_tokens")


# The Responses API.


def response(**more: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "MODEL",
        "status": "completed",
        "output": [],
        **more,
    }


def event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b" % (kind.encode(), orjson.dumps({"type": kind, **more}))


def item(**more: Any) -> dict[str, Any]:
    return {"id": "i1", "type": "message", "role": "assistant", "status": "completed", "content": [], **more}


def text(said: str) -> bytes:
    return event("response.output_text.delta", output_index=0, content_index=0, item_id="i1", delta=said)


def named(**more: Any) -> bytes:
    return event("response.output_item.added", output_index=0, item=item(**{"type": "function_call", **more}))


PART: Final = {"type": "output_text", "text": "so darn it", "annotations": [NESTED]}
FIELDS: Final = (
    "id", "object", "created_at", "instructions", "metadata", "temperature", "tool_choice", "tools", "reasoning",
    "service_tier", "text", "truncation", "user", "background", "max_output_tokens", "odd", "previous_response_id",
)  # fmt: skip
EVENTS: Final[dict[str, Sequence[bytes]]] = {
    **{f"a response's {name}": [event("response.created", response=response(**{name: "darn"}))] for name in FIELDS},
    **{f"a response's {name}, within": [event("response.created", response=response(**{name: [NESTED]}))]
       for name in FIELDS},
    "how far it is": [event("response.created", response=response(status="darn"))],
    "why it ended": [text("well"), event("response.incomplete",
                                         response=response(incomplete_details={"reason": "darn", "darn": 1}))],
    "an error beside": [text("well"), event("response.completed", response=response(error={"message": "darn"}))],
    "usage": [text("well"), event("response.completed", response=response(usage={"input_tokens": 1, "darn": NESTED}))],
    "an item's id": [event("response.output_item.added", output_index=0, item=item(id="darn")), text("well")],
    "an item's state": [event("response.output_item.added", output_index=0, item=item(status="darn")), text("well")],
    "a call's id": [named(id="a", call_id="darn", name="f")],
    "a call's name": [named(name="do_darn")],
    "a call's name in pieces": [named(name="da"), named(name="rn")],
    "arguments": [named(name="f"), event("response.function_call_arguments.delta", output_index=0, delta='"d\\u0061'),
                  event("response.function_call_arguments.delta", output_index=0, delta='rn"')],
    "arguments at their end": [named(name="f"), event("response.function_call_arguments.done", output_index=0,
                                                      name="darn", arguments='"so darn it"')],
    "another text at its end": [text("well"), event("response.output_text.done", output_index=0, content_index=0,
                                                    text="so darn it")],
    "another part at its end": [text("well"), event("response.content_part.done", output_index=0, content_index=0,
                                                    part=PART)],
    "another item at its end": [text("well"), event("response.output_item.done", output_index=0,
                                                    item=item(content=[PART]))],
    "another output at its end": [text("well"), event("response.completed", response=response(
        output=[item(content=[PART]), item(id="x", content=[PART])]))],
    "after the end of a text": [text("well "), event("response.output_text.done", output_index=0, content_index=0),
                                text("so darn it")],
    "after the end of an item": [text("well "), event("response.output_item.done", output_index=0, item=item()),
                                 text("so darn it")],
    "after the end": [text("well"), event("response.completed", response=response()), text("so darn it")],
    "a part that has begun": [event("response.content_part.added", output_index=0, content_index=0, part=PART)],
    "an item that has begun": [event("response.output_item.added", output_index=0, item=item(content=[PART]))],
    "notes": [text("well"), event("response.output_text.annotation.added", output_index=0, annotation=NESTED)],
    "tools of the engine's": [text("well"), event("response.mcp_call_arguments.delta", output_index=1, delta="darn"),
                              event("response.output_item.done", output_index=1,
                                    item={"type": "mcp_call", "output": "darn"})],
    "an image": [text("well"), event("response.image_generation_call.partial_image", partial_image_b64="darn")],
    "sound": [text("well"), event("response.audio.transcript.delta", delta="darn")],
    "numbers that are none": [event("response.output_text.delta", output_index="darn", content_index=NESTED,
                                    sequence_number="darn", item_id="darn", delta="well")],
    "numbers far away": [event("response.output_text.delta", output_index=2**40, content_index=-5, delta="so darn it")],
    "tokens": [event("response.output_text.delta", output_index=0, delta="well", logprobs=[{"token": "darn"}])],
    "obfuscation": [event("response.output_text.delta", output_index=0, delta="well", obfuscation="darn")],
}  # fmt: skip


@pytest.mark.parametrize("how", EVENTS)
async def test_no_event_of_a_response_has_what_is_forbidden(how: str) -> None:
    last = event("response.completed", response=response())
    script = streams(*EVENTS[how], last, end=False)

    async def ends(asked: Asked) -> None:
        await script(asked)
        await asked.send(b"0\r\n\r\n")

    async with judged(ends, policy_spec()) as (_, g), client(g.port) as c:
        answer = await c.ask({"model": "storyteller", "input": "hi", "stream": True}, RESPONSES)
        assert leaks(answer) == []
        assert (answer.status, answer.complete) in ((200, True), (400, True))
        assert b'"error":{' not in answer.body or answer.code == "content_filter"


RESPONSE_WHOLES: Final[dict[str, Any]] = {
    **{f"its {name}": response(**{name: "darn"}) for name in (*FIELDS, "status", "error", "incomplete_details")},
    **{f"its {name}, within": response(**{name: [NESTED]}) for name in FIELDS},
    "why it ended": response(status="incomplete", incomplete_details={"reason": "darn"}),
    "an item": response(output=[item(content=[PART])]),
    "an item's id and state": response(output=[item(id="darn", status="darn", role="darn", phase="darn")]),
    "items of other kinds": response(output=[{"type": "darn", "x": "darn"}, "darn", 1]),
    "usage": response(usage={"input_tokens": 1, "output_tokens": "darn", "input_tokens_details": NESTED}),
}


@pytest.mark.parametrize("how", RESPONSE_WHOLES)
async def test_no_whole_response_has_what_is_forbidden(how: str) -> None:
    async with judged(answers(200, RESPONSE_WHOLES[how]), policy_spec()) as (_, g), client(g.port) as c:
        answer = await c.ask({"model": "storyteller", "input": "hi"}, RESPONSES)
        assert leaks(answer) == []
