"""Keys with limits at a gateway: refused in time, settled by what the engine counted, however an answer ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_status, answers_well, chunk, delta, engine, hangs, resets
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import KEY, STABLE, access_key, endpoints, snapshot, table
from understudy.gateway.policy.limits import HIGHEST_LIMIT
from understudy.gateway.policy.part import Part

LIMIT = 100_000
TOKENS = {"tokensPerMinute": LIMIT}


def world(*ports: int, gateways: int = 1, queue: Any = None, **limits: Any) -> dict[str, Any]:
    tables = [table() if queue is None else table(queue=queue)]
    return snapshot(tables, [endpoints(STABLE, ports)], [access_key(**limits)], gateways=gateways)


def stopped(g: Gateway) -> Callable[[float], None]:
    """All limits are whole, and from now on time goes on only by what is returned (seconds)."""
    now = g.plane.clock() + 180

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    g.plane.clock = lambda: now
    return forward


def used(g: Gateway) -> int:
    """Tokens that are taken or held."""
    (key,) = g.world.routes.keys.values()
    meter = g.plane.meters.of(key)
    assert meter is not None
    fields = dict(line.split(": ") for line in meter.fields(g.plane.clock()).decode().split("\r\n") if line)
    return int(fields["x-ratelimit-limit-tokens"]) - int(fields["x-ratelimit-remaining-tokens"])


def continuous(asked: Asked, text: str, prompt: int, output: int) -> bytes:
    """An event with the counts so far, as vLLM sends it."""
    event = delta(asked.model, text)
    return event[:-1] + b',"usage":{"prompt_tokens":%d,"completion_tokens":%d}}' % (prompt, output)


async def test_a_key_without_limits_meets_none_and_hears_of_none() -> None:
    async with engine() as e, gateway(world(e.port)) as g, client(g.port) as c:
        for stream in (False, True) * 10:
            answer = await c.ask(chat(stream=stream))
            assert answer.status == 200
            assert not [name for name in answer.fields if name.startswith("x-ratelimit")]
        assert "continuous_usage_stats" not in str(e.asked[-1].body)
        assert len(g.plane.meters) == 0


async def test_requests_above_the_limit_are_refused_until_some_come_back() -> None:
    async with engine() as e, gateway(world(e.port, requestsPerMinute=3)) as g, client(g.port) as c:
        forward = stopped(g)
        remaining = []
        for stream in (False, True, False):
            answer = await c.ask(chat(stream=stream))
            assert answer.status == 200
            assert answer.fields["x-ratelimit-limit-requests"] == "3"
            remaining.append(answer.fields["x-ratelimit-remaining-requests"])
        assert remaining == ["2", "1", "0"]
        answer = await c.ask()
        assert (answer.status, answer.code, answer.fields["retry-after"]) == (429, "rate_limit_exceeded", "20")
        assert answer.json["error"]["message"] == "this access key has 3 requests a minute: come again in 20 s"
        assert answer.fields["x-ratelimit-remaining-requests"] == "0"
        assert answer.fields["x-ratelimit-reset-requests"] == "1m0s"
        assert answer.fields["x-request-id"]
        assert "x-should-retry" not in answer.fields
        assert "x-ratelimit-limit-tokens" not in answer.fields
        forward(20)
        assert [(await c.ask()).status for _ in range(2)] == [200, 429]
        assert len(e.asked) == 4
        assert g.plane.refused == {"rate_limit_exceeded": 2}
        assert g.plane.settled == {"counted": 0, "estimated": 0}


async def test_a_gateway_that_has_just_started_gives_out_ten_seconds_worth() -> None:
    async with engine() as e, gateway(world(e.port, requestsPerMinute=12)) as g:
        now = g.plane.clock()
        g.plane.clock = lambda: now
        assert [(await ask(g.port)).status for _ in range(3)] == [200, 200, 429]


async def test_requests_that_are_wrong_and_lists_of_models_do_not_count() -> None:
    async with engine() as e, gateway(world(e.port, requestsPerMinute=1)) as g, client(g.port) as c:
        stopped(g)
        assert (await c.ask({"model": "nobody", "messages": []})).status == 404
        assert (await c.ask(chat(wrong=1))).status == 400
        await c.send(request(b"", "/v1/models", "GET", content_type=""))
        assert (await c.answer()).status == 200
        assert [(await c.ask()).status for _ in range(2)] == [200, 429]


async def test_one_keys_limits_are_not_anothers() -> None:
    keys = [access_key(requestsPerMinute=1), access_key("us-other", source="s/other", requestsPerMinute=1)]
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])], keys)) as g:
        stopped(g)
        for token in (KEY, "us-other"):
            assert (await ask(g.port, authorization=f"Bearer {token}")).status == 200
            assert (await ask(g.port, authorization=f"Bearer {token}")).status == 429


@pytest.mark.parametrize(("stream", "tokens"), [(False, 11), (True, 10)])
async def test_an_answer_costs_what_the_engine_counted(stream: bool, tokens: int) -> None:
    async with engine() as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c:
        stopped(g)
        answer = await c.ask(chat(stream=stream, max_tokens=500))
        assert answer.status == 200
        assert int(answer.fields["x-ratelimit-remaining-tokens"]) < LIMIT - 500
        assert used(g) == tokens
        assert g.plane.settled == {"counted": 1, "estimated": 0}


async def test_what_a_request_may_take_is_held_while_it_is_answered() -> None:
    async with engine(hangs) as e, gateway(world(e.port, tokensPerMinute=1000)) as g, client(g.port) as c:
        stopped(g)
        await c.send(request(chat(max_tokens=850)))
        await e.request()
        answer = await ask(g.port, chat(max_tokens=850))
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        assert int(answer.fields["retry-after"]) > 30
        c.writer.transport.abort()
        await g.quiet()
        e.script = answers_well()
        assert (await ask(g.port, chat(max_tokens=850))).status == 200


async def test_a_request_above_the_limit_is_refused_for_good() -> None:
    async with engine() as e, gateway(world(e.port, tokensPerMinute=1000)) as g:
        answer = await ask(g.port, chat(max_tokens=500, n=2))
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (429, "rate_limit_exceeded", "false")
        assert "retry-after" not in answer.fields
        assert "lower max_tokens, n or best_of" in answer.json["error"]["message"]
        assert e.asked == []


@pytest.mark.parametrize("more", [{"max_tokens": -1}, {"max_tokens": 10**12}, {"n": 0}, {"best_of": -4}, {"n": 10**9}])
async def test_numbers_that_would_confuse_a_count_do_not_come_so_far(more: dict[str, Any]) -> None:
    async with engine() as e, gateway(world(e.port, **TOKENS)) as g:
        stopped(g)
        assert (await ask(g.port, chat(**more))).status == 400
        assert used(g) == 0


async def test_a_stream_is_counted_as_it_goes_and_the_client_is_told_no_more_than_it_asked_for() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(continuous(asked, "one", 7, 1))
        await asked.event(continuous(asked, " two", 7, 2))
        await asked.end_stream()

    async with engine(script) as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c:
        told = []
        for options in (None, {"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True}):
            more: dict[str, Any] = {"stream_options": options} if options else {}
            answer = await c.ask(chat(stream=True, **more))
            assert (answer.text, answer.done) == ("one two", True)
            told.append([bool(event.get("usage")) for event in answer.events[:-1]])
            assert e.asked[-1].body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
        assert told == [[False] * 3, [False] * 3 + [True], [True, True, False, True]]


async def test_counts_that_nobody_forced_go_through() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        # Some engines tell of the whole in the last event that has choices.
        await asked.event(continuous(asked, "one", 7, 1))
        await asked.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with engine(script) as e, gateway(world(e.port)) as g:
        answer = await ask(g.port, chat(stream=True, stream_options={"include_usage": True}))
        assert answer.events[0]["usage"] == {"prompt_tokens": 7, "completion_tokens": 1}


@pytest.mark.parametrize("ends", ["client", "engine", "error"])
async def test_a_stream_that_is_cut_costs_what_was_counted_last_and_is_marked(ends: str) -> None:
    goes_on = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(continuous(asked, "one", 7, 40))
        await goes_on.wait()
        if ends == "engine":
            asked.reset()
        elif ends == "error":
            await asked.event(b'{"error":{"message":"no more"}}')

    async with engine(script) as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c:
        stopped(g)
        await c.send(request(chat(stream=True)))
        await c.until(b"one")
        goes_on.set()
        if ends == "client":
            c.writer.transport.abort()
        else:
            assert not (await c.answer()).done
        await g.quiet()
        await until(lambda: g.plane.settled["estimated"] == 1)
        assert used(g) == 48
        assert g.plane.settled == {"counted": 0, "estimated": 1}


async def test_a_stream_of_an_engine_that_does_not_count_is_estimated() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for word in ("one", " two"):
            await asked.say(word)
        await asked.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with engine(script) as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c:
        stopped(g)
        assert (await c.ask(chat("x" * 400, stream=True))).done
        assert 100 + 2 < used(g) < 150
        assert g.plane.settled == {"counted": 0, "estimated": 1}


async def test_who_leaves_an_engine_at_work_pays_for_the_prompt() -> None:
    async with engine(hangs) as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c:
        stopped(g)
        await c.send(request(chat("x" * 400)))
        await e.request()
        c.writer.transport.abort()
        await until(lambda: g.plane.settled["estimated"] == 1)
        assert 100 < used(g) < 150


def tells(usage: dict[str, Any]) -> Callable[[Asked], Awaitable[None]]:
    async def script(asked: Asked) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}
        await asked.answer(200, {"model": asked.model, "choices": [choice], "usage": usage})

    return script


@pytest.mark.parametrize(
    ("usage", "most"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2**62}, 1_000 + 2_000),
        ({"prompt_tokens": -(10**6), "completion_tokens": 1}, 200),
        ({"prompt_tokens": 1.5, "completion_tokens": "many"}, 200),
        ({"prompt_tokens": None}, 200),
        ({"input_tokens": [], "output_tokens": {}}, 200),
    ],
)
async def test_no_number_of_an_engine_gives_tokens_away_or_keeps_a_key_out(usage: dict[str, Any], most: int) -> None:
    async with engine(tells(usage)) as e, gateway(world(e.port, tokensPerMinute=2000)) as g:
        forward = stopped(g)
        assert (await ask(g.port, chat(max_tokens=500))).status == 200
        assert used(g) >= 0
        assert g.plane.settled == {"counted": 0, "estimated": 1}
        forward(60 * most / 2000)
        assert used(g) == 0


@pytest.mark.parametrize("script", [answers_status(400), answers_status(500), resets])
async def test_what_no_engine_answered_costs_no_tokens(script: Any) -> None:
    async with engine(script) as e, gateway(world(e.port, queue={"max": 0}, **TOKENS)) as g, client(g.port) as c:
        stopped(g)
        assert (await c.ask()).status in (400, 502, 503)
        assert used(g) == 0
        assert g.plane.settled == {"counted": 0, "estimated": 0}


async def test_who_waits_in_vain_or_leaves_the_queue_gets_everything_back() -> None:
    async with gateway(world(queue={"deadlineSeconds": 30}, **TOKENS)) as g:
        g.later(180)
        async with client(g.port) as c:
            await c.send(request(chat()))
            await g.waits()
            assert used(g) > 1000
            c.writer.transport.abort()
            await g.waits(0)
        assert used(g) == 0
        asking = asyncio.ensure_future(ask(g.port, chat()))
        await g.waits()
        g.later(31)
        assert (await asking).code == "queue_timeout"
        assert used(g) == 0


async def test_a_second_attempt_is_paid_for_once() -> None:
    async with engine(resets) as bad, engine() as good, gateway(world(bad.port, good.port, **TOKENS)) as g:
        stopped(g)
        g.plane.random = lambda: 0.0
        assert [(await ask(g.port)).status for _ in range(4)] == [200] * 4
        assert used(g) == 44
        assert g.plane.settled == {"counted": 4, "estimated": 0}


async def test_gateways_share_the_limit_and_a_change_of_their_number_forgets_nothing() -> None:
    async with engine() as e, gateway(world(e.port, gateways=3, requestsPerMinute=6)) as g, client(g.port) as c:
        stopped(g)
        answers = [await c.ask() for _ in range(3)]
        assert [a.status for a in answers] == [200, 200, 429]
        assert answers[0].fields["x-ratelimit-limit-requests"] == "2"
        assert "6 requests a minute, and each of 3 gateways its part of them" in answers[2].json["error"]["message"]
        g.change(world(e.port, requestsPerMinute=6))
        answers = [await c.ask() for _ in range(5)]
        assert [a.status for a in answers] == [200] * 4 + [429]


async def test_each_of_several_workers_has_its_part() -> None:
    async with engine() as e, gateway(world(e.port, gateways=3, requestsPerMinute=12), part=Part(1, 2)) as g:
        stopped(g)
        assert [(await ask(g.port)).status for _ in range(3)] == [200, 200, 429]


async def test_a_key_that_is_written_again_keeps_what_it_has_used_and_one_without_limits_is_free() -> None:
    async with engine() as e, gateway(world(e.port, requestsPerMinute=1)) as g, client(g.port) as c:
        stopped(g)
        assert [(await c.ask()).status for _ in range(2)] == [200, 429]
        g.change(world(e.port, requestsPerMinute=1, tokensPerMinute=HIGHEST_LIMIT))
        assert (await c.ask()).status == 429
        g.change(world(e.port))
        assert (await c.ask()).status == 200


@pytest.mark.parametrize("change", ["gone", "unlimited", "other"])
async def test_a_key_may_change_while_a_request_comes_in_or_an_answer_goes_out(change: str) -> None:
    goes_on = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await goes_on.wait()
        await asked.end_stream()

    async with engine(script) as e, gateway(world(e.port, **TOKENS)) as g, client(g.port) as c, client(g.port) as late:
        stopped(g)
        raw = request(chat(stream=True))
        await late.send(raw[:-1])
        await c.send(raw)
        await c.until(b"one")
        if change == "gone":
            g.world.key_gone("understudy-system/key")
            g.world.compile()
            g.plane.rerouted()
        else:
            g.change(world(e.port, **({"tokensPerMinute": 5000} if change == "other" else {})))
        await late.send(raw[-1:])
        await late.until(b"one")
        goes_on.set()
        assert [(await one.answer()).done for one in (c, late)] == [True, True]
        if change == "other":
            assert used(g) == 20
        assert g.plane.settled == {"counted": 2 if change == "other" else 1, "estimated": 0}


async def test_metrics_tell_of_gateways_keys_and_how_answers_were_settled() -> None:
    async with engine() as e, gateway(world(e.port, gateways=3, **TOKENS)) as g:
        stopped(g)
        await ask(g.port)
        g.world.key_unreadable("understudy-system/other")
        gauges = {name: values for name, (_, values) in g.plane.gauges().items()}
        assert gauges["understudy_settled_total"] == {"counted": 1, "estimated": 0}
        assert gauges["understudy_limit_shares"] == {"": 3}
        assert gauges["understudy_access_keys"] == {"known": 1, "unreadable": 1}
