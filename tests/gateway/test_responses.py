"""`/v1/responses`: named events under the client's name for the model, and every way in which one can go wrong."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.gateway.clients import Answer, ask, client
from tests.gateway.engines import Asked, Script, chunk, engine
from tests.gateway.gateways import gateway
from tests.gateway.worlds import CANARY, STABLE, endpoints, snapshot, table

RESPONSES = "/v1/responses"


def one(port: int) -> dict[str, Any]:
    return snapshot([table()], [endpoints(STABLE, [port])])


def body(**more: Any) -> dict[str, Any]:
    return {"model": "storyteller", "input": "hi", **more}


def response(model: str, text: str = "", **more: Any) -> dict[str, Any]:
    """A response as vLLM says it; without a text it has only begun."""
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    status = "completed" if text else "in_progress"
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": status}
    return {**head, "output": output if text else [], "usage": usage if text else None, **more}


def event(kind: str, number: int, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (
        kind.encode(),
        orjson.dumps({"type": kind, "sequence_number": number, **more}),
    )


def events(model: str, *tokens: str, last: str = "response.completed") -> list[bytes]:
    said = [event("response.output_text.delta", 2 + i, delta=token) for i, token in enumerate(tokens)]
    end = event(last, 2 + len(tokens), response=response(model, "".join(tokens) or "-"))
    begun = [
        event(f"response.{kind}", i, response=response(model)) for i, kind in enumerate(("created", "in_progress"))
    ]
    return [*begun, *said, end]


def streams(*tokens: str, last: str = "response.completed", upto: int | None = None) -> Script:
    """Streams a response; `upto` so many events, and then the connection is gone."""

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for piece in events(asked.model, *tokens, last=last)[:upto]:
            await asked.send(chunk(piece))
            await asyncio.sleep(0.01)
        if upto is None:
            await asked.send(b"0\r\n\r\n")
        else:
            asked.reset()

    return script


def heard(answer: Answer) -> list[tuple[str, dict[str, Any]]]:
    """Names and payloads of the events of an answer."""
    found = []
    for part in answer.body.split(b"\n\n")[:-1]:
        name, data = part.split(b"\n")
        found.append((name.removeprefix(b"event: ").decode(), orjson.loads(data.removeprefix(b"data: "))))
    return found


async def test_events_come_under_their_names_and_under_the_clients_name_for_the_model() -> None:
    async with engine(streams("once", " upon")) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, body(stream=True), RESPONSES)
        assert (answer.status, answer.complete) == (200, True)
        found = heard(answer)
        assert [name for name, _ in found] == [
            "response.created", "response.in_progress", *["response.output_text.delta"] * 2, "response.completed",
        ]  # fmt: skip
        assert all(name == payload["type"] for name, payload in found)
        assert {p["response"]["model"] for _, p in found if "response" in p} == {"storyteller"}
        assert b"story-" not in answer.body
        assert e.asked[0].body == {
            "model": e.asked[0].model, "input": "hi", "stream": True, "store": False,
            "cache_salt": e.asked[0].body["cache_salt"],
        }  # fmt: skip
        state = g.state(STABLE)
        assert (state.attempts, state.failed, state.empty) == (1, 0, 0)
        assert (state.tokens_in, state.tokens_out) == (7, 3)
        assert sum(state.ttft) == 1
        assert sum(state.itl) >= 1


async def test_the_engines_connection_is_kept_after_a_response() -> None:
    async with engine(streams("a")) as e, gateway(one(e.port)) as g:
        for _ in range(3):
            assert (await ask(g.port, body(stream=True), RESPONSES)).complete
        assert e.connections == 1


async def test_a_response_that_was_cut_short_is_whole() -> None:
    async with engine(streams("a", last="response.incomplete")) as e, gateway(one(e.port)) as g:
        found = heard(await ask(g.port, body(stream=True), RESPONSES))
        assert found[-1][0] == "response.incomplete"
        assert g.state(STABLE).failed == 0


async def test_a_response_without_a_word_is_an_answer_and_counted() -> None:
    async with engine(streams()) as e, gateway(one(e.port)) as g:
        assert heard(await ask(g.port, body(stream=True), RESPONSES))[-1][0] == "response.completed"
        assert (g.state(STABLE).attempts, g.state(STABLE).empty) == (1, 1)


async def test_a_whole_response() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, response(asked.model, said[0]))

    said = ["once"]
    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, body(store=True), RESPONSES)
        assert (answer.status, answer.json["model"]) == (200, "storyteller")
        assert e.asked[0].body["store"] is False
        said[0] = ""
        assert (await ask(g.port, body(), RESPONSES)).status == 200
        state = g.state(STABLE)
        assert (state.attempts, state.empty, state.tokens_in, state.tokens_out) == (2, 1, 7, 3)


async def test_a_response_that_failed_is_the_engines_failure() -> None:
    async def fails(asked: Asked) -> None:
        await asked.answer(200, response(asked.model, "x", status="failed"))

    async def well(asked: Asked) -> None:
        await asked.answer(200, response(asked.model, "well"))

    async with engine(well) as good, engine(fails) as bad:
        slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [bad.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices)) as g:
            answer = await ask(g.port, body(), RESPONSES)
            assert answer.fields["x-understudy-revision"] == STABLE
            assert g.state(CANARY).errors["5xx"] == 1


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (event("response.created", 0, response=response("another")), "malformed"),
        (event("response.created", 0, response={}), "malformed"),
        (b"data: {\n\n", "malformed"),
        (b"data: [1]\n\n", "malformed"),
        (b'data: {"type": 7}\n\n', "malformed"),
        (b'data: {"type": "a\\ndata: b"}\n\n', "malformed"),
        (b"data: [DONE]\n\n", "malformed"),
        (event("error", 0, message="no"), "5xx"),
        (event("response.failed", 0), "5xx"),
    ],
)
async def test_a_bad_stream_goes_to_stable_before_the_first_word_and_is_told_after_it(bad: bytes, kind: str) -> None:
    def breaks_after(count: int) -> Script:
        async def script(asked: Asked) -> None:
            await asked.begin_stream()
            for piece in events(asked.model, "a")[:count]:
                await asked.send(chunk(piece))
            await asyncio.sleep(0.05)
            await asked.send(chunk(bad))
            await asked.closed.wait()

        return script

    async with engine(streams("well")) as good, engine(breaks_after(0)) as poor:
        slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [poor.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices)) as g:
            answer = await ask(g.port, body(stream=True), RESPONSES)
            assert answer.fields["x-understudy-revision"] == STABLE
            assert heard(answer)[-1][0] == "response.completed"
            assert g.state(CANARY).errors[kind] == 1
    async with engine(breaks_after(3)) as poor, gateway(one(poor.port)) as g:
        answer = await ask(g.port, body(stream=True), RESPONSES)
        name, told = heard(answer)[-1]
        assert (name, told["type"], told["sequence_number"]) == ("error", "error", 3)
        assert told["code"] == told["error"]["code"] == "engine_error"
        assert answer.complete


@pytest.mark.parametrize("upto", range(6))
async def test_an_engine_that_is_lost_before_the_first_word_costs_the_client_nothing(upto: int) -> None:
    async with engine(streams("well")) as good, engine(streams("a", "b", "c", upto=upto)) as bad:
        slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [bad.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices)) as g:
            answer = await ask(g.port, body(stream=True), RESPONSES)
            found = heard(answer)
            if upto <= 2:
                assert (answer.fields["x-understudy-revision"], found[-1][0]) == (STABLE, "response.completed")
            else:
                assert (answer.fields["x-understudy-revision"], found[-1][0]) == (CANARY, "error")
                assert found[-1][1]["error"]["code"] == "engine_lost"
                assert found[-1][1]["sequence_number"] == upto
            assert g.state(CANARY).failed == 1


@pytest.mark.parametrize("number", [2**53, 2**64 - 1, -(2**53), "three", True])
async def test_a_number_that_cannot_be_is_not_counted_on_from(number: Any) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for piece in (*events(asked.model, "a")[:2], event("response.output_text.delta", number, delta="a")):
            await asked.send(chunk(piece))
        await asyncio.sleep(0.02)
        asked.reset()

    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, body(stream=True), RESPONSES)
        assert answer.complete
        assert [told["sequence_number"] for _, told in heard(answer)] == [0, 1, number, 3]


async def test_what_needs_memory_is_refused_and_the_connection_stays_in_order() -> None:
    async with engine(streams("a")) as e, gateway(one(e.port)) as g, client(g.port) as c:
        for more in ({"previous_response_id": "resp_1"}, {"tools": [{"type": "web_search"}]}, {"background": True}):
            answer = await c.ask(body(**more), RESPONSES)
            assert (answer.status, answer.code) == (400, "unsupported")
        assert (await c.ask(body(stream=True), RESPONSES)).status == 200
        assert len(e.asked) == 1


async def test_nothing_of_a_stored_response_can_be_asked_for() -> None:
    async with gateway(snapshot([table()])) as g:
        for method, path in (("GET", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel")):
            assert (await ask(g.port, b"", path, method=method, content_length="")).status == 404


@pytest.mark.slow
async def test_turns_of_one_conversation_stay_together() -> None:
    async with engine(streams("a")) as stable, engine(streams("a")) as candidate:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [candidate.port])]
        async with gateway(snapshot([table({STABLE: 50, CANARY: 50})], slices)) as g:
            for number in range(20):
                turns = [{"role": "user", "content": f"hello {number}"}, {"role": "assistant", "content": "hi"}]
                seen = set()
                for _ in range(3):
                    turns.append({"role": "user", "content": "go on"})
                    answer = await ask(g.port, body(stream=True, input=turns), RESPONSES)
                    seen.add(answer.fields["x-understudy-revision"])
                assert len(seen) == 1
            assert g.plane.conversations["content"] == 60
            assert stable.asked
            assert candidate.asked
