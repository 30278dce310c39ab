"""Every refusal that the official client can come by: which exception it raises, and how often it asks."""

from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.gateway.engines import Script, answers_status, engine, hangs, resets
from tests.gateway.gateways import gateway
from tests.gateway.test_openai_client import MESSAGES, talking
from tests.gateway.worlds import KEY, STABLE, access_key, endpoints, snapshot, table

Call = Callable[[AsyncOpenAI], Awaitable[Any]]
RETRIES = 1


def chats(**more: Any) -> Call:
    async def call(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.create(**{"model": "storyteller", "messages": MESSAGES, **more})

    return call


def responds(**more: Any) -> Call:
    async def call(client: AsyncOpenAI) -> Any:
        return await client.responses.create(**{"model": "storyteller", "input": "hi", **more})

    return call


async def embeds(client: AsyncOpenAI) -> Any:
    return await client.embeddings.create(model="nonesuch", input="hi")


async def moderates(client: AsyncOpenAI) -> Any:
    return await client.moderations.create(input="hi")


async def refused(
    call: Call, expected: type[openai.APIStatusError], code: str, *, script: Script | None = None, **options: Any
) -> tuple[openai.APIStatusError, float]:
    """The exception of a call, and how many times the gateway refused it."""
    key, keys = options.pop("key", KEY), options.pop("keys", None)
    async with engine(script) as e, engine(script) as f:
        document = snapshot([table()], [endpoints(STABLE, [e.port, f.port])], keys)
        async with gateway(document, **options) as g, talking(g, key=key, retries=RETRIES) as client:
            with pytest.raises(expected) as raised:
                await call(client)
            assert type(raised.value) is expected
            assert raised.value.code == code
            assert set(raised.value.body or {}) == {"message", "type", "code", "param"}  # type: ignore[call-overload]
            return raised.value, g.plane.refused[code]


PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]
CHOOSER = [access_key(chooses=True)]


@pytest.mark.parametrize(
    ("call", "expected", "code", "options"),
    [
        (chats(), openai.AuthenticationError, "invalid_api_key", {"key": "us-wrong"}),
        (chats(model="nonesuch"), openai.NotFoundError, "model_not_found", {}),
        (embeds, openai.NotFoundError, "model_not_found", {}),
        (moderates, openai.NotFoundError, "unknown_path", {}),
        (chats(n=99), openai.BadRequestError, "invalid_request", {}),
        (chats(messages=PICTURE), openai.BadRequestError, "invalid_request", {}),
        (chats(extra_body={"priority": 1}), openai.BadRequestError, "invalid_request", {}),
        (chats(extra_body={"anything": 1}), openai.BadRequestError, "unknown_parameter", {}),
        (responds(previous_response_id="resp_1"), openai.BadRequestError, "unsupported", {}),
        (responds(tools=[{"type": "web_search"}]), openai.BadRequestError, "unsupported", {}),
        (
            chats(extra_headers={"x-understudy-variant": "candidate"}),
            openai.PermissionDeniedError,
            "variant_not_allowed",
            {},
        ),
        (
            chats(extra_headers={"x-understudy-variant": "candidate"}),
            openai.NotFoundError,
            "no_candidate",
            {"keys": CHOOSER},
        ),
        (chats(), openai.BadRequestError, "engine_refused", {"script": answers_status(400)}),
        (chats(), openai.ConflictError, "engine_refused", {"script": answers_status(409)}),
        (chats(), openai.UnprocessableEntityError, "engine_refused", {"script": answers_status(422)}),
        (chats(), openai.APIStatusError, "body_too_large", {"max_body": 10}),
        (chats(), openai.InternalServerError, "poison", {"script": resets}),
    ],
)
async def test_a_terminal_refusal_is_raised_at_once(
    call: Call, expected: type[openai.APIStatusError], code: str, options: dict[str, Any]
) -> None:
    raised, times = await refused(call, expected, code, **options)
    assert times == 1
    assert raised.response.headers["x-should-retry"] == "false"
    assert raised.type == ("server_error" if raised.status_code >= 500 else "invalid_request_error")


async def test_too_many_wrong_keys_are_not_tried_again() -> None:
    async with gateway(snapshot([table()])) as g, talking(g, key="us-wrong", retries=RETRIES) as client:
        g.plane.clock = lambda: 1000.0
        for _ in range(10):
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        with pytest.raises(openai.RateLimitError) as raised:
            await client.models.list()
        assert (raised.value.code, raised.value.type) == ("too_many_wrong_keys", "requests")
        assert g.plane.refused == {"invalid_api_key": 10, "too_many_wrong_keys": 1}


@pytest.mark.slow
async def test_who_is_over_a_limit_comes_again_after_the_time_that_it_was_told() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])], [access_key(requestsPerMinute=1)])
        async with gateway(document) as g, talking(g, retries=RETRIES) as client:
            clock, began = g.plane.clock, g.plane.clock()
            g.plane.clock = lambda: began
            await chats()(client)
            # Half a second before the minute is over: the client is told to wait for a second, and does.
            g.plane.clock = lambda: began + 59.5
            with pytest.raises(openai.RateLimitError) as raised:
                await chats()(client.with_options(max_retries=0))
            assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "requests")
            assert raised.value.response.headers["retry-after"] == "1"
            assert raised.value.response.headers["x-ratelimit-limit-requests"] == "1"
            assert "x-should-retry" not in raised.value.response.headers
            again = clock()
            g.plane.clock = lambda: began + 59.5 + clock() - again
            await chats()(client)
            assert clock() - again >= 0.5
            assert g.plane.refused == {"rate_limit_exceeded": 1 + RETRIES}


async def test_what_is_above_the_whole_limit_is_not_tried_again() -> None:
    keys = [access_key(tokensPerMinute=100)]
    raised, times = await refused(chats(), openai.RateLimitError, "rate_limit_exceeded", keys=keys)
    assert times == 1
    assert raised.response.headers["x-should-retry"] == "false"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("engine_error", {"script": answers_status(500)}),
        ("first_token_timeout", {"script": hangs}),
        ("busy", {"body_pool": 10}),
    ],
)
async def test_what_another_moment_may_undo_is_tried_again(code: str, options: dict[str, Any]) -> None:
    async with engine(options.pop("script", None)) as e:
        tables = [table(timeouts={"firstTokenSeconds": 0.1, "wholeSeconds": 0.3}, queue={"deadlineSeconds": 0.05})]
        document = snapshot(tables, [endpoints(STABLE, [e.port])])
        async with gateway(document, **options) as g, talking(g, retries=RETRIES) as client:
            with pytest.raises(openai.InternalServerError) as raised:
                await chats(stream=True)(client)
            assert sum(g.plane.refused.values()) == 1 + RETRIES
            assert code in g.plane.refused
            assert raised.value.type == "server_error"


@pytest.mark.slow
async def test_a_name_without_an_engine_says_when_to_come_again() -> None:
    async with gateway(snapshot([table(queue={"max": 0})])) as g, talking(g, retries=RETRIES) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await chats()(client)
        assert (raised.value.status_code, raised.value.code) == (503, "no_capacity")
        assert raised.value.response.headers["retry-after"] == "2"
        assert g.plane.refused["no_capacity"] == 1 + RETRIES
