"""The official client talks to the simulated engine as to any other."""

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.sim.engines import KEY, engine

MODEL = "story-0a1b2c3d"
HELLO: ChatCompletionUserMessageParam = {"role": "user", "content": "Tell me a story."}


def client(base: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0)


async def test_answers_a_chat() -> None:
    async with engine(text="Yes, of course.") as (base, _), client(base) as api:
        said = await api.chat.completions.create(model=MODEL, messages=[HELLO])
    assert said.choices[0].message.content == "Yes, of course."
    assert said.choices[0].finish_reason == "stop"
    assert said.model == MODEL
    assert said.system_fingerprint == "pod-1"
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (5, 3, 8)


async def test_streams_a_chat_with_usage_at_the_end() -> None:
    async with engine(tokens=5) as (base, _), client(base) as api:
        whole = await api.chat.completions.create(model=MODEL, messages=[HELLO])
        stream = await api.chat.completions.create(
            model=MODEL, messages=[HELLO], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, "the same prompt is answered the same way"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert {chunk.system_fingerprint for chunk in chunks} == {"pod-1"}


async def test_completes_a_prompt_streamed_and_not() -> None:
    async with engine(text="and then it rained") as (base, _), client(base) as api:
        said = await api.completions.create(model=MODEL, prompt="Once", max_tokens=2)
        stream = await api.completions.create(model=MODEL, prompt="Once", max_tokens=2, stream=True)
        chunks = [chunk async for chunk in stream]
    assert (said.choices[0].text, said.choices[0].finish_reason) == ("and then", "length")
    assert "".join(chunk.choices[0].text for chunk in chunks) == "and then"
    assert chunks[-1].choices[0].finish_reason == "length"


async def test_answers_with_a_response() -> None:
    async with engine(text="Yes, of course.") as (base, _), client(base) as api:
        said = await api.responses.create(model=MODEL, input="Tell me a story.", instructions="Be brief.")
        cut = await api.responses.create(
            model=MODEL, input=[{"role": "user", "content": "Tell me a story."}], max_output_tokens=2
        )
    assert (said.output_text, said.status, said.model) == ("Yes, of course.", "completed", MODEL)
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.total_tokens) == (7, 3, 10)
    assert (cut.output_text, cut.status) == ("Yes, of", "incomplete")
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(("limit", "end"), [(9, "response.completed"), (2, "response.incomplete")])
async def test_streams_a_response_in_named_and_numbered_events(limit: int, end: str) -> None:
    async with engine(text="Yes, of course.") as (base, _), client(base) as api:
        whole = await api.responses.create(model=MODEL, input="Go on.", max_output_tokens=limit)
        stream = await api.responses.create(model=MODEL, input="Go on.", max_output_tokens=limit, stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[1].type, events[-1].type) == ("response.created", "response.in_progress", end)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == whole.output_text


async def test_several_choices() -> None:
    async with engine(text="a b") as (base, _), client(base) as api:
        said = await api.chat.completions.create(model=MODEL, messages=[HELLO], n=2)
        stream = await api.chat.completions.create(model=MODEL, messages=[HELLO], n=2, stream=True)
        indices = {chunk.choices[0].index async for chunk in stream}
    assert [choice.index for choice in said.choices] == [0, 1]
    assert said.usage is not None
    assert said.usage.completion_tokens == 4
    assert indices == {0, 1}


async def test_continuous_usage_counts_up() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    async with engine(text="a b c") as (base, _), client(base) as api:
        stream = await api.chat.completions.create(
            model=MODEL, messages=[HELLO], stream=True, extra_body={"stream_options": options}
        )
        counts = [chunk.usage.completion_tokens async for chunk in stream if chunk.usage]
    assert counts == [0, 1, 2, 3, 3, 3]


async def test_lists_its_model_with_root_and_context() -> None:
    async with engine() as (base, _), client(base) as api:
        card = (await api.models.list()).data[0]
    assert card.id == MODEL
    assert card.to_dict()["root"] == "/models/tiny-a"
    assert card.to_dict()["max_model_len"] == 128


async def test_asks_for_its_key_everywhere_but_on_health() -> None:
    async with engine(key=KEY) as (base, _), aiohttp.ClientSession() as session:
        async with client(base, "wrong") as api:
            with pytest.raises(openai.AuthenticationError):
                await api.models.list()
            with pytest.raises(openai.AuthenticationError):
                await api.chat.completions.create(model=MODEL, messages=[HELLO])
        async with client(base, KEY) as api:
            assert (await api.models.list()).data
        async with session.get(f"{base}/admin/behaviour") as refused:
            assert refused.status == 401
        async with session.get(f"{base}/health") as health:
            assert health.status == 200


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "other", "messages": [HELLO]}, 404, "model"),
        ({"model": MODEL}, 400, "messages"),
        ({"model": MODEL, "messages": []}, 400, "messages"),
        ({"model": MODEL, "messages": ["hi"]}, 400, "messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": 7}]}, 400, "messages"),
        ({"model": MODEL, "messages": [HELLO], "stream": "yes"}, 400, "stream"),
        ({"model": MODEL, "messages": [HELLO], "stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"model": MODEL, "messages": [HELLO], "stream": True, "stream_options": [1]}, 400, "stream_options"),
        ({"model": MODEL, "messages": [HELLO], "max_tokens": 0}, 400, "max_tokens"),
        ({"model": MODEL, "messages": [HELLO], "max_tokens": 1000}, 400, "max_tokens"),
        ({"model": MODEL, "messages": [HELLO], "max_completion_tokens": 1000}, 400, "max_completion_tokens"),
        ({"model": MODEL, "messages": [HELLO], "n": 99}, 400, "n"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}]}, 400, "messages"),
        ([1], 400, None),
    ],
)
async def test_refuses_what_an_engine_refuses(body: object, status: int, param: str | None) -> None:
    async with (
        engine() as (base, _),
        aiohttp.ClientSession() as session,
        session.post(f"{base}/v1/chat/completions", json=body) as answer,
    ):
        error = (await answer.json())["error"]
    assert answer.status == status
    assert error["param"] == param
    assert set(error) == {"message", "type", "param", "code"}


async def test_refuses_bad_json_bad_prompts_and_unknown_paths_in_the_same_shape() -> None:
    async with engine() as (base, _), aiohttp.ClientSession() as session:
        for path, data, status in [
            ("/v1/chat/completions", b"{", 400),
            ("/v1/completions", b'{"model": "story-0a1b2c3d", "prompt": 5}', 400),
            ("/v1/nowhere", b"{}", 404),
        ]:
            async with session.post(base + path, data=data) as answer:
                assert answer.status == status
                assert (await answer.json())["error"]["message"]
                assert answer.headers["x-sim-pod"] == "pod-1"


async def test_takes_content_in_parts_and_a_list_of_one_prompt() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]}
    async with engine() as (base, _), aiohttp.ClientSession() as session:
        async with session.post(f"{base}/v1/chat/completions", json={"model": MODEL, "messages": [parts]}) as answer:
            assert (await answer.json())["usage"]["prompt_tokens"] == 4
        async with session.post(f"{base}/v1/completions", json={"model": MODEL, "prompt": ["a b"]}) as answer:
            assert (await answer.json())["usage"]["prompt_tokens"] == 2
