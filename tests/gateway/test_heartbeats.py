"""Streams that are long in coming: the client hears that they live, and whatever becomes of them."""

import asyncio
from typing import Any

import openai
import pytest

from tests.gateway import test_responses as responses
from tests.gateway import worlds
from tests.gateway.clients import Answer, ask, chat, client, request
from tests.gateway.engines import Asked, Script, answers_status, answers_well, engine, hangs, resets
from tests.gateway.gateways import gateway, until
from tests.gateway.test_openai_client import MESSAGES, talking
from tests.gateway.worlds import CANARY, STABLE, access_key, endpoints, snapshot
from understudy.gateway.policy.heartbeat import HEARTBEAT
from understudy.gateway.wire.reply import Reply

SOON: dict[str, Any] = {"heartbeat_seconds": 0.03}
LATER = {"heartbeatAfterSeconds": 1.0}
ASKED = chat(stream=True)
STABLE_ANSWERS = {"revision": STABLE, "track": "stable"}


def table(*weights: dict[str, int], timeouts: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """A table whose deployment is soon impatient."""
    return worlds.table(*weights, timeouts={"heartbeatAfterSeconds": 0.05, **(timeouts or {})}, **more)


def one(port: int, **more: Any) -> dict[str, Any]:
    return snapshot([table(**more)], [endpoints(STABLE, [port])])


class Beats:
    """How many heartbeats were sent."""

    sent = 0


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Reply.beat

    def beat(reply: Reply) -> None:
        send(reply)
        Beats.sent += 1

    monkeypatch.setattr(Reply, "beat", beat)


async def beats(number: int = 2) -> None:
    """Wait for so many more."""
    wanted = Beats.sent + number
    await until(lambda: Beats.sent >= wanted)


def later(script: Script) -> Script:
    """Says nothing until the client has got heartbeats."""

    async def wait(asked: Asked) -> None:
        await beats()
        await script(asked)

    return wait


def slow(script: Script) -> Script:
    """Says nothing for longer than others may."""

    async def wait(asked: Asked) -> None:
        await asyncio.sleep(0.15)
        await script(asked)

    return wait


def who(answer: Answer) -> list[Any]:
    """What each event says of who answers."""
    return [event.get("understudy") for event in answer.events if event != "[DONE]"]


def error(answer: Answer) -> Any:
    """The error of a stream that has nothing else."""
    assert answer.status == 200
    assert answer.complete
    (event,) = answer.events
    return event["error"]["code"]


async def test_a_stream_that_is_long_in_coming_is_kept_alive_and_says_who_answers() -> None:
    async with engine(later(answers_well())) as e, gateway(one(e.port), **SOON) as g, client(g.port) as c:
        answer = await c.ask(ASKED)
        assert (answer.status, answer.text, answer.done) == (200, "once upon a time", True)
        assert answer.body.count(HEARTBEAT) >= 2
        # Later events are plain, and so are the fields: nobody knew when they went out.
        assert who(answer) == [STABLE_ANSWERS, *[None] * (len(answer.events) - 2)]
        assert "x-understudy-revision" not in answer.fields
        assert len(answer.fields["x-request-id"]) == 26
        # The connection goes on.
        e.script = answers_well()
        g.change(one(e.port, timeouts={"heartbeatAfterSeconds": 60}, generation=2))
        assert (await c.ask(ASKED)).fields["x-understudy-revision"] == STABLE
        assert (g.plane.answered, g.plane.refused) == (2, {})


@pytest.mark.slow
async def test_who_is_answered_in_time_gets_no_heartbeat() -> None:
    async with engine(answers_well(*"abcdefgh", pace=0.15)) as e, gateway(one(e.port, timeouts=LATER)) as g:
        answer = await ask(g.port, ASKED)
        assert answer.text == "abcdefgh"
        assert HEARTBEAT not in answer.body
        assert set(who(answer)) == {None}
        assert answer.fields["x-understudy-revision"] == STABLE


async def test_each_deployment_says_for_itself_how_long_its_clients_hear_nothing() -> None:
    patient = table(name="poem", names=["poet"], timeouts={"heartbeatAfterSeconds": 60})
    async with engine(later(answers_well())) as e:
        slices = [endpoints(STABLE, [e.port]), endpoints(STABLE, [e.port], name="poem")]
        async with gateway(snapshot([table(), patient], slices), **SOON) as g:
            assert HEARTBEAT in (await ask(g.port, ASKED)).body
            e.script = slow(answers_well())
            assert HEARTBEAT not in (await ask(g.port, {**ASKED, "model": "poet"})).body


async def test_an_answer_in_one_piece_is_never_begun_early() -> None:
    async with engine(slow(answers_status(500))) as e, gateway(one(e.port, queue={"max": 0}), **SOON) as g:
        answer = await ask(g.port, chat())
        assert (answer.status, answer.code) == (503, "no_capacity")


async def test_what_an_engine_says_before_its_first_content_waits_for_that() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("")
        await beats()
        await asked.say("word")
        await asked.end_stream()

    async with engine(script) as e, gateway(one(e.port), **SOON) as g:
        answer = await ask(g.port, ASKED)
        assert answer.text == "word"
        assert who(answer) == [STABLE_ANSWERS, None, None]


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_the_client_that_waits_for_an_engine_hears_of_it_too(version: bytes) -> None:
    async with engine() as e, gateway(snapshot([table()]), **SOON) as g, client(g.port) as c:
        await c.send(request(ASKED).replace(b"HTTP/1.1", version))
        await c.until(HEARTBEAT)
        g.change(one(e.port))
        answer = await c.answer()
        assert (answer.text, answer.done, who(answer)[0]) == ("once upon a time", True, STABLE_ANSWERS)


async def test_the_head_says_that_the_connection_ends_where_it_does() -> None:
    async with engine(later(answers_well())) as e, gateway(one(e.port), **SOON) as g, client(g.port) as c:
        answer = await c.ask(ASKED, connection="close")
        assert (answer.done, answer.fields["connection"]) == (True, "close")
        assert await c.ended()


async def test_when_waiting_has_an_end_that_is_an_event_and_the_connection_goes_on() -> None:
    async with gateway(snapshot([table(queue={"deadlineSeconds": 60})]), **SOON) as g, client(g.port) as c:
        for _ in range(2):
            await c.send(request(ASKED))
            await c.until(HEARTBEAT)
            g.later(61)
            assert error(await c.answer()) == "queue_timeout"
        assert (g.plane.answered, g.plane.refused) == (0, {"queue_timeout": 2})
        assert len(g.plane.queue) == 0


async def test_heartbeats_give_no_engine_more_time() -> None:
    document = one(0, timeouts={"firstTokenSeconds": 60}, queue={"max": 0})
    async with engine(hangs) as a, engine(hangs) as b:
        document["endpoints"] = [endpoints(STABLE, [a.port, b.port])]
        async with gateway(document, **SOON) as g, client(g.port) as c:
            await c.send(request(ASKED))
            for attempt in (1, 2):
                await until(lambda attempt=attempt: len(a.asked) + len(b.asked) == attempt)  # type: ignore[misc]
                await beats()
                g.later(50)
                await beats()
                assert g.state(STABLE).errors["firstToken"] == attempt - 1
                g.later(11)
            async with asyncio.timeout(40):
                assert error(await c.answer()) == "first_token_timeout"
            assert g.state(STABLE).errors["firstToken"] == 2


FAILURES = [
    pytest.param(answers_status(503), "engine_error", "5xx", id="status"),
    pytest.param(resets, "poison", "connect", id="reset"),
]


@pytest.mark.parametrize(("script", "code", "kind"), FAILURES)
async def test_a_request_that_no_engine_answers_ends_in_an_event(script: Script, code: str, kind: str) -> None:
    async with engine(later(script)) as a, engine(later(script)) as b:
        document = snapshot([table(queue={"max": 0})], [endpoints(STABLE, [a.port, b.port])])
        async with gateway(document, **SOON) as g:
            assert error(await ask(g.port, ASKED)) == code
            # Nobody is blamed for poison.
            assert g.state(STABLE).errors[kind] == (0 if code == "poison" else 2)


async def test_a_failed_attempt_is_still_followed_by_another() -> None:
    async with engine() as stable, engine(later(resets)) as candidate:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [candidate.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices), **SOON) as g:
            answer = await ask(g.port, ASKED)
            assert HEARTBEAT in answer.body
            assert (answer.text, answer.done, who(answer)[0]) == ("once upon a time", True, STABLE_ANSWERS)
            assert (g.state(CANARY).errors["connect"], g.state(STABLE).failed) == (1, 0)


async def test_a_name_that_stands_in_is_said_in_the_first_event() -> None:
    tables = [
        table(fallback=["plain"], queue={"deadlineSeconds": 60}),
        table({CANARY: 100}, name="plain", names=["plain"]),
    ]
    async with engine() as e:
        document = snapshot(tables, [endpoints(CANARY, [e.port], name="plain")])
        async with gateway(document, **SOON) as g, client(g.port) as c:
            await c.send(request(ASKED))
            await c.until(HEARTBEAT)
            g.later(61)
            answer = await c.answer()
            assert who(answer)[0] == {"revision": CANARY, "track": "stable", "fallback": "plain"}
            assert "x-understudy-fallback" not in answer.fields


async def test_what_an_engine_refuses_is_an_event_that_says_which_one_did() -> None:
    async with engine(later(answers_status(422))) as e, gateway(one(e.port), **SOON) as g:
        answer = await ask(g.port, ASKED)
        assert error(answer) == "engine_refused"
        assert who(answer) == [STABLE_ANSWERS]
        assert answer.events[0]["error"]["message"] == "it is 422 for storyteller"
        assert (g.state(STABLE).rejected_4xx, g.plane.refused) == (1, {"engine_refused": 1})


async def test_a_candidate_that_is_gone_in_the_meantime_is_an_event() -> None:
    tables = [table({STABLE: 100, CANARY: 0})]
    async with gateway(snapshot(tables, [], [access_key(chooses=True)]), **SOON) as g, client(g.port) as c:
        await c.send(request(ASKED, x_understudy_variant="candidate"))
        await c.until(HEARTBEAT)
        g.change(snapshot([table(generation=2)], [], [access_key(chooses=True)]))
        assert error(await c.answer()) == "no_candidate"


async def test_responses_have_their_own_events() -> None:
    async with engine(later(responses.streams("a", "b"))) as e, gateway(one(e.port), **SOON) as g:
        answer = await ask(g.port, responses.body(stream=True), "/v1/responses")
        beats, _, first = bytes(answer.body).partition(b"event: response.created\n")
        assert beats.replace(HEARTBEAT, b"") == b""
        assert first.count(b'"understudy":{"revision":"%b","track":"stable"}}\n\n' % STABLE.encode()) == 1
        e.script = later(answers_status(404))
        g.change(one(e.port, queue={"max": 0}, generation=2))
        broken = await ask(g.port, responses.body(stream=True), "/v1/responses")
        assert b'event: error\ndata: {"message":' in broken.body
        assert b'"code":"no_capacity"' in broken.body
        assert b'"sequence_number":0' in broken.body


@pytest.mark.parametrize("waits_for", ["an engine", "an answer"])
async def test_who_goes_between_two_heartbeats_is_forgotten_at_once(waits_for: str) -> None:
    async with (
        engine(hangs) as e,
        gateway(one(e.port) if waits_for == "an answer" else snapshot([table()]), heartbeat_seconds=3600) as g,
    ):
        async with client(g.port) as c:
            await c.send(request(ASKED))
            await c.until(HEARTBEAT)
        async with asyncio.timeout(30):
            await until(lambda: not g.plane.connections)
        assert len(g.plane.queue) == 0
        if waits_for == "an answer":
            await asyncio.wait_for(e.asked[0].closed.wait(), 30)
            await g.quiet()
            assert g.state(STABLE).failed == 0


@pytest.mark.slow
async def test_the_official_client_passes_heartbeats_over_and_can_tell_who_answered() -> None:
    async with engine(later(answers_well())) as e, gateway(one(e.port), **SOON) as g, talking(g) as official:
        stream = await official.chat.completions.create(model="storyteller", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "once upon a time"
        assert (chunks[0].model_extra or {})["understudy"] == STABLE_ANSWERS
        e.script = later(responses.streams("a", "b"))
        events = [event async for event in await official.responses.create(model="storyteller", input="x", stream=True)]
        assert [event.type for event in events][-1] == "response.completed"
        assert (events[0].model_extra or {})["understudy"] == STABLE_ANSWERS


@pytest.mark.slow
async def test_the_official_client_raises_what_comes_instead_of_the_first_word() -> None:
    async with (
        engine(later(answers_status(503))) as e,
        gateway(one(e.port, queue={"max": 0}), **SOON) as g,
        talking(g, retries=2) as official,
    ):
        stream = await official.chat.completions.create(model="storyteller", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="no engine is ready") as raised:
            await anext(aiter(stream))
        assert raised.value.code == "no_capacity"
        response = await official.responses.create(model="storyteller", input="x", stream=True)
        with pytest.raises(openai.APIError, match="no engine is ready"):
            await anext(aiter(response))
