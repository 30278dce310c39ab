"""Whom the operator trusts among engines that speak TLS, and what it shows them."""

import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.engine.test_prober import probe
from tests.gateway.certificates import certify, issue
from understudy.engine.prober import HttpEngine
from understudy.engine.trust import Trust, TrustError, distrust
from understudy.plan.actions import Probe

SERVICE = "talk-1.tales.svc"


@dataclass
class Papers:
    """Folders with certificates, made once: an authority, another one, an engine's, and the operator's."""

    ca: Path
    other_ca: Path
    engine: Path
    operator: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    root = tmp_path_factory.mktemp("papers")
    made = Papers(*(root / name for name in ("ca", "other-ca", "engine", "operator")))
    for folder in (made.ca, made.other_ca):
        folder.mkdir()
        certify(folder, folder.name)
    issue(made.engine, made.ca, "engine", f"subjectAltName=DNS:{SERVICE}")
    issue(made.operator, made.ca, "operator", "extendedKeyUsage=clientAuth")
    return made


@asynccontextmanager
async def engine(papers: Papers, *, asks: bool = False, plain: bool = False) -> AsyncIterator[Probe]:
    """An engine that speaks TLS unless it is `plain`, asks for a certificate if it `asks`; and how it is probed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.engine / "tls.crt", papers.engine / "tls.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(papers.ca / "tls.crt")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": []})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=None if plain else context).start()
    yield probe(address="127.0.0.1", port=runner.addresses[0][1], server_name=SERVICE)
    await runner.cleanup()


def trusting(folder: Path, ca: Path, own: Path | None = None) -> Trust:
    """What lies in the operator's folder."""
    shutil.copy(ca / "tls.crt", folder / "ca.crt")
    for name in ("tls.crt", "tls.key") if own else ():
        shutil.copy((own or ca) / name, folder / name)
    return Trust(folder)


async def answers(target: Probe, trust: Trust) -> bool:
    """Whether an engine can be asked who it is."""
    return await refusal(target, trust) is None


async def refusal(target: Probe, trust: Trust) -> BaseException | None:
    """What became of asking an engine who it is, if that is no answer."""
    async with aiohttp.ClientSession() as session:
        try:
            assert await HttpEngine(session, trust).get(target, "/v1/models", 5.0) == {"data": []}
        except (OSError, aiohttp.ClientError) as error:
            return error
        return None


async def test_an_engine_of_a_trusted_authority_and_the_right_name_is_asked(tmp_path: Path, papers: Papers) -> None:
    async with engine(papers) as target:
        assert await answers(target, trusting(tmp_path, papers.ca))


@pytest.mark.parametrize("wrong", ["authority", "name", "nobody"])
async def test_any_other_is_not(tmp_path: Path, papers: Papers, wrong: str) -> None:
    async with engine(papers) as target:
        trust = trusting(tmp_path, papers.other_ca if wrong == "authority" else papers.ca)
        asked = probe(
            address=target.address,
            port=target.port,
            server_name="talk-1.other.svc" if wrong == "name" else SERVICE,
        )
        assert not await answers(asked, Trust() if wrong == "nobody" else trust)


@pytest.mark.parametrize("shows", [True, False])
async def test_an_engine_that_asks_who_asks_is_shown_the_operators_certificate(
    tmp_path: Path, papers: Papers, shows: bool
) -> None:
    async with engine(papers, asks=True) as target:
        assert await answers(target, trusting(tmp_path, papers.ca, papers.operator if shows else None)) == shows


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("authority", "its certificate is not taken: unable to get local issuer certificate"),
        ("name", "its certificate is not taken: Hostname mismatch, certificate is not valid for 'talk-1.other.svc'."),
        ("nobody", "its certificate is not taken: the operator has no --engine-tls-dir that says whom to trust"),
    ],
)
async def test_it_is_said_in_a_sentence_why_a_certificate_is_not_taken(
    tmp_path: Path, papers: Papers, wrong: str, why: str
) -> None:
    async with engine(papers) as target:
        trust = trusting(tmp_path, papers.other_ca if wrong == "authority" else papers.ca)
        name = "talk-1.other.svc" if wrong == "name" else SERVICE
        asked = probe(address=target.address, port=target.port, server_name=name)
        error = await refusal(asked, Trust() if wrong == "nobody" else trust)
    assert error is not None
    assert distrust(error) == why


async def test_so_it_is_when_the_engine_does_not_take_ours(tmp_path: Path, papers: Papers) -> None:
    async with engine(papers, asks=True) as target:
        error = await refusal(target, trusting(tmp_path, papers.ca))
    assert error is not None
    assert distrust(error) == "no TLS: it hung up; does it speak TLS, and take the operator's certificate (tls.crt)?"


async def test_and_when_it_speaks_none(tmp_path: Path, papers: Papers) -> None:
    async with engine(papers, plain=True) as target:
        error = await refusal(target, trusting(tmp_path, papers.ca))
    assert error is not None
    assert distrust(error).startswith("no TLS: ")
    assert "hung up" not in distrust(error)


def test_what_has_nothing_to_do_with_tls_says_nothing() -> None:
    assert distrust(ConnectionRefusedError()) == ""


async def test_renewed_files_are_used_from_then_on_and_bad_ones_are_not(
    tmp_path: Path, papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    trust = trusting(tmp_path, papers.other_ca)
    async with engine(papers) as target:
        assert not await answers(target, trust)
        replace(tmp_path / "ca.crt", (papers.ca / "tls.crt").read_bytes())
        assert await answers(target, trust)
        replace(tmp_path / "ca.crt", b"none")
        assert await answers(target, trust)
        assert await answers(target, trust)
        (tmp_path / "ca.crt").unlink()
        assert await answers(target, trust)
    reasons = [record.message for record in caplog.records if record.name.endswith("trust")]
    assert len(reasons) == 2
    assert all("the files before stay in use" in reason for reason in reasons)


def replace(path: Path, content: bytes) -> None:
    """As the kubelet does: another file takes the name."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)  # noqa: PTH105  # the same


def test_a_pair_that_is_none_is_an_error_at_the_start(tmp_path: Path, papers: Papers) -> None:
    shutil.copy(papers.engine / "tls.key", tmp_path / "tls.key")
    shutil.copy(papers.operator / "tls.crt", tmp_path / "tls.crt")
    shutil.copy(papers.ca / "tls.crt", tmp_path / "ca.crt")
    with pytest.raises(TrustError, match=r"tls\.crt and tls\.key are no pair that can be shown"):
        Trust(tmp_path)
