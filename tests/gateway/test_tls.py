"""TLS to clients: what official clients see, reloads under load, and ends that lose nothing."""

import asyncio
import signal
import ssl
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from openai import AsyncOpenAI

from tests.gateway.certificates import EC, RSA, certify, sign
from tests.gateway.clients import chat, client, exchange, request
from tests.gateway.engines import Asked, answers_well, engine, holds_streams
from tests.gateway.gateways import gateway, until
from tests.gateway.processes import launch, process
from tests.gateway.worlds import KEY, STABLE, endpoints, snapshot, table
from understudy.gateway.pair import Pair

MESSAGES: Any = [{"role": "user", "content": "Begin a story."}]


def official(port: int, trust: ssl.SSLContext, **limits: Any) -> AsyncOpenAI:
    """The official client, which looks at the certificate and never tries again."""
    http = httpx2.AsyncClient(verify=trust, limits=httpx2.Limits(**limits))
    return AsyncOpenAI(base_url=f"https://localhost:{port}/v1", api_key=KEY, max_retries=0, http_client=http)


async def test_the_official_client_is_answered_whole_and_streamed(tmp_path: Path) -> None:
    trust = sign(tmp_path, "story")
    async with (
        engine() as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        official(g.port, trust) as c,
    ):
        answer = await c.chat.completions.create(model="storyteller", messages=MESSAGES)
        assert answer.choices[0].message.content == "once upon a time"
        stream = await c.chat.completions.create(model="storyteller", messages=MESSAGES, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "once upon a time"


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["h2"], []], ids=str)
async def test_http_1_1_is_what_is_agreed_on(tmp_path: Path, offered: list[str]) -> None:
    trust = certify(tmp_path, "story")
    trust.set_alpn_protocols(offered)
    async with gateway(snapshot(), pair=Pair(tmp_path)) as g, client(g.port, trust) as c:
        agreed = c.writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert agreed == ("http/1.1" if "http/1.1" in offered else None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    trust = certify(tmp_path, "story")
    trust.minimum_version = trust.maximum_version = version
    async with (
        engine() as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        client(g.port, trust) as c,
    ):
        assert (await c.ask()).text == "once upon a time"
        # On the same connection again: what a request left behind would be seen here.
        assert (await c.ask(chat(stream=True))).done


async def test_nothing_below_tls_1_2_is_spoken(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        trust.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        trust.maximum_version = ssl.TLSVersion.TLSv1_1
    pair = Pair(tmp_path)
    async with gateway(snapshot(), pair=pair) as g:
        with pytest.raises(ssl.SSLError, match="alert protocol version"):
            async with client(g.port, trust):
                pass
        assert pair.failed == {"handshake": 1, "plain_http": 0}
        await until(lambda: not g.plane.connections)


async def test_who_speaks_plain_http_is_told_so(tmp_path: Path) -> None:
    certify(tmp_path, "story")
    pair = Pair(tmp_path)
    async with gateway(snapshot(), pair=pair) as g:
        answer, ended = await exchange(g.port, request())
        assert (answer.status, answer.code, ended) == (400, "tls_required", True)
        assert "https://" in answer.json["error"]["message"]
        assert pair.failed == {"handshake": 0, "plain_http": 1}
        await until(lambda: not g.plane.connections)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01"])
async def test_who_does_not_come_to_tls_in_time_is_sent_away(tmp_path: Path, first: bytes) -> None:
    certify(tmp_path, "story")
    async with gateway(snapshot(), pair=Pair(tmp_path), header_seconds=0.1) as g, client(g.port) as c:
        await c.send(first)
        assert await c.ended()
        assert not g.plane.connections


async def test_nonsense_after_the_handshake_ends_that_connection_alone(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    async with (
        engine() as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        client(g.port, trust) as good,
    ):
        assert (await good.ask()).status == 200
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", g.port)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        writer.write(outgoing.read() + b"\x17\x03\x03\x00\x20" + b"x" * 32)
        while await reader.read(65536):
            pass
        writer.close()
        assert (await good.ask()).status == 200
        await until(lambda: len(g.plane.connections) == 1)


async def test_what_follows_a_request_that_ended_the_connection_is_not_heard(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    async with (
        engine() as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        client(g.port, trust) as c,
    ):
        # Two records in one packet.
        c.writer.writelines([b"NONSENSE\r\n\r\n", request()])
        await c.send(request())
        answer = await c.answer()
        assert (answer.status, answer.fields["connection"]) == (400, "close")
        assert await c.ended()
        assert e.asked == []


async def test_every_byte_may_come_alone(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g:
        over = asyncio.Event()

        # A relay that cuts what the client says into single bytes.
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up, down = await asyncio.open_connection("127.0.0.1", g.port)

            async def back() -> None:
                while data := await up.read(65536):
                    writer.write(data)

            going_back = asyncio.ensure_future(back())
            try:
                while data := await reader.read(65536):
                    for byte in data:
                        down.write(bytes([byte]))
                        await asyncio.sleep(0)
            finally:
                down.close()
                await asyncio.wait([going_back])
                writer.close()
                over.set()

        async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
            async with client(server.sockets[0].getsockname()[1], trust) as c:
                assert (await c.ask()).text == "once upon a time"
            # Who goes on after the test is cut off in the middle, and then its loop cannot be closed.
            await over.wait()


@pytest.mark.slow
async def test_certificates_change_under_load_and_no_request_fails(tmp_path: Path) -> None:
    trust = certify(tmp_path, "first", RSA)
    pair = Pair(tmp_path)
    answered = 0
    async with (
        engine(answers_well("a", "b", "c", pace=0.002)) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=pair) as g,
    ):
        over = False

        async def ask_on(limits: dict[str, Any]) -> None:
            nonlocal answered
            while not over:
                # Who trusts every certificate so far is what a client with the CA's is.
                async with official(g.port, trust, **limits) as c:
                    for _ in range(3):
                        stream = await c.chat.completions.create(model="storyteller", messages=MESSAGES, stream=True)
                        assert [x.choices[0].delta.content async for x in stream if x.choices][:3] == ["a", "b", "c"]
                        answered += 1

        clients = [{}, {"max_keepalive_connections": 0}, {"max_keepalive_connections": 0}]
        async with asyncio.TaskGroup() as tasks:
            for limits in clients:
                tasks.create_task(ask_on(limits))
            for number in range(10):
                good = (tmp_path / "tls.crt").read_bytes()
                # A half-written pair first, then the whole.
                (tmp_path / "tls.crt").write_text("none")
                await asyncio.to_thread(pair.look)
                (tmp_path / "tls.crt").write_bytes(good)
                kind = RSA if number % 2 else EC
                await asyncio.to_thread(certify, tmp_path, f"n{number}", kind)
                trust.load_verify_locations(tmp_path / "tls.crt")
                await asyncio.to_thread(pair.look)
                seen = answered
                await until(lambda seen=seen: answered >= seen + 6)  # type: ignore[misc]
            over = True
    assert (pair.taken, pair.refused, pair.failed) == (11, 10, {"handshake": 0, "plain_http": 0})
    assert answered >= 60
    assert g.plane.refused == {}


async def test_an_open_connection_keeps_its_certificate_and_a_new_one_gets_the_new(tmp_path: Path) -> None:
    first = certify(tmp_path, "first", RSA)
    pair = Pair(tmp_path)
    async with (
        engine() as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=pair) as g,
        client(g.port, first) as before,
    ):
        assert (await before.ask()).status == 200
        second = certify(tmp_path, "second")
        pair.look()
        assert (await before.ask()).status == 200
        async with client(g.port, second) as after:
            assert (await after.ask()).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            async with client(g.port, first):
                pass


@pytest.mark.slow
async def test_a_slow_reader_gets_all_of_the_answer_that_ends_its_connection(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    text = "x" * 8_000_000
    async with (
        engine(answers_well(text)) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        client(g.port, trust) as c,
    ):
        await c.send(request(connection="close"))
        # Longer than a connection lingers that owes nothing.
        await asyncio.sleep(3)
        assert (await c.answer()).text == text
        assert await c.ended()
        await until(lambda: not g.plane.connections)


@pytest.mark.slow
async def test_a_client_that_reads_nothing_is_ended_and_holds_little(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    sent = 0

    async def script(asked: Asked) -> None:
        nonlocal sent
        await asked.begin_stream()
        while not asked.closed.is_set():
            await asked.say("x" * 50_000)
            sent += 50_000

    async with (
        engine(script) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path), slow_reader_seconds=0.5) as g,
        client(g.port, trust) as c,
    ):
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await c.send(request(chat(stream=True)))
        await asyncio.wait_for((await e.request()).closed.wait(), 30)
        await until(lambda: not g.plane.connections)
    # What the kernel's buffers take on the way is most of it.
    assert sent < 32_000_000


@pytest.mark.parametrize("politely", [True, False], ids=["good-bye", "reset"])
async def test_an_engine_stops_when_the_client_goes(tmp_path: Path, politely: bool) -> None:
    trust = certify(tmp_path, "story")
    async with (
        engine(answers_well(*["x"] * 10_000, pace=0.01)) as e,
        gateway(snapshot([table()], [endpoints(STABLE, [e.port])]), pair=Pair(tmp_path)) as g,
        client(g.port, trust) as c,
    ):
        await c.send(request(chat(stream=True)))
        await c.until(b"x")
        if politely:
            c.writer.close()
        else:
            c.writer.transport.abort()
        await asyncio.wait_for((await e.request()).closed.wait(), 30)
        await until(lambda: not g.plane.connections)


def written(folder: Path, document: dict[str, Any]) -> str:
    path = folder / "snapshot.json"
    path.write_bytes(orjson.dumps(document))
    return f"--snapshot={path}"


@pytest.mark.slow
async def test_sigterm_lets_streams_over_tls_end_and_takes_requests_a_little_longer(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    finish = asyncio.Event()

    async with engine(holds_streams(finish)) as e:
        file = written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))
        flags = (file, "--grace=3s", "--shutdown-timeout=60s", f"--tls-dir={tmp_path}")
        async with process(*flags) as p, client(p.port, trust) as streaming:
            await streaming.send(request(chat(stream=True)))
            await streaming.until(b"one")
            assert 'understudy_tls_pairs_taken_total{kind="clients"} 1.0' in (await p.get("/metrics"))[1]
            p.child.send_signal(signal.SIGTERM)

            async def unready() -> bool:
                return (await p.get("/readyz"))[0] == 503

            await until(unready)
            async with client(p.port, trust) as late:
                answer = await late.ask()
                assert (answer.status, answer.fields["connection"]) == (200, "close")
                assert await late.ended()
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", p.port)
                except ConnectionError:
                    break
                writer.transport.abort()
                await asyncio.sleep(0.05)
            finish.set()
            answer = await streaming.answer()
            assert (answer.done, answer.complete) == (True, True)
            assert await streaming.ended()
            assert await asyncio.wait_for(p.child.wait(), 60) == 0


async def test_a_gateway_does_not_start_with_what_is_no_pair(tmp_path: Path) -> None:
    child = await launch(written(tmp_path, snapshot()), f"--tls-dir={tmp_path}", "--port=0", "--admin-port=0")
    _, errors = await child.communicate()
    assert child.returncode == 2
    assert f"understudy gateway: {tmp_path}/tls.crt cannot be read" in errors.decode()
