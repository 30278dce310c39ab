"""Engines that fail in every way: who gets the request next, who is charged, and when it ends."""

import asyncio
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import (
    Asked,
    Engine,
    Script,
    answers_status,
    answers_well,
    chunk,
    completion,
    engine,
    hangs,
    resets,
    sends,
    stream_bytes,
)
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import CANARY, STABLE, endpoints, snapshot, table
from understudy.domain.table import Timeouts
from understudy.gateway.policy.balance import FAILURES_IN_A_ROW
from understudy.gateway.wire.plane import SWEEP_SECONDS, Limits

BODIES = [pytest.param(chat(), id="whole"), pytest.param(chat(stream=True), id="stream")]


SHORT = {"deadlineSeconds": 0.1}
# So long, and a little more, is a first token waited for.
FIRST_TOKEN = 61.0


def pool(*ports: int, **more: Any) -> dict[str, Any]:
    return snapshot([table(**more)], [endpoints(STABLE, ports)])


def rollout(stable: list[int], canary: list[int], weight: int = 100, **more: Any) -> dict[str, Any]:
    weights = {STABLE: 100 - weight, CANARY: weight}
    return snapshot([table(weights, **more)], [endpoints(STABLE, stable), endpoints(CANARY, canary)])


async def closed_port() -> int:
    async with engine() as e:
        return e.port


def errors(g: Gateway, revision: str) -> dict[str, int]:
    return {kind: count for kind, count in g.state(revision).errors.items() if count}


@pytest.mark.parametrize("body", BODIES)
async def test_a_refused_connection_is_tried_elsewhere_for_free(body: dict[str, Any]) -> None:
    dead = await closed_port()
    async with engine() as e, gateway(pool(dead, e.port)) as g:
        for _ in range(10):
            assert (await ask(g.port, body)).text == "once upon a time"
        # Once found dead it is left alone.
        assert errors(g, STABLE).get("connect", 0) <= 1


@pytest.mark.parametrize("body", BODIES)
async def test_an_engine_that_dies_over_a_request_is_followed_by_another(body: dict[str, Any]) -> None:
    async with engine(resets) as bad, engine() as good, gateway(pool(bad.port, good.port)) as g:
        for _ in range(6):
            assert (await ask(g.port, body)).text == "once upon a time"
        assert errors(g, STABLE) in ({"connect": 1}, {})
        assert g.state(STABLE).attempts == 6 + g.state(STABLE).failed


@pytest.mark.parametrize("body", BODIES)
async def test_a_connection_that_was_closed_while_idle_costs_nothing(body: dict[str, Any]) -> None:
    async def script(asked: Asked) -> None:
        if asked.connection == 1 and len(e.asked) > 1:
            asked.reset()
        else:
            await answers_well()(asked)

    async with engine(script) as e, gateway(pool(e.port)) as g:
        assert (await ask(g.port)).status == 200
        assert (await ask(g.port, body)).text == "once upon a time"
        assert e.connections == 2
        assert errors(g, STABLE) == {}
        assert g.state(STABLE).attempts == 2
        assert g.state(STABLE).usable_endpoints == 1


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_a_5xx_is_tried_once_more(status: int, body: dict[str, Any]) -> None:
    async with engine(answers_status(status)) as bad, engine() as good, gateway(pool(bad.port, good.port)) as g:
        while not bad.asked:
            assert (await ask(g.port, body)).text == "once upon a time"
        assert errors(g, STABLE) == {"5xx": len(bad.asked)}


async def test_two_attempts_are_all_there_are() -> None:
    async with (
        engine(answers_status(500)) as one,
        engine(answers_status(500)) as two,
        engine(answers_status(500)) as three,
        gateway(pool(one.port, two.port, three.port)) as g,
    ):
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (502, "engine_error")
        assert len(one.asked) + len(two.asked) + len(three.asked) == 2
        assert g.state(STABLE).attempts == 2
        assert g.state(STABLE).usable_endpoints == 3


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answers_status(500), "5xx"),
        (answers_status(404), "malformed"),
        (answers_status(302), "malformed"),
        (answers_status(401), "malformed"),
        (resets, "connect"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"), None),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "malformed"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi"), "malformed"),
        (sends(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "malformed"),
        (sends(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "malformed"),
        (sends(b"\x16\x03\x01 not http\r\n\r\n"), "malformed"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 200 + b"Content-Length: 2\r\n\r\nhi"), "malformed"),
    ],
)
async def test_whatever_a_candidate_does_the_client_is_answered_by_stable(
    script: Script, kind: str | None, body: dict[str, Any]
) -> None:
    async with engine(script) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        answer = await ask(g.port, body, x_session_id="c")
        assert (answer.status, answer.text) == (200, "once upon a time")
        assert answer.fields["x-understudy-revision"] == STABLE
        charged = errors(g, CANARY)
        assert sum(charged.values()) == 1
        assert kind is None or charged == {kind: 1}
        assert errors(g, STABLE) == {}
        # Pinned: the conversation is not sent to the candidate again.
        assert (await ask(g.port, body, x_session_id="c")).fields["x-understudy-revision"] == STABLE
        assert len(bad.asked) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_answers_as_another_model_is_not_believed(stream: bool) -> None:
    async def script(asked: Asked) -> None:
        asked.body["model"] = "impostor"
        await answers_well()(asked)

    async with engine(script) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        answer = await ask(g.port, chat(stream=stream))
        assert answer.fields["x-understudy-revision"] == STABLE
        assert errors(g, CANARY) == {"malformed": 1}


@pytest.mark.parametrize("event", [b"data: {not json}\n\n", b"data: 7\n\n", b'data: {"error":{"message":"boom"}}\n\n'])
async def test_a_stream_that_fails_before_its_first_word_is_tried_elsewhere(event: bytes) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(b'{"choices":[{"delta":{"role":"assistant","content":""}}]}')
        await asked.send(b"%x\r\n%b\r\n" % (len(event), event))

    async with engine(script) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        answer = await ask(g.port, chat(stream=True))
        assert (answer.text, answer.done) == ("once upon a time", True)
        assert sum(errors(g, CANARY).values()) == 1


async def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.policy.events.MAX_EVENT", 1000)

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.send(b"%x\r\n%b\r\n" % (2000, b"data: " + b"x" * 1994))
        await asked.closed.wait()

    async with engine(script) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        assert (await ask(g.port, chat(stream=True))).done
        assert errors(g, CANARY) == {"malformed": 1}


async def test_an_endless_answer_is_refused() -> None:
    async with (
        engine(answers_status(200, b"[" + b"1," * 5000 + b"1]")) as bad,
        engine() as good,
        gateway(rollout([good.port], [bad.port]), max_answer=1000) as g,
    ):
        assert (await ask(g.port)).fields["x-understudy-revision"] == STABLE
        assert errors(g, CANARY) == {"malformed": 1}


async def test_no_first_token_in_time_goes_elsewhere() -> None:
    async with engine(hangs) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        asking = asyncio.ensure_future(ask(g.port, chat(stream=True)))
        await bad.request()
        g.later(FIRST_TOKEN)
        answer = await asking
        assert answer.fields["x-understudy-revision"] == STABLE
        assert errors(g, CANARY) == {"firstToken": 1}
        await asyncio.wait_for(bad.asked[0].closed.wait(), 30)


async def test_an_engine_that_only_opens_its_stream_has_not_begun() -> None:
    opened = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.event(b'{"choices":[{"delta":{"role":"assistant","content":""}}]}')
        opened.set()
        await asked.closed.wait()

    async with (
        engine(script) as bad,
        engine() as good,
        gateway(rollout([good.port], [bad.port])) as g,
    ):
        asking = asyncio.ensure_future(ask(g.port, chat(stream=True)))
        await opened.wait()
        await asyncio.sleep(0.02)
        g.later(FIRST_TOKEN)
        assert (await asking).done
        assert errors(g, CANARY) == {"firstToken": 1}


async def test_two_silent_engines_are_a_504() -> None:
    async with (
        engine(hangs) as one,
        engine(hangs) as two,
        gateway(rollout([one.port], [two.port])) as g,
    ):
        asking = asyncio.ensure_future(ask(g.port, chat(stream=True)))
        for e in (two, one):
            await e.request()
            g.later(FIRST_TOKEN)
        answer = await asking
        assert (answer.status, answer.code) == (504, "first_token_timeout")
        assert errors(g, CANARY) == errors(g, STABLE) == {"firstToken": 1}


@pytest.mark.parametrize("body", BODIES)
async def test_the_whole_time_is_a_bound_without_retry(body: dict[str, Any]) -> None:
    async with (
        engine(hangs) as one,
        engine() as two,
        gateway(rollout([two.port], [one.port], timeouts={"wholeSeconds": 30})) as g,
    ):
        asking = asyncio.ensure_future(ask(g.port, body))
        await one.request()
        g.later(31)
        answer = await asking
        assert (answer.status, answer.code) == (504, "first_token_timeout")
        assert two.asked == []


async def test_a_request_that_ends_two_engines_is_poison_and_nobody_is_blamed() -> None:
    async def script(asked: Asked) -> None:
        if asked.body["messages"][0]["content"] == "poison":
            asked.reset()
        else:
            await answers_well()(asked)

    async with (
        engine(script) as one,
        engine(script) as two,
        engine(script) as three,
        gateway(rollout([one.port, two.port], [three.port])) as g,
    ):
        answer = await ask(g.port, chat("poison"))
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (502, "poison", "false")
        assert (errors(g, CANARY), errors(g, STABLE)) == ({}, {})
        assert (g.state(CANARY).attempts, g.state(STABLE).attempts) == (0, 0)
        assert (g.state(CANARY).usable_endpoints, g.state(STABLE).usable_endpoints) == (1, 2)
        asked = len(one.asked) + len(two.asked) + len(three.asked)
        assert asked == 2
        # For a minute it is known by sight.
        assert (await ask(g.port, chat("poison"))).code == "poison"
        assert len(one.asked) + len(two.asked) + len(three.asked) == asked
        assert (await ask(g.port, chat("food"))).status == 200


async def test_stable_never_falls_to_the_candidate() -> None:
    dead = await closed_port()
    async with engine() as candidate, gateway(rollout([dead], [candidate.port], weight=0, queue=SHORT)) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (504, "queue_timeout")
        assert candidate.asked == []


@pytest.mark.slow
async def test_retries_of_bad_answers_are_rationed() -> None:
    scripts = answers_status(500)
    async with engine(scripts) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        answers = await asyncio.gather(*(ask(g.port, chat(str(i)), x_session_id=str(i)) for i in range(300)))
        by_status = [sum(a.status == status for a in answers) for status in (200, 502)]
        assert sum(by_status) == 300
        # A hundred in ten seconds, once the candidate is out nobody is sent there at all.
        assert g.plane.retries <= 101
        assert all(a.code == "engine_error" for a in answers if a.status == 502)


async def test_failures_in_a_row_open_the_breaker() -> None:
    async with engine(answers_status(500)) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        for i in range(FAILURES_IN_A_ROW + 5):
            assert (await ask(g.port, x_session_id=str(i))).status == 200
        assert len(bad.asked) == FAILURES_IN_A_ROW
        assert g.state(CANARY).usable_endpoints == 0


async def test_a_first_token_that_does_not_come_counts_for_the_breaker() -> None:
    limits = {"firstTokenSeconds": 5}
    async with engine(hangs) as bad, engine() as good, gateway(rollout([good.port], [bad.port], timeouts=limits)) as g:
        for i in range(FAILURES_IN_A_ROW + 2):
            before = len(bad.asked)
            asking = asyncio.ensure_future(ask(g.port, chat(stream=True), x_session_id=str(i)))
            await until(lambda asking=asking, before=before: asking.done() or len(bad.asked) > before)  # type: ignore[misc]
            if not asking.done():
                g.later(5.1)
            assert (await asking).status == 200
        assert len(bad.asked) == FAILURES_IN_A_ROW
        assert g.state(CANARY).usable_endpoints == 0


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["deadline", "client"])
async def test_a_long_healthy_stream_never_opens_the_breaker_however_it_ends(ends: str) -> None:
    limits = {"firstTokenSeconds": 10, "betweenTokensSeconds": 100, "wholeSeconds": 50}
    async with engine(answers_well(*["x"] * 1000, pace=0.02)) as e, gateway(pool(e.port, timeouts=limits)) as g:
        for _ in range(FAILURES_IN_A_ROW + 1):
            async with client(g.port) as c:
                await c.send(request(chat(stream=True)))
                await c.until(b"x")
                g.later(30)
                if ends == "deadline":
                    g.later(30)
                    assert (await c.answer()).events[-1]["error"]["code"] == "deadline"
            assert g.state(STABLE).usable_endpoints == 1
        assert errors(g, STABLE) == {}


async def test_a_half_open_breaker_lets_one_request_through_and_the_others_go_elsewhere() -> None:
    async with engine(resets) as bad, engine() as good, gateway(pool(bad.port, good.port)) as g:
        while not bad.asked:
            await ask(g.port)
        bad.script = hangs
        g.plane.clock = _later(g, 1.1)
        asking = [asyncio.ensure_future(ask(g.port)) for _ in range(40)]
        await bad.request(2)
        await until(lambda: sum(task.done() for task in asking) == 39)
        assert len(bad.asked) == 2
        for task in asking:
            task.cancel()


async def test_an_engine_that_recovers_gets_requests_again() -> None:
    async with engine(resets) as e, engine() as other, gateway(pool(e.port, other.port)) as g:
        while not e.asked:
            await ask(g.port)
        assert g.state(STABLE).usable_endpoints == 1
        e.script = answers_well("back")
        before = len(e.asked)
        g.plane.clock = _later(g, 1.1)
        while len(e.asked) == before:
            assert (await ask(g.port)).status == 200
        assert g.state(STABLE).usable_endpoints == 2


def _later(g: Gateway, seconds: float) -> Any:
    clock = g.plane.clock
    return lambda: clock() + seconds


async def test_a_request_waits_for_an_engine_to_come() -> None:
    async with engine() as e, gateway(pool()) as g:
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        g.change(snapshot([], [endpoints(STABLE, [e.port])]))
        assert (await asking).status == 200


async def test_a_request_waits_for_a_table_with_a_variant() -> None:
    async with engine() as e:
        empty = snapshot([table({})], [endpoints(STABLE, [e.port])])
        async with gateway(empty) as g:
            asking = asyncio.ensure_future(ask(g.port, chat(stream=True)))
            await g.waits()
            g.change(snapshot([table(generation=2)]))
            assert (await asking).done


async def test_an_engine_that_restarts_is_waited_for() -> None:
    async with engine() as e, gateway(pool(e.port)) as g:
        assert (await ask(g.port)).status == 200
        await e.kill()
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        async with engine() as again:
            g.change(snapshot([], [endpoints(STABLE, [again.port])]))
            assert (await asking).status == 200


async def test_a_queued_request_goes_by_the_table_of_its_dispatch() -> None:
    async with engine() as stable, gateway(rollout([], [], weight=100)) as g:
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        g.change(snapshot([table(generation=2)], [endpoints(STABLE, [stable.port])]))
        assert (await asking).fields["x-understudy-revision"] == STABLE


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        (chunk(b'data: {"error":{"message":"down on pod-7"}}\n\n'), "truncated"),
        (chunk(b"data: {oops}\n\n"), "malformed"),
        (b"no chunk\r\n", "malformed"),
    ],
)
async def test_nonsense_in_the_middle_ends_the_stream_with_an_error_event(piece: bytes, kind: str) -> None:
    heard = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await heard.wait()
        await asked.send(piece)
        await asked.closed.wait()

    async with engine(script) as e, gateway(pool(e.port)) as g, client(g.port) as c:
        await c.send(request(chat(stream=True)))
        await c.until(b"one")
        heard.set()
        answer = await c.answer()
        assert not answer.done
        assert answer.events[-1]["error"]["code"] == "engine_error"
        assert b"pod-7" not in answer.body
        assert errors(g, STABLE) == {kind: 1}
        # As HTTP the answer is whole: the connection goes on.
        await c.send(request(b"", "/v1/models", "GET", content_length=""))
        assert (await c.answer()).status == 200


async def test_an_error_in_the_same_breath_as_the_first_word_is_tried_elsewhere() -> None:
    async def script(asked: Asked) -> None:
        whole = stream_bytes(asked.model, "one")
        word = whole[: whole.index(b"\r\n", whole.index(b"one")) + 2]
        await asked.send(word + chunk(b'data: {"error":"oops"}\n\n'))
        await asked.closed.wait()

    async with engine(script) as bad, engine() as good, gateway(rollout([good.port], [bad.port])) as g:
        assert (await ask(g.port, chat(stream=True))).text == "once upon a time"
        assert errors(g, CANARY) == {"5xx": 1}


async def test_a_stream_that_stops_is_cut_with_an_error_event() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await asked.closed.wait()

    async with engine(script) as e:
        document = snapshot([table(timeouts={"betweenTokensSeconds": 0.2})], [endpoints(STABLE, [e.port])])
        async with gateway(document) as g:
            answer = await ask(g.port, chat(stream=True))
            assert [event.get("error", {}).get("code") for event in answer.events] == [None, "engine_stalled"]
            assert errors(g, STABLE) == {"truncated": 1}
            await asyncio.wait_for(e.asked[0].closed.wait(), 30)


async def test_a_stream_that_goes_on_for_too_long_is_cut_and_nobody_is_blamed() -> None:
    async with engine(answers_well(*["x"] * 1000, pace=0.02)) as e:
        document = snapshot([table(timeouts={"wholeSeconds": 20})], [endpoints(STABLE, [e.port])])
        async with gateway(document) as g, client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"x")
            g.later(21)
            answer = await c.answer()
            assert answer.events[-1]["error"]["code"] == "deadline"
            assert errors(g, STABLE) == {}


async def test_each_deployment_has_limits_of_its_own() -> None:
    async with engine(hangs) as e:
        tables = [
            table(timeouts={"firstTokenSeconds": 0.1}),
            table({CANARY: 100}, name="patient", names=["patient"], timeouts={"firstTokenSeconds": 30}),
        ]
        slices = [endpoints(STABLE, [e.port]), endpoints(CANARY, [e.port], name="patient")]
        async with gateway(snapshot(tables, slices)) as g:
            patient = asyncio.ensure_future(ask(g.port, chat(stream=True) | {"model": "patient"}))
            assert (await ask(g.port, chat(stream=True))).code in ("first_token_timeout", "no_capacity")
            assert not patient.done()
            patient.cancel()


def test_limits_are_those_that_are_documented_and_connections_end_before_engines_end_them() -> None:
    limits, times = Limits(), Timeouts()
    assert (limits.header_seconds, limits.body_seconds, limits.body_rate, limits.connect_seconds) == (10, 30, 1024, 2)
    assert (limits.slow_reader_seconds, limits.idle_seconds) == (60, 75)
    assert (times.first_token, times.between_tokens, times.whole) == (60, 30, 1800)
    # vLLM's VLLM_HTTP_TIMEOUT_KEEP_ALIVE: a connection that it is about to close must not be taken for a request.
    assert limits.upstream_idle_seconds + SWEEP_SECONDS < 5


async def test_after_the_end_mark_nothing_can_go_wrong() -> None:
    async def script(asked: Asked) -> None:
        whole = stream_bytes(asked.model, "one")
        await asked.send(whole.removesuffix(b"0\r\n\r\n"))
        asked.reset()

    async with engine(script) as e, gateway(pool(e.port)) as g:
        answer = await ask(g.port, chat(stream=True))
        assert (answer.text, answer.done) == ("one", True)
        assert errors(g, STABLE) == {}


async def test_what_follows_the_end_mark_is_dropped() -> None:
    async def script(asked: Asked) -> None:
        whole = stream_bytes(asked.model, "one").removesuffix(b"0\r\n\r\n")
        await asked.send(whole)
        await asked.say("more")
        await asked.send(b"0\r\n\r\n")

    async with engine(script) as e, gateway(pool(e.port)) as g:
        assert (await ask(g.port, chat(stream=True))).text == "one"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"junk"])
async def test_an_engine_that_says_more_than_was_asked_is_not_asked_again_on_that_connection(extra: bytes) -> None:
    async def script(asked: Asked) -> None:
        if asked.connection > 1:
            await answers_well()(asked)
            return
        body = b'{"choices":[],"model":"%b"}' % asked.model.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        await asked.send(head + body + extra)

    async with engine(script) as e, gateway(pool(e.port)) as g:
        statuses = [(await ask(g.port)).status for _ in range(3)]
        assert statuses == [200, 200, 200]
        assert e.asked[-1].connection > 1


async def test_an_engine_may_close_after_each_answer() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, completion(asked.model), "Connection: close\r\n")
        asked.writer.close()

    async with engine(script) as e, gateway(pool(e.port)) as g:
        assert [(await ask(g.port)).status for _ in range(3)] == [200] * 3
        assert e.connections == 3
        assert g.state(STABLE).failed == 0


async def test_a_100_from_the_engine_is_passed_over() -> None:
    async def script(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await answers_well()(asked)

    async with engine(script) as e, gateway(pool(e.port)) as g:
        assert (await ask(g.port)).status == 200
        assert (await ask(g.port, chat(stream=True))).done
        assert e.connections == 1


async def test_idle_connections_to_engines_are_given_up_before_engines_do() -> None:
    async with engine() as e, gateway(pool(e.port), upstream_idle_seconds=0.05) as g:
        assert (await ask(g.port)).status == 200
        await asyncio.wait_for(e.asked[0].closed.wait(), 30)
        assert (await ask(g.port)).status == 200
        assert e.connections == 2


async def test_load_is_spread_over_the_engines() -> None:
    async def slow(asked: Asked) -> None:
        await asyncio.sleep(0.05)
        await answers_well()(asked)

    engines: list[Engine] = []
    async with engine(slow) as one, engine(slow) as two, engine(slow) as three:
        engines += [one, two, three]
        async with gateway(pool(*(e.port for e in engines))) as g:
            await asyncio.gather(*(ask(g.port) for _ in range(60)))
            assert all(len(e.asked) >= 10 for e in engines)
