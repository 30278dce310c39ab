"""Polling the gateways: who is asked, how often, and who hears of the answers."""

import asyncio
import os
import ssl
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.engine import virtual
from tests.engine.objects import made, scope
from understudy.domain.key import Key
from understudy.domain.names import LABEL_COMPONENT
from understudy.domain.state import DeploymentState, GatewayState, RevisionState, dump_state
from understudy.engine import gateways
from understudy.engine.cache import Cache
from understudy.engine.gateways import GatewayPoller, HttpStateSource, is_gateway
from understudy.kube.resources import POD
from understudy.telemetry.operator import OperatorMetrics

TALK, WALK = Key("shop", "talk"), Key("shop", "walk")


def pod(
    name: str,
    address: str = "",
    phase: str = "Running",
    version: int = 1,
    component: str = "gateway",
    ready: str = "True",
) -> dict[str, Any]:
    return made(
        POD,
        name,
        version,
        namespace="system",
        metadata={"labels": {LABEL_COMPONENT: component}},
        spec={},
        status={
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready}],
            **({"podIP": address} if address else {}),
        },
    )


def state(generation: int = 1, start: str = "s", **extra: Any) -> GatewayState:
    return GatewayState(start, 1.0, {str(TALK): DeploymentState("uid", generation, 1, **extra)})


class Fleet:
    """Gateways that answer what the test says; an exception is raised, a float is a delay."""

    def __init__(self) -> None:
        self.answers: dict[str, GatewayState | Exception | float] = {}
        self.asked: list[tuple[float, str]] = []
        self.after: list[AbstractSet[Key] | None] = []

    async def state(self, address: str, only: AbstractSet[Key] | None = None) -> GatewayState:
        self.asked.append((round(virtual.now(), 3), address))
        self.after.append(only)
        answer = self.answers[address]
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = state()
        if isinstance(answer, Exception):
            raise answer
        if only is None:
            return answer
        asked = {str(key) for key in only}
        return replace(answer, deployments={n: d for n, d in answer.deployments.items() if n in asked})

    def times(self, address: str) -> list[float]:
        return [at for at, where in self.asked if where == address]


class Stage:
    def __init__(self, interval: float = 0.5) -> None:
        self.metrics = OperatorMetrics()
        self.cache = Cache(self.metrics, virtual.now)
        self.fleet = Fleet()
        self.woken: list[Key] = []
        self.poller = GatewayPoller(
            self.cache,
            "system",
            self.fleet,
            interval=interval,
            monotonic=virtual.now,
            metrics=self.metrics,
            wake=self._wake,
        )
        self.cache.listen(lambda _change: self.poller.pods_changed())

    def _wake(self, keys: Iterable[Key]) -> None:
        self.woken.extend(keys)

    def put(self, obj: dict[str, Any]) -> None:
        self.cache.upsert(scope(POD), obj)


def test_every_gateway_pod_is_asked_and_observed() -> None:
    async def main() -> None:
        stage = Stage()
        for name, address in (("b", "10.0.0.2"), ("a", "10.0.0.1")):
            stage.fleet.answers[address] = state(start=name)
            stage.put(pod(name, address))
        stage.poller.start()
        await asyncio.sleep(0.1)
        found = stage.poller.observed()
        assert [(g.name, g.state.start_id if g.state else None) for g in found] == [("a", "a"), ("b", "b")]
        assert [g.age for g in found] == pytest.approx([0.1, 0.1])
        assert [g.ready for g in found] == [True, True]
        stage.put(pod("b", "10.0.0.2", version=2, ready="False"))
        assert [g.ready for g in stage.poller.observed()] == [True, False]
        await stage.poller.stop()

    virtual.run(main())


def test_standing_by_asks_nobody() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put(pod("a", "10.0.0.1"))
        await asyncio.sleep(10)
        assert stage.fleet.asked == []
        assert [g.name for g in stage.poller.observed()] == ["a"]

    virtual.run(main())


def test_a_gateway_that_never_answered_counts_with_an_infinite_age() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = ConnectionRefusedError()
        stage.put(pod("a", "10.0.0.1"))
        stage.put(pod("starting"))
        stage.poller.start()
        await asyncio.sleep(1)
        assert [(g.state, g.age) for g in stage.poller.observed()] == [(None, float("inf"))] * 2
        await stage.poller.stop()

    virtual.run(main())


def test_at_rest_it_asks_every_two_seconds_and_while_a_rollout_waits_at_the_interval() -> None:
    async def main() -> None:
        stage = Stage(interval=0.5)
        stage.fleet.answers["10.0.0.1"] = state()
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(6.5)
        assert stage.fleet.times("10.0.0.1") == [0, 2, 4, 6]
        stage.poller.set_active(TALK, True)
        await asyncio.sleep(1.75)
        # At once, soon again while what was written is on its way, then at the interval.
        assert stage.fleet.times("10.0.0.1")[4:] == pytest.approx([6.5, 6.55, 6.7, 7.1, 7.6, 8.1])
        stage.poller.set_active(TALK, False)
        await asyncio.sleep(4.5)
        assert stage.fleet.times("10.0.0.1")[10:] == pytest.approx([8.6, 10.6, 12.6])
        await stage.poller.stop()

    virtual.run(main())


def test_a_hurry_asks_at_once_even_if_a_question_is_under_way() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = 0.3
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(0.1)
        stage.poller.hurry()
        await asyncio.sleep(0.5)
        assert stage.fleet.times("10.0.0.1") == [0, 0.3]
        await stage.poller.stop()

    virtual.run(main())


def test_a_gateway_that_hangs_delays_nobody_else() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers.update({"10.0.0.1": 3600.0, "10.0.0.2": state()})
        stage.put(pod("hangs", "10.0.0.1"))
        stage.put(pod("well", "10.0.0.2"))
        stage.poller.start()
        await asyncio.sleep(9)
        ages = {g.name: g.age for g in stage.poller.observed()}
        assert ages["well"] <= 2
        assert ages["hangs"] == float("inf")
        await stage.poller.stop()

    virtual.run(main())


@pytest.mark.parametrize("fault", [OSError("reset"), ValueError("no JSON"), KeyError("startId"), aiohttp.ClientError()])
def test_a_bad_answer_leaves_the_last_good_one_to_age(fault: Exception) -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = state()
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(1)
        stage.fleet.answers["10.0.0.1"] = fault
        await asyncio.sleep(7)
        (found,) = stage.poller.observed()
        assert found.state == state()
        assert found.age == pytest.approx(8)
        assert stage.metrics.registry.get_sample_value("understudy_gateways_fresh") == 0
        await stage.poller.stop()

    virtual.run(main())


def test_how_many_gateways_answer_is_told_though_nobody_looks_at_a_deployment() -> None:
    async def main() -> None:
        stage = Stage()
        sample = stage.metrics.registry.get_sample_value
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
            stage.fleet.answers[address] = state()
            stage.put(pod(name, address))
        assert (sample("understudy_gateways"), sample("understudy_gateways_fresh")) == (2, 0)
        stage.poller.start()
        await asyncio.sleep(1)
        assert (sample("understudy_gateways"), sample("understudy_gateways_fresh")) == (2, 2)
        stage.fleet.answers["10.0.0.2"] = OSError("gone")
        await asyncio.sleep(7)
        assert (sample("understudy_gateways"), sample("understudy_gateways_fresh")) == (2, 1)
        await stage.poller.stop()

    virtual.run(main())


def test_pods_that_ended_are_no_gateways() -> None:
    assert is_gateway(pod("a"))
    assert is_gateway(pod("a", phase="Pending"))
    assert not is_gateway(pod("a", phase="Failed"))
    assert not is_gateway(pod("a", phase="Succeeded"))
    assert not is_gateway(pod("a", component="operator"))
    assert not is_gateway(made(POD, "plain", spec={}, status={}))


def test_a_pod_that_goes_is_neither_asked_nor_remembered() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = state()
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(1)
        stage.cache.remove(scope(POD), pod("a", "10.0.0.1"))
        await asyncio.sleep(10)
        assert stage.fleet.times("10.0.0.1") == [0]
        assert stage.poller.observed() == ()
        stage.put(pod("a", "10.0.0.1", version=5))
        assert [g.state for g in stage.poller.observed()] == [None]
        await stage.poller.stop()

    virtual.run(main())


def test_a_pod_that_gets_its_address_late_is_asked_there() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.9"] = state()
        stage.poller.start()
        stage.put(pod("a"))
        await asyncio.sleep(1)
        stage.put(pod("a", "10.0.0.9", version=2))
        await asyncio.sleep(1)
        assert stage.fleet.times("10.0.0.9") == [1]
        await stage.poller.stop()

    virtual.run(main())


def test_those_who_wait_hear_of_every_answer_that_says_something_else_of_them() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put(pod("a", "10.0.0.1"))
        stage.fleet.answers["10.0.0.1"] = state()
        stage.poller.set_active(TALK, True)
        stage.poller.set_active(WALK, True)
        stage.poller.start()
        await asyncio.sleep(0.4)
        stage.woken.clear()
        for attempts in range(1, 5):
            stage.fleet.answers["10.0.0.1"] = state(revisions={"a": RevisionState(attempts=attempts)})
            await asyncio.sleep(0.5)
        assert stage.woken == [TALK] * 4
        await asyncio.sleep(2)
        assert stage.woken == [TALK] * 4, "the same answer again is no news"
        await stage.poller.stop()

    virtual.run(main())


def test_those_who_wait_hear_of_a_gateway_that_falls_silent_and_of_its_next_answer() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put(pod("a", "10.0.0.1"))
        stage.fleet.answers["10.0.0.1"] = state()
        stage.poller.set_active(WALK, True)
        stage.poller.start()
        await asyncio.sleep(0.4)
        stage.woken.clear()
        stage.fleet.answers["10.0.0.1"] = OSError()
        await asyncio.sleep(2)
        assert stage.woken == [WALK]
        stage.fleet.answers["10.0.0.1"] = state()
        await asyncio.sleep(2)
        assert stage.woken == [WALK] * 2
        await stage.poller.stop()

    virtual.run(main())


def test_those_at_rest_hear_only_when_their_table_changes_on_a_gateway() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = state(1)
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(10)
        assert stage.woken == [TALK], "it was new to this gateway"
        stage.fleet.answers["10.0.0.1"] = state(2)
        await asyncio.sleep(12)
        assert stage.woken == [TALK] * 2
        stage.fleet.answers["10.0.0.1"] = state(2, rejected="weights")
        await asyncio.sleep(12)
        assert stage.woken == [TALK] * 3
        stage.fleet.answers["10.0.0.1"] = GatewayState("s", 1.0)
        await asyncio.sleep(12)
        assert stage.woken == [TALK] * 4
        await stage.poller.stop()

    virtual.run(main())


def test_asked_after_are_those_who_wait_and_all_of_them_now_and_then() -> None:
    async def main() -> None:
        stage = Stage(interval=1.0)
        both = {str(TALK): DeploymentState("uid", 1, 1), str(WALK): DeploymentState("uid", 1, 1)}
        stage.fleet.answers["10.0.0.1"] = GatewayState("s", 1.0, both)
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(3)
        assert stage.fleet.after == [None, frozenset()]
        stage.poller.set_active(TALK, True)
        await asyncio.sleep(4)
        assert set(stage.fleet.after[2:]) == {frozenset({TALK})}
        # What was not asked after is as it was said before, and what is gone is gone.
        told = stage.poller.observed()[0].state
        assert told is not None
        assert told.deployments == both
        stage.fleet.answers["10.0.0.1"] = GatewayState("s", 2.0, {str(WALK): DeploymentState("uid", 2, 1)})
        await asyncio.sleep(1)
        told = stage.poller.observed()[0].state
        assert told == GatewayState("s", 2.0, {str(WALK): DeploymentState("uid", 1, 1)})
        await asyncio.sleep(3)
        assert stage.fleet.after.count(None) == 2
        told = stage.poller.observed()[0].state
        assert told == stage.fleet.answers["10.0.0.1"]
        await stage.poller.stop()

    virtual.run(main())


def test_a_gateway_that_began_anew_or_was_silent_is_asked_after_all_at_once() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers["10.0.0.1"] = state(start="first")
        stage.put(pod("a", "10.0.0.1"))
        stage.poller.start()
        await asyncio.sleep(1)
        stage.fleet.answers["10.0.0.1"] = state(2, start="second")
        await asyncio.sleep(2)
        assert stage.fleet.after == [None, frozenset(), None]
        told = stage.poller.observed()[0].state
        assert told == state(2, start="second")
        stage.fleet.answers["10.0.0.1"] = OSError()
        await asyncio.sleep(2)
        stage.fleet.answers["10.0.0.1"] = state(2, start="second")
        await asyncio.sleep(2)
        assert stage.fleet.after[3:] == [frozenset(), None]
        await stage.poller.stop()

    virtual.run(main())


def test_when_many_wait_all_are_asked_after_but_no_faster_than_at_rest() -> None:
    async def main() -> None:
        stage = Stage(interval=0.1)
        stage.fleet.answers["10.0.0.1"] = state()
        stage.put(pod("a", "10.0.0.1"))
        for number in range(gateways.MANY + 1):
            stage.poller.set_active(Key("shop", f"talk-{number}"), True)
        stage.poller.start()
        for _ in range(50):
            stage.poller.hurry()
            await asyncio.sleep(0.1)
        assert stage.fleet.times("10.0.0.1") == [0, 2, 4]
        assert set(stage.fleet.after) == {None}
        await stage.poller.stop()

    virtual.run(main())


def test_a_first_round_ends_when_all_were_asked_and_does_not_wait_for_one_that_hangs() -> None:
    async def main() -> None:
        stage = Stage()
        stage.fleet.answers.update({"10.0.0.1": 0.3, "10.0.0.2": OSError(), "10.0.0.3": 3600.0})
        stage.put(pod("slow", "10.0.0.1"))
        stage.put(pod("down", "10.0.0.2"))
        stage.put(pod("starting"))
        stage.poller.start()
        await stage.poller.first_round(1.0)
        assert 0.3 <= virtual.now() <= 0.33
        stage.put(pod("hangs", "10.0.0.3"))
        await stage.poller.first_round(1.0)
        assert 1.3 <= virtual.now() <= 1.4
        await stage.poller.stop()

    virtual.run(main())


class Server:
    """A gateway's admin port on loopback."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.body, self.status = body, status
        self.authorization: list[str | None] = []
        self.targets: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.targets.append(request.raw_path)
        self.authorization.append(request.headers.get("Authorization"))
        return web.Response(status=self.status, body=self.body)

    async def start(self, context: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.add_routes([web.get("/state", self.answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port: int = runner.addresses[0][1]
        return runner, port


async def ask(
    server: Server, monkeypatch: pytest.MonkeyPatch, only: AbstractSet[Key] | None = None, **options: str
) -> GatewayState:
    runner, port = await server.start()
    monkeypatch.setattr(gateways, "GATEWAY_ADMIN_PORT", port)
    try:
        async with aiohttp.ClientSession() as session:
            return await HttpStateSource(session, "system", **options).state("127.0.0.1", only)
    finally:
        await runner.cleanup()


async def test_over_http_it_reads_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(orjson.dumps(dump_state(state(7))))
    assert await ask(server, monkeypatch) == state(7)
    assert server.authorization == [None]


async def test_over_http_it_asks_for_all_or_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(orjson.dumps(dump_state(state())))
    for only in (None, frozenset[Key](), frozenset({WALK, TALK})):
        await ask(server, monkeypatch, only)
    assert server.targets == ["/state", "/state?deployments=", "/state?deployments=shop/talk,shop/walk"]


async def test_it_shows_the_token_that_is_in_the_file_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    server = Server(orjson.dumps(dump_state(state())))
    await ask(server, monkeypatch, token=str(token))
    token.write_text("second\n")
    await ask(server, monkeypatch, token=str(token))
    assert server.authorization == ["Bearer first", "Bearer second"]


async def test_a_refusal_is_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="401"):
        await ask(Server(b"{}", status=401), monkeypatch)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "_MAX_ANSWER", 1000)
    with pytest.raises(ValueError, match="longer than 1000 bytes"):
        await ask(Server(b"x" * 5000), monkeypatch)


TLS = Path(__file__).parent / "tls"


async def ask_over_tls(
    monkeypatch: pytest.MonkeyPatch, namespace: str = "system", ca: Path = TLS / "ca.crt"
) -> GatewayState:
    server = Server(orjson.dumps(dump_state(state(3))))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "tls.crt", TLS / "tls.key")
    runner, port = await server.start(context)
    monkeypatch.setattr(gateways, "GATEWAY_ADMIN_PORT", port)
    try:
        async with aiohttp.ClientSession() as session:
            source = HttpStateSource(session, namespace, ca=str(ca))
            await source.state("127.0.0.1")
            return await source.state("127.0.0.1")
    finally:
        await runner.cleanup()


async def test_over_tls_the_gateway_is_known_by_its_service_name_at_any_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await ask_over_tls(monkeypatch) == state(3)


async def test_over_tls_somebody_elses_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask_over_tls(monkeypatch, namespace="another")


async def test_a_ca_that_was_renewed_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes((TLS / "ca.crt").read_bytes())
    async with aiohttp.ClientSession() as session:
        source = HttpStateSource(session, "system", ca=str(ca))
        first = source._tls()
        assert source._tls() is first
        os.utime(ca, ns=(1, 1))
        assert source._tls() is not first
