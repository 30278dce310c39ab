"""A request and its answer: names, headers, streams, usage, keep-alive."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_status, answers_well, completion, engine, sends, stream_bytes
from tests.gateway.gateways import gateway
from tests.gateway.worlds import KEY, MASTER, STABLE, access_key, endpoints, snapshot, table
from understudy.domain.names import engine_key


def one(port: int) -> dict[str, Any]:
    return snapshot([table()], [endpoints(STABLE, [port])])


async def test_a_whole_answer_comes_back_under_the_name_that_was_asked_for() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.text, answer.json["model"]) == (200, "once upon a time", "storyteller")
        assert e.asked[0].model == f"story-{STABLE}"
        other = await ask(g.port, {**chat(), "model": "default/story"})
        assert other.json["model"] == "default/story"


async def test_a_stream_comes_back_event_by_event_under_that_name() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, chat(stream=True))
        assert (answer.status, answer.text, answer.done, answer.complete) == (200, "once upon a time", True, True)
        assert {event["model"] for event in answer.events[:-1]} == {"storyteller"}
        assert answer.fields["content-type"].startswith("text/event-stream")
        assert answer.fields["cache-control"] == "no-cache"


async def test_the_client_is_told_who_answered() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        for body in (chat(), chat(stream=True)):
            answer = await ask(g.port, body, x_request_id="mine-1")
            assert answer.fields["x-understudy-revision"] == STABLE
            assert answer.fields["x-understudy-track"] == "stable"
            assert len(answer.fields["x-request-id"]) == 26
            assert answer.fields["x-client-request-id"] == "mine-1"
        answer = await ask(g.port, x_request_id="not fit")
        assert "x-client-request-id" not in answer.fields


async def test_headers_to_the_engine_are_built_not_copied() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with engine() as e, gateway(one(e.port)) as g:
        await ask(
            g.port, cookie="secret", forwarded="for=x", x_forwarded_for="1.2.3.4", connection="x-thing", x_thing="1",
            x_understudy_revision="x", traceparent=trace, x_session_id="s",
        )  # fmt: skip
        asked = e.asked[0]
        assert asked.fields == {
            "host": f"story-{STABLE}",
            "authorization": f"Bearer {engine_key(MASTER, 'default', 'story', STABLE)}",
            "content-type": "application/json",
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-length": asked.fields["content-length"],
            "traceparent": trace,
        }
        await ask(g.port, chat(stream=True), traceparent="00-bad")
        assert e.asked[1].fields["accept"] == "text/event-stream"
        assert "traceparent" not in e.asked[1].fields


async def test_nothing_of_the_engines_head_reaches_the_client() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, completion(asked.model), "Set-Cookie: a=b\r\nServer: uvicorn\r\nX-Pod: pod-7\r\n")

    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port)
        assert set(answer.fields) == {
            "content-type", "content-length", "x-request-id", "x-understudy-revision", "x-understudy-track",
        }  # fmt: skip


async def test_without_a_master_key_engines_are_asked_without_one() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])], master=b"")
        async with gateway(document) as g:
            await ask(g.port)
        assert "authorization" not in e.asked[0].fields


async def test_tenants_do_not_share_the_engines_prefix_cache() -> None:
    keys = [access_key(), access_key("us-other", source="s/other")]
    async with engine() as e:
        async with gateway(snapshot([table()], [endpoints(STABLE, [e.port])], keys)) as g:
            for key in (KEY, KEY, "us-other"):
                await ask(g.port, authorization=f"Bearer {key}")
            await ask(g.port, {"model": "storyteller", "input": "x"}, "/v1/embeddings")
        salts = [asked.body.get("cache_salt") for asked in e.asked]
    assert salts[0] == salts[1] != salts[2]
    assert salts[3] is None


async def test_usage_is_asked_for_and_told_only_to_who_wants_it() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        plain = await ask(g.port, chat(stream=True))
        wanted = await ask(g.port, chat(stream=True, stream_options={"include_usage": True}))
        assert all("usage" not in event for event in plain.events[:-1])
        assert wanted.events[-2]["usage"]["completion_tokens"] == 3
        assert all(asked.body["stream_options"]["include_usage"] for asked in e.asked)
        state = g.state(STABLE)
        assert (state.tokens_in, state.tokens_out) == (14, 6)


async def test_without_usage_the_events_are_counted() -> None:
    async with engine(sends(lambda model: stream_bytes(model, "a", "b"))) as e, gateway(one(e.port)) as g:
        assert (await ask(g.port, chat(stream=True))).done
        assert g.state(STABLE).tokens_out == 3


async def test_evidence_of_good_answers() -> None:
    async with engine(answers_well("a", "b", pace=0.01)) as e, gateway(one(e.port)) as g:
        await ask(g.port)
        await ask(g.port, chat(stream=True))
        await g.quiet()
        state = g.state(STABLE)
        assert (state.attempts, state.failed, state.rejected_4xx, state.empty) == (2, 0, 0, 0)
        assert sum(state.ttft) == 1
        assert sum(state.itl) >= 1
        assert (state.open_requests, state.usable_endpoints) == (0, 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_without_a_word_is_an_answer_and_counted(stream: bool) -> None:
    async def script(asked: Asked) -> None:
        if stream:
            await asked.begin_stream()
            await asked.end_stream()
        else:
            await asked.answer(200, completion(asked.model, ""))

    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, chat(stream=stream))
        assert (answer.status, answer.text) == (200, "")
        assert (g.state(STABLE).attempts, g.state(STABLE).empty) == (1, 1)


async def test_other_paths_pass_through() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, {"path": asked.path, "count": 3, "model": asked.model})

    async with engine(script) as e, gateway(one(e.port)) as g:
        bodies: dict[str, dict[str, Any]] = {
            "/v1/embeddings": {"input": "x"},
            "/tokenize": {"prompt": "x"},
            "/detokenize": {"tokens": [1]},
            "/rerank": {"query": "x", "documents": ["y"]},
            "/v1/rerank": {"query": "x", "documents": ["y"]},
            "/score": {"text_1": "x", "text_2": "y"},
            "/v1/score": {"queries": "x", "documents": ["y"]},
        }
        for number, (path, body) in enumerate(bodies.items()):
            answer = await ask(g.port, {"model": "storyteller", **body}, path)
            assert answer.json == {"path": path, "count": 3, "model": "storyteller"}
            assert e.asked[number].body == {"model": e.asked[number].model, **body}


async def test_the_engines_own_refusal_is_passed_on_in_our_words() -> None:
    body = {"error": {"message": "MODEL cannot do this", "type": "x", "param": "temperature", "code": 400}}

    async def script(asked: Asked) -> None:
        await asked.answer(422, orjson.dumps(body).replace(b"MODEL", asked.model.encode()), "X-Pod: p\r\n")

    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port)
        assert answer.status == 422
        assert answer.json["error"] == {
            "message": "storyteller cannot do this",
            "type": "invalid_request_error",
            "code": "engine_refused",
            "param": "temperature",
        }
        state = g.state(STABLE)
        assert (state.attempts, state.rejected_4xx, state.failed) == (1, 1, 0)


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"error":"text"}', b'{"object":"error","message":"old style"}'])
async def test_a_refusal_of_any_shape_becomes_ours(body: bytes) -> None:
    async with engine(answers_status(400, body)) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (400, "engine_refused")
        assert answer.json["error"]["message"] in ("the engine refused the request", "old style")


async def test_one_connection_serves_request_after_request() -> None:
    async with engine() as e, gateway(one(e.port)) as g, client(g.port) as c:
        for body in (chat(), chat(stream=True), chat()):
            answer = await c.ask(body)
            assert answer.status == 200
            assert answer.complete
        assert (await c.ask(chat(), authorization="")).status == 401
        assert (await c.ask(chat())).status == 200
        assert e.connections == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with engine() as e, gateway(one(e.port)) as g, client(g.port) as c:
        bodies = [chat("1"), chat("2", stream=True), {"model": "none", "messages": [1]}, chat("3")]
        await c.send(b"".join(request(body) for body in bodies) + request(method="GET", path="/v1/models", body=b""))
        answers = [await c.answer() for _ in range(5)]
        assert [a.status for a in answers] == [200, 200, 404, 200, 200]
        assert [asked.body["messages"][0]["content"] for asked in e.asked] == ["1", "2", "3"]
        assert answers[1].done


async def test_thousands_of_pipelined_refusals_do_not_nest() -> None:
    async with gateway(snapshot()) as g, client(g.port) as c:
        await c.send(request(b"", "/v1/models", "GET", authorization="Bearer x", content_length="") * 1000)
        assert {(await c.answer()).status for _ in range(1000)} <= {401, 429}


async def test_a_client_may_ask_for_the_end_of_the_connection() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        for body in (chat(), chat(stream=True)):
            async with client(g.port) as c:
                answer = await c.ask(body, connection="close")
                assert answer.fields["connection"] == "close"
                assert answer.complete
                assert await c.ended()


async def test_http_1_0_gets_its_stream_without_chunks() -> None:
    async with engine() as e, gateway(one(e.port)) as g, client(g.port) as c:
        await c.send(request(chat(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0"))
        raw = await c.reader.read(-1)
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body.endswith(b"data: [DONE]\n\n")
        assert body.startswith(b"data: {")


async def test_models_lists_the_names_that_the_key_may_use() -> None:
    keys = [access_key(), access_key("us-a", source="s/a", namespaces="a"), access_key("us-n", source="s/n", names="x")]
    tables = [
        table(),
        table(name="x", namespace="a", names=("x", "y")),
        table(name="bare", namespace="a", names=()),
    ]
    async with gateway(snapshot(tables, [], keys)) as g:

        async def names(key: str) -> list[str]:
            answer = await ask(g.port, b"", "/v1/models", method="GET", authorization=f"Bearer {key}")
            assert answer.json["object"] == "list"
            return [card["id"] for card in answer.json["data"]]

        assert await names(KEY) == ["a/bare", "storyteller", "x", "y"]
        assert await names("us-a") == ["a/bare", "x", "y"]
        assert await names("us-n") == ["x", "y"]


async def test_head_of_models_has_no_body() -> None:
    async with gateway(snapshot([table()])) as g, client(g.port) as c:
        await c.send(request(b"", "/v1/models", "HEAD", content_length=""))
        await c.send(request(b"", "/v1/models", "GET", content_length=""))
        raw = b""
        while raw.count(b"HTTP/1.1") < 2 or not raw.endswith(b"}"):
            raw += await c.reader.read(65536)
        first, second = raw.split(b"HTTP/1.1")[1:]
        assert first.endswith(b"\r\n\r\n")
        assert second.endswith(b'"owned_by":"default"}]}')


async def test_a_name_that_is_unknown_and_one_that_is_not_allowed_look_alike() -> None:
    keys = [access_key(names="other")]
    async with gateway(snapshot([table()], [], keys)) as g:
        hidden = await ask(g.port)
        unknown = await ask(g.port, {**chat(), "model": "nonesuch"})
        assert (hidden.status, hidden.code) == (unknown.status, unknown.code) == (404, "model_not_found")
        assert hidden.json["error"]["message"].replace("storyteller", "nonesuch") == unknown.json["error"]["message"]


async def test_open_access_asks_for_no_key() -> None:
    async with engine() as e, gateway(one(e.port), open_access=True) as g:
        assert (await ask(g.port, authorization="")).status == 200


async def test_a_revoked_key_is_refused_at_once() -> None:
    async with engine() as e, gateway(one(e.port)) as g:
        assert (await ask(g.port)).status == 200
        g.world.key_gone("understudy-system/key")
        g.world.compile()
        assert (await ask(g.port)).status == 401


@pytest.mark.slow
async def test_many_at_the_same_time() -> None:
    async with engine(answers_well("a", "b", pace=0.001)) as e, gateway(one(e.port)) as g:
        answers = await asyncio.gather(*(ask(g.port, chat(str(i), stream=i % 2 == 0)) for i in range(200)))
        assert {a.status for a in answers} == {200}
        assert all(a.text == "ab" for a in answers)
        await g.quiet()
        assert g.state(STABLE).attempts == 200
