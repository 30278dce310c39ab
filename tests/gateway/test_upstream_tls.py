"""TLS to engines: who is trusted, what is shown, what becomes of connections when either changes."""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from tests.gateway.certificates import EC, certify, issue
from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_well, engine, hangs, holds_streams, resets
from tests.gateway.gateways import gateway, until
from tests.gateway.processes import launch, process
from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from understudy.gateway.pair import Pair, PairError, gauges
from understudy.gateway.upstream_tls import UpstreamTls

SERVICE = f"story-{STABLE}.default.svc"


@dataclass
class Papers:
    """Folders with certificates that are made once for all tests."""

    root: Path
    ca: Path
    other_ca: Path

    def of(self, name: str, names: str = f"DNS:{SERVICE}", *, ca: Path | None = None, days: int = 2) -> Path:
        """An engine's certificate."""
        folder = self.root / name
        if not folder.exists():
            issue(folder, ca or self.ca, name, f"subjectAltName={names}", days)
        return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    root = tmp_path_factory.mktemp("papers")
    for name in ("ca", "other-ca"):
        (root / name).mkdir()
        certify(root / name, name)
    return Papers(root, root / "ca", root / "other-ca")


def shown(folder: Path, asks: Path | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """An engine that shows the certificate of a folder and takes only clients of the CA in `asks`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    if asks is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(asks / "tls.crt")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def trust(folder: Path, ca: Path, own: Path | None = None) -> UpstreamTls:
    """Files of the gateway: whom it trusts, and what it shows."""
    shutil.copy(ca / "tls.crt", folder / "ca.crt")
    if own is not None:
        for name in ("tls.crt", "tls.key"):
            shutil.copy(own / name, folder / name)
    return UpstreamTls(folder)


def files(tls: UpstreamTls) -> Pair:
    """Those in its folder."""
    assert tls.files is not None
    return tls.files


def one(port: int, **more: Any) -> dict[str, Any]:
    """Whoever is not served at once is told so."""
    return snapshot([table(queue={"max": 0}, tls=True, **more)], [endpoints(STABLE, [port])])


@pytest.mark.parametrize("names", [f"DNS:{SERVICE}", "DNS:*.default.svc"])
async def test_an_engine_with_the_name_of_its_service_is_asked_by_it(
    tmp_path: Path, papers: Papers, names: str
) -> None:
    asked_for = []
    context = shown(papers.of(names.replace("*", "all"), names))
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    async with (
        engine(tls=context) as e,
        gateway(one(e.port), engine_tls=trust(tmp_path, papers.ca)) as g,
        client(g.port) as c,
    ):
        assert (await c.ask()).text == "once upon a time"
        answer = await c.ask(chat("x" * 200_000, stream=True))
        assert (answer.text, answer.done) == ("once upon a time", True)
        assert e.asked[1].body["messages"][0]["content"] == "x" * 200_000
        # One connection for both.
        assert (asked_for, e.connections) == ([SERVICE], 1)


BAD_ENGINES: dict[str, Callable[[Papers], Path]] = {
    "unable to get local issuer certificate": lambda p: p.of("foreign", ca=p.other_ca),
    f"Hostname mismatch, certificate is not valid for '{SERVICE}'": lambda p: p.of("elsewhere", "DNS:*.other.svc"),
    "certificate has expired": lambda p: p.of("old", days=-1),
    "unsuitable certificate purpose": lambda p: p.of("client", f"DNS:{SERVICE}\nextendedKeyUsage=clientAuth"),
    "self-signed certificate": lambda p: p.other_ca,
}


@pytest.mark.parametrize(("reason", "shows"), BAD_ENGINES.items(), ids=BAD_ENGINES)
async def test_who_is_not_to_be_trusted_gets_no_request(
    tmp_path: Path, papers: Papers, caplog: pytest.LogCaptureFixture, reason: str, shows: Callable[[Papers], Path]
) -> None:
    tls = trust(tmp_path, papers.ca)
    async with engine(tls=shown(shows(papers))) as e, gateway(one(e.port), engine_tls=tls) as g:
        for _ in range(2):
            answer = await ask(g.port)
            assert (answer.status, answer.code) == (503, "no_capacity")
        assert e.asked == []
        assert g.state(STABLE).errors["connect"] == 2
        assert tls.failed == {"untrusted": 2, "refused": 0}
        # Once: each request would say the same.
        (record,) = [r for r in caplog.records if r.name.endswith("upstream_tls")]
        assert record.message.startswith(
            f"engine 127.0.0.1:{e.port} of {SERVICE}: its certificate is not taken: {reason}"
        )
        kinds = g.plane.gauges()["understudy_engine_tls_failed_total"][1]
        assert kinds == {"untrusted": 2, "refused": 0}


async def test_another_engine_is_asked_in_the_place_of_one_that_is_not_trusted(tmp_path: Path, papers: Papers) -> None:
    good, bad = shown(papers.of("good")), shown(papers.of("foreign", ca=papers.other_ca))
    async with engine(tls=good) as a, engine(tls=bad) as b:
        document = snapshot([table(tls=True)], [endpoints(STABLE, [a.port, b.port])])
        async with gateway(document, engine_tls=trust(tmp_path, papers.ca)) as g, client(g.port) as c:
            assert {(await c.ask()).status for _ in range(20)} == {200}
            assert (len(a.asked), len(b.asked)) == (20, 0)


async def test_an_engine_without_tls_gets_no_request(tmp_path: Path, papers: Papers) -> None:
    tls = trust(tmp_path, papers.ca)

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server, gateway(one(server.sockets[0].getsockname()[1]), engine_tls=tls) as g:
        assert (await ask(g.port)).code == "no_capacity"
        assert tls.failed == {"untrusted": 0, "refused": 1}


async def test_nothing_below_tls_1_2_is_spoken(tmp_path: Path, papers: Papers) -> None:
    context = shown(papers.of("good"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with engine(tls=context) as e, gateway(one(e.port), engine_tls=trust(tmp_path, papers.ca)) as g:
        assert (await ask(g.port)).code == "no_capacity"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_engine_that_asks_who_asks_is_told(tmp_path: Path, papers: Papers, version: ssl.TLSVersion) -> None:
    context = shown(papers.of("good"), papers.ca, version)
    tls = trust(tmp_path, papers.ca, papers.of("gateway", "DNS:gateway"))
    async with engine(tls=context) as e, gateway(one(e.port), engine_tls=tls) as g:
        assert (await ask(g.port)).status == 200
        seen = e.asked[0].writer.get_extra_info("peercert")
        assert seen["subject"] == ((("commonName", "gateway"),),)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("own", ["none", "foreign"])
async def test_an_engine_that_does_not_take_the_gateways_certificate_is_out_and_the_request_is_not_to_blame(
    tmp_path: Path, papers: Papers, caplog: pytest.LogCaptureFixture, version: ssl.TLSVersion, own: str
) -> None:
    """By TLS 1.3 the request is under way when the engine says no, or nothing: it is no request that kills engines."""
    shows = papers.of("foreign client", "DNS:gateway", ca=papers.other_ca) if own == "foreign" else None
    tls = trust(tmp_path, papers.ca, shows)
    good = shown(papers.of("good"), papers.ca, version)
    async with engine(tls=good) as a, engine(tls=good) as b:
        document = snapshot([table(queue={"max": 0}, tls=True)], [endpoints(STABLE, [a.port, b.port])])
        async with gateway(document, engine_tls=tls) as g:
            assert (await ask(g.port)).code == "no_capacity"
            assert (a.asked, b.asked) == ([], [])
            assert g.state(STABLE).errors["connect"] == 2
            assert tls.failed == {"untrusted": 0, "refused": 2}
            assert "does it speak TLS, and take the gateway's certificate (tls.crt)?" in caplog.text


async def test_an_engine_that_says_no_before_it_is_asked_anything_has_refused_too(
    tmp_path: Path, papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    good = shown(papers.of("good"), papers.ca, ssl.TLSVersion.TLSv1_3)
    tls = trust(tmp_path, papers.ca)
    async with engine(tls=good) as e, gateway(one(e.port), engine_tls=tls) as g:
        loop = asyncio.get_running_loop()

        async def late(*where: Any, **how: Any) -> tuple[Any, Any]:
            made = await loop.create_connection(*where, **how)
            await until(lambda: made[1].transport is None)
            return made

        g.plane.pool._loop = SimpleNamespace(create_task=loop.create_task, create_connection=late)  # type: ignore[assignment]
        assert (await ask(g.port)).code == "no_capacity"
        assert (e.asked, g.state(STABLE).errors["connect"]) == ([], 1)
        assert tls.failed == {"untrusted": 0, "refused": 1}
        assert "does it speak TLS, and take the gateway's certificate (tls.crt)?" in caplog.text


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_request_that_kills_engines_is_found_out_as_without_tls(
    tmp_path: Path, papers: Papers, version: ssl.TLSVersion
) -> None:
    context = shown(papers.of("good"), version=version)
    async with engine(resets, tls=context) as a, engine(resets, tls=context) as b, engine(resets, tls=context) as c:
        document = snapshot([table(tls=True)], [endpoints(STABLE, [a.port, b.port, c.port])])
        tls = trust(tmp_path, papers.ca)
        async with gateway(document, engine_tls=tls) as g:
            assert (await ask(g.port)).code == "poison"
            assert len(a.asked + b.asked + c.asked) == 2
            assert tls.failed == {"untrusted": 0, "refused": 0}


async def test_whoever_is_trusted_no_more_is_asked_no_more_on_open_connections_either(
    tmp_path: Path, papers: Papers
) -> None:
    tls = trust(tmp_path, papers.ca)
    finish = asyncio.Event()

    async with (
        engine(holds_streams(finish), tls=shown(papers.of("good"))) as e,
        gateway(one(e.port), engine_tls=tls) as g,
        client(g.port) as streaming,
    ):
        await streaming.send(request(chat(stream=True)))
        await streaming.until(b"one")
        assert (await ask(g.port)).status == 200
        shutil.copy(papers.other_ca / "tls.crt", tmp_path / "ca.crt")
        files(tls).look()
        assert (await ask(g.port)).code == "no_capacity"
        # What has begun ends as it would have.
        finish.set()
        assert (await streaming.answer()).done
        await g.quiet()
        assert (await ask(g.port)).code == "no_capacity"
        assert len(e.asked) == 2


async def test_a_new_certificate_is_shown_on_new_connections_and_none_with_the_old_is_used(
    tmp_path: Path, papers: Papers
) -> None:
    tls = trust(tmp_path, papers.ca, papers.of("first", "DNS:gateway"))
    async with (
        engine(tls=shown(papers.of("good"), papers.ca)) as e,
        gateway(one(e.port), engine_tls=tls) as g,
        client(g.port) as c,
    ):
        for name in ("first", "second"):
            for file in ("tls.crt", "tls.key"):
                shutil.copy(papers.of(name, "DNS:gateway") / file, tmp_path / file)
            files(tls).look()
            for _ in range(2):
                assert (await c.ask()).status == 200
        subjects = [asked.writer.get_extra_info("peercert")["subject"][0][0][1] for asked in e.asked]
        assert subjects == ["first", "first", "second", "second"]
        assert e.connections == 2
        shown_ = gauges({"engines": files(tls)})
        assert shown_["understudy_tls_pairs_taken_total"][1] == {"engines": 2}


async def test_two_deployments_at_one_address_share_no_connection(tmp_path: Path, papers: Papers) -> None:
    tables = [table(tls=True), table(name="poem", namespace="other", names=["poet"], tls=True)]
    both = papers.of("both", f"DNS:{SERVICE},DNS:poem-{STABLE}.other.svc")
    async with engine(tls=shown(both)) as e:
        slices = [endpoints(STABLE, [e.port]), endpoints(STABLE, [e.port], name="poem", namespace="other")]
        document = snapshot(tables, slices)
        async with gateway(document, engine_tls=trust(tmp_path, papers.ca)) as g, client(g.port) as c:
            for name in ("storyteller", "poet") * 2:
                assert (await c.ask({**chat(), "model": name})).status == 200
        assert [asked.connection for asked in e.asked] == [1, 2, 1, 2]


@pytest.mark.slow
async def test_files_change_under_load_and_no_request_fails(tmp_path: Path, papers: Papers) -> None:
    tls = trust(tmp_path, papers.ca, papers.of("n0", "DNS:gateway"))
    context = shown(papers.of("good"), papers.ca)
    context.load_verify_locations(papers.other_ca / "tls.crt")
    answered = 0
    async with engine(answers_well("a", "b", pace=0.002), tls=context) as e, gateway(one(e.port), engine_tls=tls) as g:
        over = False

        async def ask_on(number: int) -> None:
            nonlocal answered
            async with client(g.port) as c:
                while not over:
                    answer = await c.ask(chat(stream=bool(number % 2)))
                    assert (answer.status, answer.text) == (200, "ab")
                    answered += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(ask_on(number))
            for number in range(1, 21):
                # A half-written pair first, then the whole.
                (tmp_path / "tls.key").write_text("none")
                await asyncio.to_thread(files(tls).look)
                signer = papers.other_ca if number % 2 else papers.ca
                folder = await asyncio.to_thread(papers.of, f"n{number}", "DNS:gateway", ca=signer)
                for file in ("tls.crt", "tls.key"):
                    shutil.copy(folder / file, tmp_path / file)
                await asyncio.to_thread(files(tls).look)
                seen = answered
                await until(lambda seen=seen: answered >= seen + 20)  # type: ignore[misc]
            over = True
        assert (files(tls).taken, files(tls).refused) == (21, 20)
        assert tls.failed == {"untrusted": 0, "refused": 0}
        assert g.plane.refused == {}
        assert g.state(STABLE).failed == 0


async def test_the_engine_stops_when_the_client_goes(tmp_path: Path, papers: Papers) -> None:
    async with (
        engine(hangs, tls=shown(papers.of("good"))) as e,
        gateway(one(e.port), engine_tls=trust(tmp_path, papers.ca)) as g,
    ):
        async with client(g.port) as c:
            await c.send(request())
            asked = await e.request()
        await asyncio.wait_for(asked.closed.wait(), 30)
        await g.quiet()
        assert g.state(STABLE).failed == 0


async def test_an_engine_that_is_lost_in_the_middle_is_told_as_ever(tmp_path: Path, papers: Papers) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await asyncio.sleep(0.02)
        asked.reset()

    tls = trust(tmp_path, papers.ca)
    async with engine(script, tls=shown(papers.of("good"))) as e, gateway(one(e.port), engine_tls=tls) as g:
        answer = await ask(g.port, chat(stream=True))
        assert answer.events[-1]["error"]["code"] == "engine_lost"
        assert g.state(STABLE).errors["truncated"] == 1
        assert tls.failed == {"untrusted": 0, "refused": 0}


@pytest.mark.slow
async def test_a_client_that_does_not_read_holds_the_engine_back(tmp_path: Path, papers: Papers) -> None:
    sent = 0

    async def script(asked: Asked) -> None:
        nonlocal sent
        await asked.begin_stream()
        while not asked.closed.is_set():
            await asked.say("x" * 50_000)
            sent += 50_000

    async with (
        engine(script, tls=shown(papers.of("good"))) as e,
        gateway(one(e.port), engine_tls=trust(tmp_path, papers.ca), slow_reader_seconds=0.5) as g,
        client(g.port) as c,
    ):
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await c.send(request(chat(stream=True)))
        await asyncio.wait_for((await e.request()).closed.wait(), 30)
        await g.quiet()
    assert sent < 32_000_000


def other_key(folder: Path, papers: Papers) -> None:
    shutil.copy(papers.of("second", "DNS:gateway") / "tls.key", folder / "tls.key")


def old(folder: Path, papers: Papers) -> None:
    for name in ("tls.crt", "tls.key"):
        shutil.copy(papers.of("old client", "DNS:gateway", days=-1) / name, folder / name)


def for_servers(folder: Path, papers: Papers) -> None:
    shows = papers.of("server", "DNS:gateway\nextendedKeyUsage=serverAuth")
    for name in ("tls.crt", "tls.key"):
        shutil.copy(shows / name, folder / name)


def all_over(folder: Path, papers: Papers) -> None:
    issue(papers.root / "old ca", papers.ca, "old", "basicConstraints=critical,CA:TRUE", -1)
    shutil.copy(papers.root / "old ca" / "tls.crt", folder / "ca.crt")


BAD_FILES: dict[str, Callable[[Path, Papers], object]] = {
    "tls.key is not the key of tls.crt: give both of one pair": other_key,
    "tls.key cannot be read: No such file or directory": lambda folder, _: (folder / "tls.key").unlink(),
    "tls.crt is not accepted by engines: certificate has expired": old,
    "tls.crt is not accepted by engines: unsuitable certificate purpose": for_servers,
    "ca.crt holds no certificate: want PEM": lambda folder, _: (folder / "ca.crt").write_text("none"),
    "ca.crt cannot be read: No such file or directory": lambda folder, _: (folder / "ca.crt").unlink(),
    "ca.crt holds no authority's certificate (CA:TRUE)": lambda folder, papers: shutil.copy(
        papers.of("good") / "tls.crt", folder / "ca.crt"
    ),
    "every certificate in ca.crt is over": all_over,
}


@pytest.mark.parametrize(("reason", "spoil"), BAD_FILES.items(), ids=BAD_FILES)
def test_bad_files_are_refused_with_a_reason_and_the_ones_before_stay(
    tmp_path: Path,
    papers: Papers,
    caplog: pytest.LogCaptureFixture,
    reason: str,
    spoil: Callable[[Path, Papers], object],
) -> None:
    tls = trust(tmp_path, papers.ca, papers.of("first", "DNS:gateway"))
    context, expires = files(tls).context, files(tls).expires
    spoil(tmp_path, papers)
    files(tls).look()
    files(tls).look()
    assert (files(tls).context, files(tls).expires) == (context, expires)
    shown_ = gauges({"engines": files(tls)})
    assert shown_["understudy_tls_pairs_refused_total"][1] == {"engines": 1}
    (record,) = caplog.records
    assert reason in record.message
    assert "the pair before it stays in use" in record.message


def test_what_ends_first_is_what_is_told(tmp_path: Path, papers: Papers) -> None:
    lasting = papers.root / "lasting"
    lasting.mkdir()
    certify(lasting, "lasting", EC, "-days", "30")
    without = trust(tmp_path, lasting)
    own = trust(tmp_path, lasting, papers.of("gateway", "DNS:gateway"))
    assert files(without).expires - files(own).expires > 20 * 86400


def test_one_file_of_two_is_an_error_at_the_start(tmp_path: Path, papers: Papers) -> None:
    shutil.copy(papers.of("good") / "tls.crt", tmp_path / "tls.crt")
    with pytest.raises(PairError, match=r"tls\.key cannot be read"):
        trust(tmp_path, papers.ca)


async def test_the_flag_is_what_turns_it_on(tmp_path: Path, papers: Papers) -> None:
    trust(tmp_path, papers.ca)
    async with engine(tls=shown(papers.of("good"))) as e:
        file = tmp_path / "snapshot.json"
        file.write_bytes(orjson.dumps(one(e.port)))
        async with process(f"--snapshot={file}", f"--engine-tls-dir={tmp_path}") as p:
            assert (await ask(p.port)).status == 200
            metrics = (await p.get("/metrics"))[1]
    assert 'understudy_tls_pairs_taken_total{kind="engines"} 1.0' in metrics
    assert 'understudy_engine_tls_failed_total{kind="untrusted"} 0.0' in metrics


async def test_a_gateway_does_not_start_without_an_authority_to_trust(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.json"
    file.write_bytes(orjson.dumps(snapshot()))
    child = await launch(f"--snapshot={file}", f"--engine-tls-dir={tmp_path}", "--port=0", "--admin-port=0")
    _, errors = await child.communicate()
    assert child.returncode == 2
    assert f"understudy gateway: {tmp_path}/ca.crt cannot be read: No such file or directory" in errors.decode()
