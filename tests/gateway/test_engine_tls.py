"""The simulated engine with TLS, as the operator starts it, behind a gateway: whom they take, and renewed files."""

import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.certificates import certify, issue
from tests.gateway.clients import ask, chat, client
from tests.gateway.engines import engine
from tests.gateway.gateways import gateway, until
from tests.gateway.worlds import CANARY, MASTER, STABLE, endpoints, snapshot, table
from tests.sim import engines as sims
from understudy.api.v1alpha1.engine import EngineTls
from understudy.domain.names import engine_key
from understudy.gateway.upstream_tls import UpstreamTls
from understudy.plan.desired.tls import arguments

# Each test starts the engine as a process.
pytestmark = pytest.mark.slow

SERVICE = f"story-{STABLE}.default.svc"
FOLDER = "/etc/understudy/tls"


@dataclass
class Papers:
    """An authority, and folders of gateways that trust it or another one."""

    root: Path
    ca: Path
    trusts: Path
    trusts_others: Path

    def pair(self, name: str, *, names: str = f"DNS:{SERVICE}") -> Path:
        """A folder as the Secret of an engine has it."""
        folder = self.root / name
        if not folder.exists():
            issue(folder, self.ca, name, f"subjectAltName={names}")
            shutil.copy(self.ca / "tls.crt", folder / "ca.crt")
        return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    root = tmp_path_factory.mktemp("papers")
    made = Papers(root, *(root / name for name in ("ca", "trusts", "trusts-others")))
    for folder, trusting in ((made.ca, made.trusts), (root / "other-ca", made.trusts_others)):
        folder.mkdir()
        certify(folder, folder.name)
        trusting.mkdir()
        shutil.copy(folder / "tls.crt", trusting / "ca.crt")
    return made


@asynccontextmanager
async def simulated(papers: Papers, folder: Path, **tls: Any) -> AsyncIterator[int]:
    """`understudy sim` with the arguments that the operator gives it, and the files of a folder."""
    flags = [
        flag.replace(FOLDER, str(folder))
        for flag in arguments(EngineTls.model_validate({"secretRef": {"name": "pair"}, **tls}))
    ]
    asking = ssl.create_default_context(cafile=str(papers.ca / "tls.crt"))
    asking.check_hostname = False
    asking.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    key = engine_key(MASTER, "default", "story", STABLE)
    quick = ("--first-token=0", "--inter-token=0", "--text=once upon a time", f"--model-id=story-{STABLE}")
    async with sims.process(*quick, *flags, tls=asking, VLLM_API_KEY=key) as (base, _):
        yield int(base.rpartition(":")[2])


def one(port: int, **more: Any) -> dict[str, Any]:
    return snapshot([table(queue={"max": 0}, **more)], [endpoints(STABLE, [port])])


async def test_it_is_asked_by_tls_when_the_table_says_so_and_by_none_who_trusts_another_authority(
    papers: Papers,
) -> None:
    async with simulated(papers, papers.pair("engine")) as port:
        async with gateway(one(port, tls=True), engine_tls=UpstreamTls(papers.trusts)) as g:
            assert (await ask(g.port)).text == "once upon a time"
            streamed = await ask(g.port, chat(stream=True))
            assert (streamed.text, streamed.done) == ("once upon a time", True)
        # Without files nobody is trusted: there is no falling back to plain HTTP.
        for tls in (UpstreamTls(papers.trusts_others), UpstreamTls()):
            async with gateway(one(port, tls=True), engine_tls=tls) as g:
                answer = await ask(g.port)
                assert (answer.status, answer.code) == (503, "no_capacity")
                kinds = g.plane.gauges()["understudy_engine_tls_failed_total"][1]
                assert kinds == {"untrusted": 1, "refused": 0}
                assert g.state(STABLE).errors["connect"] == 1


async def test_another_name_is_not_taken(papers: Papers) -> None:
    folder = papers.pair("elsewhere", names="DNS:*.other.svc")
    async with (
        simulated(papers, folder) as port,
        gateway(one(port, tls=True), engine_tls=UpstreamTls(papers.trusts)) as g,
    ):
        assert (await ask(g.port)).code == "no_capacity"


@pytest.mark.parametrize("shows", [True, False])
async def test_where_clients_must_show_a_certificate_a_gateway_without_one_gets_no_answer(
    tmp_path: Path, papers: Papers, shows: bool
) -> None:
    shutil.copy(papers.ca / "tls.crt", tmp_path / "ca.crt")
    for name in ("tls.crt", "tls.key") if shows else ():
        shutil.copy(papers.pair("gateway", names="DNS:gateway") / name, tmp_path / name)
    tls = UpstreamTls(tmp_path)
    async with (
        simulated(papers, papers.pair("engine"), requireClientCertificate=True) as port,
        gateway(one(port, tls=True), engine_tls=tls) as g,
    ):
        assert (await ask(g.port)).status == (200 if shows else 503)
        assert tls.failed["refused"] == (0 if shows else 1)


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, papers: Papers) -> None:
    folder = tmp_path / "engine"
    shutil.copytree(papers.pair("elsewhere", names="DNS:*.other.svc"), folder)
    async with (
        simulated(papers, folder) as port,
        gateway(one(port, tls=True), engine_tls=UpstreamTls(papers.trusts)) as g,
    ):
        assert (await ask(g.port)).code == "no_capacity"
        for name in ("tls.crt", "tls.key"):
            shutil.copy(papers.pair("engine") / name, folder / f"{name}.new")
        for name in ("tls.crt", "tls.key"):
            os.replace(folder / f"{name}.new", folder / name)  # noqa: PTH105  # as the kubelet does

        async def answered() -> bool:
            return (await ask(g.port)).status == 200

        await until(answered)


async def test_each_revision_is_spoken_to_in_its_own_way(papers: Papers) -> None:
    """One with TLS that serves, and a candidate without."""
    split = table({STABLE: 100, CANARY: 0})
    split["spec"]["variants"][0]["tls"] = True
    async with simulated(papers, papers.pair("engine")) as port, engine() as plain:
        slices = [endpoints(STABLE, [port]), endpoints(CANARY, [plain.port])]
        async with gateway(snapshot([split], slices), engine_tls=UpstreamTls(papers.trusts)) as g:
            assert (await ask(g.port)).fields["x-understudy-revision"] == STABLE
            turned = table({STABLE: 0, CANARY: 100}, generation=2)
            turned["spec"]["variants"][0]["tls"] = True
            g.change(snapshot([turned], slices))
            assert (await ask(g.port)).fields["x-understudy-revision"] == CANARY


async def test_who_is_spoken_to_in_another_way_from_now_on_is_asked_on_no_old_connection(papers: Papers) -> None:
    async with (
        simulated(papers, papers.pair("engine")) as port,
        gateway(one(port, tls=True), engine_tls=UpstreamTls(papers.trusts)) as g,
        client(g.port) as c,
    ):
        assert (await c.ask()).status == 200
        g.change(one(port, generation=2))
        assert (await c.ask()).status != 200
