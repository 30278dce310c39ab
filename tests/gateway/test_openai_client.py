"""The official client against the gateway, and the simulated engine behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.gateway import test_responses as responses
from tests.gateway.engines import Asked, answers_status, chunk, engine
from tests.gateway.gateways import Gateway, gateway
from tests.gateway.worlds import CANARY, KEY, MASTER, STABLE, endpoints, snapshot, table
from tests.sim import engines as sims
from understudy.domain.names import engine_key

MESSAGES: Any = [{"role": "user", "content": "Begin a story."}]


@asynccontextmanager
async def talking(g: Gateway, key: str = KEY, retries: int = 0) -> AsyncIterator[AsyncOpenAI]:
    base = f"http://127.0.0.1:{g.port}/v1"
    async with AsyncOpenAI(base_url=base, api_key=key, max_retries=retries) as client:
        yield client


@asynccontextmanager
async def simulated(revision: str, *flags: str) -> AsyncIterator[int]:
    """A simulated engine that asks for the key that the gateway must send."""
    key = engine_key(MASTER, "default", "story", revision)
    quick = ("--first-token=0", "--inter-token=0.001", f"--model-id=story-{revision}")
    async with sims.process(*quick, *flags, VLLM_API_KEY=key, POD_NAME=f"pod-{revision}") as (base, _):
        yield int(base.rpartition(":")[2])


async def test_completions_whole_and_streamed() -> None:
    async with (
        simulated(STABLE, "--text=once upon a time") as port,
        gateway(snapshot([table()], [endpoints(STABLE, [port])])) as g,
        talking(g) as client,
    ):
        answer = await client.chat.completions.create(model="storyteller", messages=MESSAGES)
        assert answer.choices[0].message.content == "once upon a time"
        assert answer.model == "storyteller"
        assert answer.usage is not None
        stream = await client.chat.completions.create(model="default/story", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "once upon a time"
        assert {c.model for c in chunks} == {"default/story"}
        assert all(c.usage is None for c in chunks)
        text = await client.completions.create(model="storyteller", prompt="Begin.", max_tokens=2)
        assert text.choices[0].text == "once upon"
        models = await client.models.list()
        assert [m.id for m in models.data] == ["storyteller"]


async def test_usage_of_a_stream_when_asked_for() -> None:
    async with (
        simulated(STABLE, "--tokens=5") as port,
        gateway(snapshot([table()], [endpoints(STABLE, [port])])) as g,
        talking(g) as client,
    ):
        stream = await client.chat.completions.create(
            model="storyteller", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 5
        assert g.state(STABLE).tokens_out == 5


async def test_errors_are_the_clients_own_exceptions() -> None:
    async with engine(answers_status(400)) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        async with talking(g) as client:
            with pytest.raises(openai.NotFoundError) as missing:
                await client.chat.completions.create(model="nonesuch", messages=MESSAGES)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="storyteller", messages=MESSAGES)
        async with talking(g, key="us-wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


@pytest.mark.slow
async def test_the_client_retries_what_may_be_retried_and_nothing_else() -> None:
    async with (
        engine(answers_status(500)) as e,
        gateway(snapshot([table(queue={"deadlineSeconds": 0.05})], [endpoints(STABLE, [e.port])])) as g,
    ):
        async with talking(g, retries=1) as client:
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="storyteller", messages=MESSAGES)
            assert g.plane.refused["engine_error"] == 2
        async with talking(g, key="us-wrong", retries=3) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
            assert g.plane.refused["invalid_api_key"] == 1


@pytest.mark.slow
async def test_responses_whole_and_streamed() -> None:
    async with (
        simulated(STABLE, "--text=once upon a time") as port,
        gateway(snapshot([table()], [endpoints(STABLE, [port])])) as g,
        talking(g) as client,
    ):
        answer = await client.responses.create(model="storyteller", input="Begin a story.")
        assert (answer.output_text, answer.model, answer.status) == ("once upon a time", "storyteller", "completed")
        stream = await client.responses.create(model="default/story", input="Begin a story.", stream=True)
        events = [event async for event in stream]
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "once upon a time"
        assert events[-1].type == "response.completed"
        assert events[-1].response.model == "default/story"
        assert events[-1].response.output_text == "once upon a time"
        async with client.responses.stream(model="storyteller", input="Begin a story.") as helper:
            final = await helper.get_final_response()
        assert final.output_text == "once upon a time"
        assert g.state(STABLE).tokens_out == 12


async def test_a_response_that_breaks_raises_in_the_middle() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for piece in responses.events(asked.model, "one", "two")[:3]:
            await asked.send(chunk(piece))
        await asyncio.sleep(0.05)
        asked.reset()

    async with (
        engine(script) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g,
        talking(g) as client,
    ):
        stream = await client.responses.create(model="storyteller", input="hi", stream=True)
        heard: list[str] = []

        async def listen() -> None:
            async for event in stream:
                heard.append(event.type)  # noqa: PERF401  # what came before the error counts

        with pytest.raises(openai.APIError, match="lost"):
            await listen()
        assert heard == ["response.created", "response.in_progress", "response.output_text.delta"]


async def test_a_stream_that_breaks_raises_in_the_middle() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await asyncio.sleep(0.05)
        asked.reset()

    async with (
        engine(script) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g,
        talking(g) as client,
    ):
        stream = await client.chat.completions.create(model="storyteller", messages=MESSAGES, stream=True)
        heard: list[str | None] = []

        async def listen() -> None:
            async for chunk in stream:
                heard.append(chunk.choices[0].delta.content)  # noqa: PERF401  # what came before the error counts

        with pytest.raises(openai.APIError, match="lost"):
            await listen()
        assert heard == ["one"]


@pytest.mark.slow
async def test_a_simulated_candidate_that_crashes_is_covered_by_stable() -> None:
    async with simulated(STABLE, "--text=stable") as good, simulated(CANARY, "--text=canary", "--crash=3") as bad:
        slices = [endpoints(STABLE, [good]), endpoints(CANARY, [bad])]
        document = snapshot([table({STABLE: 0, CANARY: 100})], slices)
        async with gateway(document) as g, talking(g) as client:

            async def said(session: str) -> str | None:
                answer = await client.chat.completions.create(
                    model="storyteller", messages=MESSAGES, extra_headers={"x-session-id": session}
                )
                return answer.choices[0].message.content

            assert [await said(str(i)) for i in range(5)] == ["canary", "canary", "stable", "stable", "stable"]
            assert g.state(CANARY).errors["connect"] == 1
            assert g.state(STABLE).failed == 0


@pytest.mark.slow
async def test_a_simulated_impostor_is_found_out() -> None:
    async with simulated(STABLE) as good, simulated(CANARY, "--identity=impostor") as bad:
        slices = [endpoints(STABLE, [good]), endpoints(CANARY, [bad])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices)) as g, talking(g) as client:
            answer = await client.chat.completions.with_raw_response.create(model="storyteller", messages=MESSAGES)
            assert answer.headers["x-understudy-revision"] == STABLE
            assert g.state(CANARY).errors["malformed"] == 1
