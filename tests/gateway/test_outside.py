"""Questions to servers that are not ours: to no forbidden address, no further than told, and for no longer."""

import asyncio
import ssl
from pathlib import Path

import orjson
import pytest

from tests.gateway.certificates import certify, issue
from tests.gateway.detectors import anywhere, drips, floods
from tests.gateway.engines import Asked, answers_status, chunk, engine, hangs, resets, sends
from understudy.gateway.outside import AskError, Outside
from understudy.guard.served.codec import MAX_ANSWER, Question

QUESTION = Question("/v1/moderations", {"input": "\u00fc"}, {"detector-id": "d"})
LONG = 60.0


async def echoes(asked: Asked) -> None:
    await asked.answer(200, asked.body)


def outside(port: int, **more: str) -> Outside:
    return Outside(more.get("url", f"http://127.0.0.1:{port}"), more.get("authority", ""), allowed=anywhere)


async def refusal(server: Outside, seconds: float = LONG) -> str:
    with pytest.raises(AskError) as refused:
        await server.ask(QUESTION, seconds)
    return str(refused.value)


async def test_a_question_is_one_post_and_its_answer_the_body() -> None:
    async with engine(echoes) as made:
        server = outside(made.port)
        assert orjson.loads(await server.ask(QUESTION, LONG)) == {"input": "\u00fc"}
        (asked,) = made.asked
        server.close()
    assert (asked.method, asked.path) == ("POST", "/v1/moderations")
    assert asked.fields == {
        "host": f"127.0.0.1:{made.port}",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "understudy-gateway",
        "detector-id": "d",
        "content-length": "14",
    }


async def test_a_connection_is_kept_for_the_next_question() -> None:
    async with engine(echoes) as made:
        server = outside(made.port)
        for _ in range(3):
            await server.ask(QUESTION, LONG)
        await asyncio.gather(*(server.ask(QUESTION, LONG) for _ in range(3)))
        assert made.connections == 3
        server.close()


async def test_a_kept_connection_that_has_ended_is_no_failure() -> None:
    async def once(asked: Asked) -> None:
        if len([each for each in made.asked if each.connection == asked.connection]) > 1:
            asked.reset()
        else:
            await asked.answer(200, asked.body)

    async with engine(once) as made:
        server = outside(made.port)
        for _ in range(3):
            await server.ask(QUESTION, LONG)
        # Two were reset and asked again, on connections of their own.
        assert (made.connections, len(made.asked)) == (3, 5)
        server.close()


@pytest.mark.parametrize("field", [b"Connection: close\r\n", b""])
async def test_a_connection_in_doubt_is_not_kept(field: bytes) -> None:
    extra = b"" if field else b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n"
    script = sends(b"HTTP/1.1 200 X\r\n%bContent-Length: 2\r\n\r\n[]%b" % (field, extra), then_close=False)
    async with engine(script) as made:
        server = outside(made.port)
        assert [await server.ask(QUESTION, LONG) for _ in range(2)] == [b"[]", b"[]"]
        assert made.connections == 2
        server.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"]
)
async def test_the_gateway_and_its_node_are_not_asked_whatever_they_are_called(host: str) -> None:
    async with engine(echoes) as made:
        server = Outside(f"http://{host}:{made.port}")
        assert await refusal(server) in (
            "its name leads to the gateway itself or its node, which are not asked",
            "its name is not known",
        )
        server.close()
        assert made.connections == 0


async def test_one_forbidden_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Outside("http://guard.example:9")

    async def look_up() -> tuple[str, ...]:
        return ("203.0.113.7", "127.0.0.1")

    monkeypatch.setattr(server, "_look_up", look_up)
    assert "which are not asked" in await refusal(server)


async def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine(echoes) as made:
        # A name that does not exist: if it were looked up once more on the way, nobody would be found.
        server = Outside(f"http://rebound.invalid:{made.port}", allowed=anywhere)

        async def look_up() -> tuple[str, ...]:
            return ("127.0.0.1",)

        monkeypatch.setattr(server, "_look_up", look_up)
        await server.ask(QUESTION, LONG)
        assert made.asked[0].fields["host"] == f"rebound.invalid:{made.port}"
        server.close()


async def test_a_name_that_is_not_known_is_looked_up_once_for_all_that_ask() -> None:
    server = Outside("http://nobody.invalid", allowed=anywhere)
    looked_up = 0
    look_up = server._look_up

    async def counted() -> tuple[str, ...]:
        nonlocal looked_up
        looked_up += 1
        return await look_up()

    server._look_up = counted  # type: ignore[method-assign]
    results = await asyncio.gather(*(server.ask(QUESTION, LONG) for _ in range(20)), return_exceptions=True)
    assert {str(result) for result in results} == {"its name is not known"}
    assert looked_up == 1
    server.close()


async def test_whoever_gives_up_does_not_end_the_lookup_of_the_others() -> None:
    async with engine(echoes) as made:
        server = outside(made.port)
        go = asyncio.Event()

        async def slow() -> tuple[str, ...]:
            await go.wait()
            return ("127.0.0.1",)

        server._look_up = slow  # type: ignore[method-assign]
        patient = asyncio.ensure_future(server.ask(QUESTION, LONG))
        with pytest.raises(TimeoutError):
            await server.ask(QUESTION, 0.01)
        go.set()
        assert await patient == b'{"input":"\xc3\xbc"}'
        server.close()


async def test_whoever_asks_one_that_is_let_go_while_its_name_is_looked_up_hears_so() -> None:
    server = outside(1)

    begun = asyncio.Event()

    async def never() -> tuple[str, ...]:
        begun.set()
        await asyncio.Event().wait()
        return ()

    server._look_up = never  # type: ignore[method-assign]
    asking = asyncio.ensure_future(server.ask(QUESTION, LONG))
    await begun.wait()
    server.close()
    with pytest.raises(AskError, match="let go"):
        await asking


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with engine(echoes) as other:
        location = f"Location: http://127.0.0.1:{other.port}/\r\n".encode()
        script = sends(b"HTTP/1.1 %d X\r\n%bContent-Length: 0\r\n\r\n" % (status, location))
        async with engine(script) as made:
            server = outside(made.port)
            assert await refusal(server) == f"status {status}: redirects are not followed"
            server.close()
        assert other.connections == 0


@pytest.mark.parametrize("status", [100, 103, 201, 204, 400, 404, 429, 500, 503])
async def test_any_status_but_200_is_no_answer(status: int) -> None:
    async with engine(answers_status(status, {"error": "sorry"})) as made:
        server = outside(made.port)
        # What has no body by its status must not have one.
        assert await refusal(server) in (f"status {status}", *(["no HTTP"] if status in (100, 103, 204) else []))
        server.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]", "compressed"),
        (b"220 mail.example ESMTP\r\n", "no HTTP"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]", "no HTTP"),
        (b"HTTP/1.1 200 X\r\nX: " + b"x" * 100_000, "more around the answer"),
        (
            b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;%b\r\n \r\n" % (b"x" * 100) * 1000,
            "more around",
        ),
        (b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b" " * 40_000) * 2, "more than 65536 bytes"),
    ],
)
async def test_what_is_no_short_answer_is_none(answer: bytes, why: str) -> None:
    async with engine(sends(answer, then_close=False)) as made:
        server = outside(made.port)
        assert why in await refusal(server)
        server.close()


async def test_no_more_is_read_than_an_answer_may_have() -> None:
    exact = b"[" + b" " * (MAX_ANSWER - 2) + b"]"
    async with engine(sends(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % MAX_ANSWER + exact)) as made:
        server = outside(made.port)
        assert await server.ask(QUESTION, LONG) == exact
        made.script = floods
        assert await refusal(server) == "more than 65536 bytes"
        server.close()


@pytest.mark.parametrize("script", [hangs, drips])
async def test_nobody_is_waited_for_longer_than_told(script: object) -> None:
    async with engine(script) as made:  # type: ignore[arg-type]
        server = outside(made.port)
        seconds = 0.05
        # A busy machine may not have come as far as to ask by then.
        while not made.asked:
            with pytest.raises(TimeoutError):
                await server.ask(QUESTION, seconds)
            seconds *= 4
        await made.asked[0].closed.wait()
        server.close()


async def test_a_reset_and_a_port_that_nobody_listens_on_are_failures() -> None:
    async with engine(resets) as made:
        server = outside(made.port)
        with pytest.raises(OSError, match=r"."):
            await server.ask(QUESTION, LONG)
    assert await refusal(server) == "no connection"
    server.close()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("detectors")
    (root / "ca").mkdir()
    certify(root / "ca", "ca")
    issue(root / "server", root / "ca", "server", "subjectAltName=DNS:localhost")
    return root


async def test_only_whom_its_authority_has_signed_is_trusted_and_only_under_its_name(papers: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / "server" / "tls.crt", papers / "server" / "tls.key")
    authority = (papers / "ca" / "tls.crt").read_text()
    async with engine(echoes, context) as made:
        trusted = outside(0, url=f"https://localhost:{made.port}", authority=authority)
        assert await trusted.ask(QUESTION, LONG) == b'{"input":"\xc3\xbc"}'
        trusted.close()
        for url, signed_by in (
            (f"https://localhost:{made.port}", ""),
            (f"https://127.0.0.1:{made.port}", authority),
            (f"https://localhost:{made.port}", (papers / "server" / "tls.crt").read_text().replace("\n", "\n")),
        ):
            server = outside(0, url=url, authority=signed_by)
            if signed_by and signed_by != authority:
                # Whoever is named is trusted, under another authority or not.
                await server.ask(QUESTION, LONG)
            else:
                assert (await refusal(server)).startswith("no TLS: CERTIFICATE_VERIFY_FAILED")
            server.close()


async def test_an_authority_that_is_none_is_said() -> None:
    with pytest.raises(ssl.SSLError):
        Outside("https://guard.example", "no certificate")
