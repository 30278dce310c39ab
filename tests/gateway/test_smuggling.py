"""What a client could hope to have read differently behind the gateway: heads beside the corpus, trailers, texts.

The corpus of heads is in `policy/test_head.py` and sent over the wire by `test_requests.py`; chunks are in
`policy/test_chunks.py`.
"""

import asyncio

import orjson
import pytest

from tests.gateway.clients import ask, chat, client, exchange, request
from tests.gateway.engines import Asked, completion, engine
from tests.gateway.gateways import gateway
from tests.gateway.test_requests import CHUNKS, chunked, head_only
from tests.gateway.worlds import KEY, STABLE, endpoints, snapshot, table

BODY = orjson.dumps(chat())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /v1/../v1/models HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET //v1/models HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /v1/models# HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /v1/models;x=y HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /V1/models HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (head_only(expect="something"), 417),
        (head_only(content_encoding="gzip"), 415),
    ],
)
async def test_after_a_refused_head_nothing_on_the_connection_is_read(raw: bytes, status: int) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        answer, ended = await exchange(g.port, raw + request() + request())
        assert (answer.status, ended) == (status, True)
        assert e.asked == []


async def test_trailers_are_dropped_and_mean_nothing() -> None:
    trailers = (
        b"Content-Length: 999\r\nTransfer-Encoding: chunked\r\nHost: other\r\nAuthorization: Bearer us-other\r\n"
        b"x-understudy-variant: candidate\r\nContent-Encoding: gzip\r\nExpect: 100-continue\r\nx-session-id: other\r\n"
    )
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        for _ in range(2):
            await c.send(head_only(**CHUNKS) + chunked(BODY).removesuffix(b"\r\n") + trailers + b"\r\n")
            assert (await c.answer()).status == 200
        assert [asked.body["messages"] for asked in e.asked] == [chat()["messages"]] * 2
        assert e.asked[0].raw_head == e.asked[1].raw_head
        assert b"999" not in e.asked[0].raw_head
        assert b"other" not in e.asked[0].raw_head


async def test_head_of_a_path_with_a_body_is_refused_without_one() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        await c.send(head_only(content_length="").replace(b"POST", b"HEAD", 1))
        raw = await c.reader.readuntil(b"\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 405 ")
        await c.send(request())
        # Nothing of a body came before it: the next answer begins where the head ended.
        assert (await c.answer()).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-32"),
        BODY + b"\x00",
        BODY + BODY,
        b"\x00" + BODY,
        BODY.replace(b"hi", b"\xc3\x28"),
        BODY.replace(b"hi", b"\xed\xa0\x80"),
        BODY.replace(b"hi", b"\xc0\xaf"),
        BODY.replace(b"hi", b"\xf4\x90\x80\x80"),
        BODY.replace(b"hi", b"\\ud800"),
        BODY.replace(b"hi", b"\n"),
        BODY.replace(b'"hi"', b"NaN"),
        BODY.replace(b'"hi"', b"Infinity"),
        BODY.replace(b'"hi"', b"01"),
        BODY.replace(b'"hi"', b"'hi'"),
        BODY.replace(b'"hi"', b'"hi",'),
        BODY.replace(b'"hi"', b'"hi"/**/'),
        BODY.replace(b'"messages"', b'"model":"other","messages"'),
        BODY.replace(b'"messages"', b'"m\\u006fdel":"other","messages"'),
    ],
)
async def test_a_text_that_is_not_one_json_object_in_utf_8_goes_nowhere(body: bytes) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        answer = await c.ask(body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert (await c.ask()).status == 200
        assert len(e.asked) == 1


async def test_what_is_forwarded_is_written_anew_from_what_was_read() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, completion(asked.model))

    spelt = (
        '{ "mod\\u0065l" : "storyteller" ,\t"\\u006dessages":[{"role":"us\\u0065r","content":"\\u00e9\\/"}],\n'
        '"temperature":1.0E0, "seed":1}'
    )
    async with engine(script) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        assert (await ask(g.port, spelt.encode())).status == 200
        asked = e.asked[0]
        assert asked.body["messages"] == [{"role": "user", "content": "é/"}]
        written = {
            "model": asked.model, "messages": [{"role": "user", "content": "é/"}], "temperature": 1.0, "seed": 1,
            "cache_salt": asked.body["cache_salt"],
        }  # fmt: skip
        assert int(asked.fields["content-length"]) == len(orjson.dumps(written))


async def test_bytes_beyond_ascii_in_header_values_reach_nobody() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g, client(g.port) as c:
        raw = head_only().replace(b"host: gateway", b"host: gateway\r\nx-odd: \xff\xc3\x28\r\nx-session-id: \xff\xfe")
        await c.send(raw + BODY)
        assert (await c.answer()).status == 200
        assert b"\xff" not in e.asked[0].raw_head
        wrong = head_only().replace(KEY.encode(), KEY.encode() + b"\xff")
        await c.send(wrong + BODY)
        assert (await c.answer()).status == 401


async def test_an_answer_read_byte_by_byte_and_written_byte_by_byte() -> None:
    async def script(asked: Asked) -> None:
        raw = orjson.dumps(completion(asked.model))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw)
        for byte in head + raw:
            await asked.send(bytes([byte]))
            await asyncio.sleep(0)

    async with (
        engine(script) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g,
        client(g.port) as c,
    ):
        for byte in request():
            await c.send(bytes([byte]))
            await asyncio.sleep(0)
        raw = bytearray()
        while not raw.endswith(b"}}"):
            raw += await c.reader.readexactly(1)
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (await c.ask()).status == 200
        assert e.connections == 1


GOOD = orjson.dumps(completion(f"story-{STABLE}"))
KIND = b"Content-Type: application/json\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 199 X\r\n\r\n",
        *(
            b"HTTP/1.1 200 OK\r\n%bContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (KIND, coding, len(GOOD), GOOD)
            for coding in (b"gzip", b"br", b"zstd", b"deflate", b"GZIP", b"identity, gzip")
        ),
        b"HTTP/1.1 200 OK\r\n%bContent-Length: 3\r\nContent-Length: %d\r\n\r\n%b" % (KIND, len(GOOD), GOOD),
        b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (KIND, len(GOOD), GOOD),
        b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b" % KIND,
        b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\nzz\r\n" % KIND,
        b"HTTP/1.1 200 OK\r\n%bX : y\r\n\r\n" % KIND,
        b"HTTP/1.1 200 OK\r\n%bX\x00: y\r\n\r\n" % KIND,
        b"HTTP/1.1 200 OK\r\n%b%b\r\n" % (KIND, b"X: y\r\n" * 200),
        b"HTTP/3.7 200 OK\r\n%b\r\n" % KIND,
        b"220 smtp.example.com ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
async def test_an_engine_is_read_as_strictly_and_such_a_connection_is_never_used_again(raw: bytes) -> None:
    async def script(asked: Asked) -> None:
        await asked.send(raw)
        await asyncio.sleep(0.05)
        asked.writer.close()

    async with engine(script) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        answer = await ask(g.port)
        assert answer.status == 502
        assert answer.code in ("bad_answer", "engine_lost", "poison")
        assert len(e.asked) == e.connections == 2
        assert len({asked.connection for asked in e.asked}) == 2


async def test_a_connection_on_which_a_client_gave_up_is_never_used_again() -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        if asked.connection == 1:
            await gate.wait()
        await asked.answer(200, completion(asked.model))

    async with engine(script) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        async with client(g.port) as c:
            await c.send(request(chat("first")))
            asked = await e.request()
        await asyncio.wait_for(asked.closed.wait(), 30)
        gate.set()
        assert (await ask(g.port, chat("second"))).text == "once upon a time"
        assert e.connections == 2
