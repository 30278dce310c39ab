"""Requests as bytes: what is refused on the wire, in which state that leaves the connection, and every way to cut."""

import asyncio

import orjson
import pytest

from tests.gateway.clients import CHAT, ask, chat, client, exchange, request
from tests.gateway.engines import Asked, engine
from tests.gateway.gateways import gateway, until
from tests.gateway.policy.test_head import SMUGGLING
from tests.gateway.worlds import KEY, STABLE, access_key, endpoints, snapshot, table

BODY = orjson.dumps(chat())
CHUNKS = {"content_length": "", "transfer_encoding": "chunked"}


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def head_only(**fields: str) -> bytes:
    """A request's head without its body."""
    return request(BODY, **fields).removesuffix(BODY)


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
async def test_the_smuggling_corpus_is_refused_and_what_follows_is_never_read(raw: bytes) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        answer, ended = await exchange(g.port, raw + request() + request())
        assert answer.status == 400
        assert answer.fields["connection"] == "close"
        assert ended
        assert e.asked == []


@pytest.mark.parametrize(
    "tail",
    [
        b"1;x=y\r\na\r\n0\r\n\r\n",
        b"zz\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\na\n0\n\n",
        b"0\r\nnot a trailer\r\n\r\n",
        b"1\r\na\r\n0\r\nX y\r\n\r\n",
    ],
)
async def test_a_malformed_chunked_body_ends_the_connection(tail: bytes) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        answer, ended = await exchange(g.port, head_only(**CHUNKS) + tail + request())
        assert (answer.status, ended) == (400, True)
        assert e.asked == []


async def test_a_smuggled_request_in_a_body_stays_a_body() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        inner = request(chat("inner")).decode()
        await c.send(head_only(**CHUNKS) + chunked(orjson.dumps(chat(inner))))
        assert (await c.answer()).status == 200
        await c.send(request(chat("outer")))
        assert (await c.answer()).status == 200
        assert [asked.body["messages"][0]["content"] for asked in e.asked] == [inner, "outer"]


@pytest.mark.parametrize("framing", [{}, CHUNKS], ids=["length", "chunks"])
async def test_one_byte_at_a_time(framing: dict[str, str]) -> None:
    body = chunked(BODY[:20], BODY[20:]) if framing else BODY
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        for _ in range(2):
            for byte in head_only(**framing) + body:
                await c.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await c.answer()).status == 200


async def test_every_cut_of_two_requests_in_two_reads() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        raw = request() + head_only(**CHUNKS) + chunked(BODY)
        for cut in range(0, len(raw), 23):
            await c.send(raw[:cut])
            await asyncio.sleep(0.002)
            await c.send(raw[cut:])
            assert [(await c.answer()).status for _ in range(2)] == [200, 200]


async def test_bytes_that_come_before_the_pipelined_ones_are_looked_at_join_them() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        await c.send(b"")
        await until(lambda: bool(g.plane.connections))
        served = next(iter(g.plane.connections))
        second = head_only(**CHUNKS) + chunked(BODY)
        for cut in range(1, len(second), 7):
            # The first is answered within this call; what follows it waits for the next turn of the loop.
            served.data_received(request(BODY, authorization="") + second[:cut])
            served.data_received(second[cut:])
            assert [(await c.answer()).status for _ in range(2)] in ([401, 200], [429, 200])


async def test_a_header_that_is_too_long_is_refused_before_it_has_come() -> None:
    async with gateway(snapshot([table()])) as g:
        for field in (b"X: " + b"y" * 70_000, b"X: y\r\n" * 12_000):
            answer, ended = await exchange(g.port, b"GET / HTTP/1.1\r\nHost: a\r\n" + field)
            assert (answer.status, answer.code, ended) == (431, "headers_too_large", True)
        answer, _ = await exchange(g.port, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 12_000 + b"\r\n")
        assert answer.status == 431


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 10, b"{}", b"GET / HTTP/1.1\nHost: a\n"])
async def test_what_cannot_become_a_request_is_refused_at_once(junk: bytes) -> None:
    async with gateway(snapshot([table()])) as g, client(g.port) as c:
        await c.send(junk)
        assert (await c.answer()).status == 400
        assert await c.ended()


async def test_a_body_that_is_too_large_is_refused_before_it_has_come() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), max_body=1000) as g:
        answer, ended = await exchange(g.port, head_only(content_length="1001"))
        assert (answer.status, answer.code, ended) == (413, "body_too_large", True)
        answer, ended = await exchange(g.port, head_only(**CHUNKS) + b"3e9\r\n")
        assert (answer.status, ended) == (413, True)
        assert (await ask(g.port, chat("x" * 800))).status == 200


async def test_bodies_in_memory_are_bounded_and_given_back() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document, body_pool=10_000) as g, client(g.port) as slow:
            await slow.send(head_only(content_length="6000") + b"{")
            await until(lambda: g.plane.bodies.used == 6000)
            for framing in ({}, CHUNKS):
                large = orjson.dumps(chat("x" * 5000))
                raw = head_only(**framing) if framing else request(large).removesuffix(large)
                async with client(g.port) as c:
                    await c.send(raw + (chunked(large) if framing else large))
                    answer = await c.answer()
                    assert (answer.status, answer.code) == (503, "busy")
                    assert "retry-after" in answer.fields
            slow.writer.transport.abort()
            await until(lambda: g.plane.bodies.used == 0)
            assert (await ask(g.port, chat("x" * 5000))).status == 200
            assert (g.plane.bodies.used, g.plane.documents.used) == (0, 0)


async def test_slow_bodies_of_one_key_leave_room_for_those_of_others() -> None:
    keys = [access_key(), access_key("us-other", source="s/other")]
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])], keys)
        async with gateway(document, body_pool=60_000) as g, client(g.port) as slow, client(g.port) as second:
            await slow.send(head_only(content_length="40000"))
            await until(lambda: g.plane.bodies.used == 40_000)
            await second.send(head_only(content_length="1000"))
            answer = await second.answer()
            assert (answer.status, answer.code, answer.fields["retry-after"]) == (503, "busy", "1")
            assert (await ask(g.port, chat("x" * 10_000), authorization="Bearer us-other")).status == 200


async def test_slow_bodies_from_one_address_leave_room_where_there_are_no_keys() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document, body_pool=60_000, open_access=True) as g:
            _, slow = await asyncio.open_connection("127.0.0.1", g.port, local_addr=("127.0.0.2", 0))
            slow.write(head_only(content_length="40000"))
            await until(lambda: g.plane.bodies.used == 40_000)
            assert (await ask(g.port)).status == 200
            reader, second = await asyncio.open_connection("127.0.0.1", g.port, local_addr=("127.0.0.2", 0))
            second.write(request())
            assert b" 503 " in await reader.readline()
            second.transport.abort()
            slow.transport.abort()


@pytest.mark.parametrize("framing", [{}, CHUNKS], ids=["length", "chunks"])
async def test_a_body_that_stalls_after_it_came_fast_is_a_408(framing: dict[str, str]) -> None:
    async with gateway(snapshot([table()]), body_seconds=0.3) as g, client(g.port) as c:
        begun = b"c350\r\n" if framing else b""
        await c.send(head_only(**(framing or {"content_length": "50000"})) + begun + b" " * 40_000)
        # By now it may have taken forty seconds at the least rate.
        answer = await asyncio.wait_for(c.answer(), 60)
        assert (answer.status, answer.code) == (408, "body_timeout")
        assert await c.ended()


async def test_what_bodies_are_read_into_is_bounded_and_given_back() -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await gate.wait()
        await asked.answer(200, {"choices": []})

    dense = orjson.dumps({**chat(), "metadata": {"x": ["ab"] * 20_000}})
    async with engine(script) as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document, document_pool=4_000_000) as g:
            asking = [asyncio.ensure_future(ask(g.port, dense)) for _ in range(6)]
            await e.request()
            await until(lambda: g.plane.refused.get("busy", 0) >= 4)
            assert g.plane.documents.used <= g.plane.documents.most
            assert g.plane.documents.used > len(dense)
            gate.set()
            answers = [await one for one in asking]
            assert {answer.status for answer in answers} == {200, 503}
            assert g.plane.documents.used == 0
            wide = await ask(g.port, chat("\U0001f98a" * 10 + "x" * 700_000))
            assert (wide.status, wide.code) == (413, "body_too_large")
            assert (await ask(g.port, chat("x" * 700_000))).status == 200


async def test_ten_megabytes_of_prompt() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        body = chat("x" * 10_000_000)
        assert (await ask(g.port, body)).status == 200
        assert len(e.asked[0].body["messages"][0]["content"]) == 10_000_000


async def test_permission_to_go_on_comes_only_after_the_key() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        async with client(g.port) as c:
            await c.send(head_only(expect="100-continue"))
            assert await c.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await c.send(BODY)
            assert (await c.answer()).status == 200
        async with client(g.port) as c:
            await c.send(head_only(expect="100-continue", authorization="Bearer wrong"))
            assert (await c.answer()).status == 401
            assert await c.ended()
        async with client(g.port) as c:
            assert (await c.ask(expect="100-continue")).status == 200


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"authorization": ""}, 401, "invalid_api_key"),
        ({"authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        ({"authorization": f"Basic {KEY}"}, 401, "invalid_api_key"),
        ({"content_type": "text/plain"}, 415, "unsupported_media_type"),
        ({"content_encoding": "gzip"}, 415, "unsupported_encoding"),
        ({"expect": "something"}, 417, "expectation_failed"),
        ({"path": "/v1/nothing"}, 404, "unknown_path"),
        ({"path": "/v1/chat/completions?api-version=1"}, 400, "bad_path"),
        ({"path": "/v1/%63hat/completions"}, 400, "bad_path"),
        ({"method": "GET"}, 405, "method_not_allowed"),
        ({"method": "DELETE"}, 405, "method_not_allowed"),
    ],
)
async def test_a_refused_head_is_answered_in_openais_shape(fields: dict[str, str], status: int, code: str) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        answer, _ = await exchange(g.port, request(BODY, **fields))
        assert (answer.status, answer.code) == (status, code)
        assert set(answer.json["error"]) == {"message", "type", "code", "param"}
        assert "x-request-id" in answer.fields
        assert answer.fields["x-should-retry"] == "false"
        assert ("allow" in answer.fields) == (status == 405)
        assert e.asked == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[1]", None),
        (b'{"model":"storyteller","model":"x"}', None),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", None),
        (b'{"model":"\xff"}', None),
        (b'{"messages":[]}', "model"),
        (b'{"model":"storyteller","messages":[]}', "messages"),
        (b'{"model":"storyteller","messages":[1],"chat_template":"x"}', "chat_template"),
        (b'{"model":"storyteller","messages":[1],"cache_salt":"x"}', "cache_salt"),
    ],
)
async def test_a_bad_body_leaves_the_connection_in_order(body: bytes, param: str | None) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        answer = await c.ask(body)
        assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_request", param)
        assert (await c.ask()).status == 200
        assert len(e.asked) == 1


async def test_a_deployment_says_what_else_may_be_asked_of_it() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://img.example.com/a.png"}}]
    seen = chat(stream_interval=2, messages=[{"role": "user", "content": picture}])
    async with engine() as e:
        tables = [
            table(extraFields=["stream_interval"], mediaHosts=["img.example.com"]),
            table(name="other", names=("other",), extraFields=["stream_interval"]),
        ]
        slices = [endpoints(STABLE, [e.port]), endpoints(STABLE, [e.port], name="other")]
        async with gateway(snapshot(tables, slices)) as g:
            assert (await ask(g.port, seen)).status == 200
            assert e.asked[0].body["stream_interval"] == 2
            other = await ask(g.port, {**seen, "model": "other"})
            assert (other.status, other.code, other.json["error"]["param"]) == (400, "invalid_request", "messages")
            unknown = await ask(g.port, chat(mm_payload="none"))
            assert (unknown.status, unknown.code) == (400, "unknown_parameter")
            assert unknown.json["error"]["param"] == "mm_payload"
            assert len(e.asked) == 1


async def test_fields_of_a_model_that_a_key_may_not_use_tell_nothing_about_it() -> None:
    keys = [access_key(names="mine")]
    async with gateway(snapshot([table()], [], keys)) as g:
        for body in (chat(), chat(anything=1), chat(n=1000)):
            assert (await ask(g.port, body)).status == 404


async def test_wrong_keys_are_slowed_down_right_ones_are_not() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        g.plane.clock = lambda: 1000.0
        statuses = [(await ask(g.port, authorization="Bearer x")).status for _ in range(15)]
        assert statuses == [401] * 10 + [429] * 5
        assert (await ask(g.port)).status == 200


async def test_a_header_that_does_not_come_is_a_408() -> None:
    async with gateway(snapshot([table()]), header_seconds=0.1) as g, client(g.port) as c:
        await c.send(b"GET / HTTP/1.1\r\nHost")
        answer = await c.answer()
        assert (answer.status, answer.code) == (408, "header_timeout")
        assert await c.ended()


async def test_bytes_that_drip_do_not_hold_a_header_open() -> None:
    async with gateway(snapshot([table()]), header_seconds=0.2) as g, client(g.port) as c:
        asking = asyncio.ensure_future(c.answer())
        while not asking.done():
            await c.send(b"G")
            await asyncio.sleep(0.01)
        assert (await asking).status == 408


@pytest.mark.parametrize("framing", [{"content_length": "500"}, CHUNKS], ids=["length", "chunks"])
async def test_a_body_that_does_not_come_is_a_408(framing: dict[str, str]) -> None:
    async with gateway(snapshot([table()]), body_seconds=0.1) as g, client(g.port) as c:
        await c.send(head_only(**framing) + b"1\r\n")
        answer = await c.answer()
        assert (answer.status, answer.code) == (408, "body_timeout")
        assert await c.ended()


async def test_a_slow_body_that_keeps_coming_is_waited_for() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document, body_seconds=30, body_rate=0.05) as g, client(g.port) as c:
            await c.send(head_only())
            for number, byte in enumerate(BODY[:-1], 1):
                await c.send(bytes([byte]))
                await until(lambda number=number: [len(one._body) for one in g.plane.connections] == [number])  # type: ignore[misc]
                # Eleven seconds for each: it is looked at now and then, and there is always something new.
                g.later(11)
                g.plane.sweep()
            await c.send(BODY[-1:])
            assert (await c.answer()).status == 200


async def test_an_idle_connection_ends() -> None:
    async with engine() as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with (
            gateway(document, idle_seconds=0.5, header_seconds=0.5) as g,
            client(g.port) as c,
            client(g.port) as d,
        ):
            assert (await c.ask()).status == 200
            assert await c.ended()
            assert await d.ended()
            await until(lambda: not g.plane.connections)


async def test_a_client_that_pipelines_without_bound_is_cut_off() -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await gate.wait()
        await asked.answer(200, {"choices": []})

    async with (
        engine(script) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g,
        client(g.port) as c,
    ):
        await c.send(request())
        await e.request()
        flood = request() * 50
        sent = 0
        while sent < 2_000_000:
            await c.send(flood)
            sent += len(flood)
        await until(lambda: not any(connection.head.keep_alive for connection in g.plane.connections))
        gate.set()
        answer = await c.answer()
        assert answer.fields["connection"] == "close"
        assert len(e.asked) == 1


async def test_unknown_paths_do_not_need_a_key() -> None:
    async with gateway(snapshot([table()])) as g:
        assert (await ask(g.port, b"", "/", method="GET", authorization="")).status == 404


def test_the_corpus_is_for_the_path_that_serves() -> None:
    assert CHAT == "/v1/chat/completions"
