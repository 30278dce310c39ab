"""The admin port: open probes, evidence only for whom the API server vouches for, over TLS that renews."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.ports import free_port
from tests.gateway.certificates import NAME, certify
from tests.gateway.clients import ask, chat
from tests.gateway.engines import Asked, answers_status, completion, engine
from tests.gateway.fakeapi import REVIEWS, FakeApi, fake_api
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import CANARY, STABLE, endpoints, shadowed_table, snapshot, table
from understudy.domain.state import DeploymentState, DetectorState, parse_state
from understudy.gateway import pair as pair_module
from understudy.gateway import reviews as reviews_module
from understudy.gateway.admin import Admin, AdminSettings
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.policy.gauges import Gauges
from understudy.gateway.process import Settings, Station
from understudy.telemetry.beside import Beside

OPERATOR = "system:serviceaccount:understudy-system:understudy-operator"


class Told:
    """What the admin server tells of: a gateway inside the test's own process."""

    def __init__(self, g: Gateway) -> None:
        self.ready = True
        self._plane = g.plane

    def deployments(
        self, *, only_active: bool = False, names: Collection[str] | None = None
    ) -> dict[str, DeploymentState]:
        plane = self._plane
        return plane.world.state(plane.clock(), plane.queue.waiting(), only_active=only_active, names=names)

    def guards(self) -> dict[str, str]:
        world = self._plane.world
        return world.guards.told(world.wanted())

    def detectors(self) -> dict[str, DetectorState]:
        return {"default/calm/0/guard": DetectorState("no answer", 7.0)}

    def beside(self) -> dict[str, Beside]:
        return self._plane.world.beside(self._plane.clock())

    def gauges(self) -> Gauges:
        return self._plane.gauges()


class Admins:
    """An admin server and how to ask it."""

    def __init__(self, made: Admin, told: Told, base: str, tls: ssl.SSLContext | None) -> None:
        self.admin = made
        self.told = told
        self.base = base
        self._tls = tls

    async def get(self, path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        tls: Any = self._tls if self._tls is not None else True
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"{self.base}{path}", headers=headers, server_hostname=self._name) as answer,
        ):
            return answer.status, await answer.text()

    @property
    def _name(self) -> str | None:
        return NAME if self._tls is not None else None


def samples(text: str) -> dict[str, float]:
    """Values of an exposition by name with labels."""
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


@asynccontextmanager
async def serving(
    g: Gateway, api: FakeApi | None = None, *, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Admins]:
    port = free_port()
    given = AdminSettings(host="127.0.0.1", port=port, **settings)
    told = Told(g)
    made = Admin(given, ApiServer(api.url) if api else None, told, start_id="start-1", clock=lambda: g.plane.clock())
    await made.start()
    renewing = asyncio.ensure_future(made.renew())
    scheme = "https" if tls else "http"
    try:
        yield Admins(made, told, f"{scheme}://127.0.0.1:{port}", tls)
    finally:
        renewing.cancel()
        made.stop()


async def test_probes_are_open_and_evidence_is_not() -> None:
    async with gateway(snapshot([table()])) as g, fake_api() as api, serving(g, api) as a:
        assert (await a.get("/healthz"))[0] == 200
        assert (await a.get("/readyz"))[0] == 200
        a.told.ready = False
        assert (await a.get("/readyz"))[0] == 503
        for path in ("/state", "/metrics", "/state?rollouts=active"):
            assert (await a.get(path))[0] == 401
        assert (await a.get("/nothing"))[0] == 404
        assert (await a.get("/"))[0] == 404
        assert api.requests == []


async def test_the_api_server_vouches_for_the_operator() -> None:
    async with gateway(snapshot([table()])) as g, fake_api() as api:
        api.users = {"good": OPERATOR, "other": "system:serviceaccount:x:y"}
        async with serving(g, api, subjects=(OPERATOR,)) as a:
            status, body = await a.get("/state", "good")
            state = parse_state(json.loads(body))
            assert (status, state.start_id) == (200, "start-1")
            assert state.deployments["default/story"].table_generation == 1
            assert state.detectors == {"default/calm/0/guard": DetectorState("no answer", 7.0)}
            assert (await a.get("/metrics", "good"))[0] == 200
            assert (await a.get("/state", "other"))[0] == 403
            assert (await a.get("/state", "nobody"))[0] == 403
            # Each token is asked about once a minute, whatever the answer was.
            asked = len(api.requests)
            for token in ("good", "other", "nobody"):
                await a.get("/state", token)
            assert len(api.requests) == asked == 3


async def test_while_the_api_server_is_away_who_was_good_stays_good_for_a_while() -> None:
    async with gateway(snapshot([table()])) as g, fake_api() as api:
        api.users = {"good": OPERATOR}
        async with serving(g, api, subjects=(OPERATOR,)) as a:
            assert (await a.get("/state", "good"))[0] == 200
            api.fail[REVIEWS] = 500
            clock = g.plane.clock
            for later, good, other in ((0.0, 200, 503), (61.0, 200, 503), (601.0, 503, 503)):
                g.plane.clock = lambda later=later: clock() + later  # type: ignore[misc]
                assert (await a.get("/state", "good"))[0] == good
                assert (await a.get("/state", "other"))[0] == other


async def test_a_good_token_that_is_good_no_more_is_refused() -> None:
    async with gateway(snapshot([table()])) as g, fake_api() as api:
        api.users = {"good": OPERATOR}
        async with serving(g, api, subjects=(OPERATOR,)) as a:
            assert (await a.get("/state", "good"))[0] == 200
            api.users = {}
            clock = g.plane.clock
            g.plane.clock = lambda: clock() + 61
            assert (await a.get("/state", "good"))[0] == 403


async def test_remembered_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews_module, "_MAX_REVIEWS", 2)
    async with gateway(snapshot([table()])) as g, fake_api() as api, serving(g, api) as a:
        for token in ("a", "b", "c", "d", "e"):
            await a.get("/state", token)
        assert len(a.admin._reviews._known) <= 2


async def test_without_an_api_server_nobody_can_be_vouched_for() -> None:
    async with gateway(snapshot([table()])) as g, serving(g) as a:
        assert (await a.get("/state", "any"))[0] == 503


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"]
)
async def test_malformed_requests_are_refused_here_too(raw: bytes) -> None:
    async with gateway(snapshot()) as g, serving(g) as a:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(a.base.rpartition(":")[2]))
        writer.write(raw + b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await reader.read(-1)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        writer.close()


async def test_a_connection_carries_several_questions() -> None:
    async with gateway(snapshot()) as g, serving(g) as a:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(a.base.rpartition(":")[2]))
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read(-1)).endswith(b"}")
        writer.close()


async def test_metrics_tell_what_state_tells() -> None:
    async with engine() as good, engine(answers_status(500)) as bad:
        slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [bad.port])]
        document = snapshot([table({STABLE: 0, CANARY: 100})], slices)
        async with gateway(document) as g, serving(g, auth="none") as a:
            await ask(g.port)
            await ask(g.port, chat(stream=True), x_session_id="x")
            await ask(g.port, authorization="Bearer nobody")
            await g.quiet()
            lines = (await a.get("/metrics"))[1].splitlines()
    labels = 'deployment="default/story"'
    for line in (
        f'understudy_attempts_total{{{labels},revision="{STABLE}"}} 2.0',
        f'understudy_errors_total{{{labels},kind="5xx",revision="{CANARY}"}} 2.0',
        f'understudy_tokens_total{{{labels},revision="{STABLE}",type="input"}} 14.0',
        f'understudy_open_requests{{{labels},revision="{STABLE}"}} 0.0',
        f'understudy_usable_endpoints{{{labels},revision="{STABLE}"}} 1.0',
        f'understudy_time_to_first_token_seconds_bucket{{{labels},le="+Inf",revision="{STABLE}"}} 1.0',
        f'understudy_time_to_first_token_seconds_count{{{labels},revision="{STABLE}"}} 1.0',
        f'understudy_endpoint_breakers{{{labels},revision="{CANARY}",state="closed"}} 1.0',
        f'understudy_endpoint_breakers{{{labels},revision="{CANARY}",state="open"}} 0.0',
        f'understudy_ejections_total{{{labels},revision="{CANARY}"}} 0.0',
        f"understudy_table_generation{{{labels}}} 1.0",
        f"understudy_table_epoch{{{labels}}} 1.0",
        f"understudy_table_rejected{{{labels}}} 0.0",
        'understudy_tables_rejected_total{kind="epoch"} 0.0',
        f"understudy_waiting_requests{{{labels}}} 0.0",
        'understudy_refused_total{kind="invalid_api_key"} 1.0',
        'understudy_conversations_total{kind="header"} 1.0',
        "understudy_failovers_total 2.0",
        "understudy_connections 0.0",
    ):
        assert line in lines
    assert not any("player" in line or "us-" in line for line in lines)
    assert f'understudy_request_queue_time_seconds_count{{{labels},revision="{STABLE}"}} 0.0' in lines, "nobody waited"


async def test_sums_are_of_what_was_measured() -> None:
    async def slowly(asked: Asked) -> None:
        await asked.begin_stream()
        for word in ("one", "two"):
            # The loop's clock may count whole milliseconds.
            await asyncio.sleep(0.02)
            await asked.say(word)
        await asked.end_stream()

    async with engine(slowly) as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document) as g, serving(g, auth="none") as a:
            for _ in range(3):
                assert (await ask(g.port, chat(stream=True))).done
            await g.quiet()
            counters = g.world.evidence.counters("default/story", STABLE)
            shown = samples((await a.get("/metrics"))[1])
    labels = f'{{deployment="default/story",revision="{STABLE}"}}'
    assert shown[f"understudy_time_to_first_token_seconds_sum{labels}"] == counters.ttft_ns / 1e9 > 0
    assert shown[f"understudy_inter_token_latency_seconds_sum{labels}"] == counters.itl_ns / 1e9 > 0


async def test_an_endpoint_that_goes_out_is_told_by_its_breaker_counted_and_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    document = snapshot([table(queue={"max": 0})], [endpoints(STABLE, [port])])
    with caplog.at_level("INFO"):
        async with gateway(document) as g, serving(g, auth="none") as a:
            assert (await ask(g.port)).status in (502, 503)
            shown = samples((await a.get("/metrics"))[1])
    labels = f'deployment="default/story",revision="{STABLE}"'
    assert shown[f"understudy_ejections_total{{{labels}}}"] == 1
    assert shown[f'understudy_endpoint_breakers{{{labels},state="open"}}'] == 1
    (record,) = [record for record in caplog.records if record.name.endswith("attempt")]
    assert record.getMessage() == f"127.0.0.1:{port} (revision {STABLE}) fails, and gets no requests for now"


async def test_a_wait_for_an_endpoint_is_told_with_its_sum() -> None:
    async with engine() as e, gateway(snapshot([table()])) as g, serving(g, auth="none") as a:
        waiting = asyncio.ensure_future(ask(g.port))
        await g.waits()
        await asyncio.sleep(0.06)
        g.change(snapshot([], [endpoints(STABLE, [e.port])]))
        assert (await waiting).status == 200
        shown = samples((await a.get("/metrics"))[1])
    name, labels = "understudy_request_queue_time_seconds", f'deployment="default/story",revision="{STABLE}"'
    assert shown[f"{name}_count{{{labels}}}"] == 1
    assert shown[f'{name}_bucket{{deployment="default/story",le="0.05",revision="{STABLE}"}}'] == 0
    assert 0.05 <= shown[f"{name}_sum{{{labels}}}"] < 60


async def test_a_refused_table_is_told() -> None:
    async with gateway(snapshot([table()])) as g, serving(g, auth="none") as a:
        g.change(snapshot([table(epoch=-1, generation=2)]))
        shown = samples((await a.get("/metrics"))[1])
    assert shown['understudy_table_rejected{deployment="default/story"}'] == 1
    assert shown['understudy_table_generation{deployment="default/story"}'] == 1
    assert shown['understudy_tables_rejected_total{kind="invalid"}'] == 1


async def test_the_longest_silence_of_the_api_server_is_told_by_resource() -> None:
    async with gateway(snapshot()) as g, serving(g, auth="none") as a:
        g.plane.clock = lambda: 100.0
        g.plane.heard = {"/apis/x/namespaces/a/slices": 90.0, "/apis/x/namespaces/b/slices": 60.0, "/api/secrets": 99.0}
        shown = samples((await a.get("/metrics"))[1])
    assert shown['understudy_watch_age_seconds{resource="slices"}'] == 40
    assert shown['understudy_watch_age_seconds{resource="secrets"}'] == 1


async def test_metrics_tell_of_pairs_where_there_are_any() -> None:
    async with engine() as stable, engine(answers_status(500)) as shadow:
        document = snapshot([shadowed_table()], [endpoints(STABLE, [stable.port]), endpoints(CANARY, [shadow.port])])
        async with gateway(document) as g, serving(g, auth="none") as a:
            assert "understudy_shadow_pairs_total{deployment" not in (await a.get("/metrics"))[1]
            await ask(g.port)
            await until(lambda: g.state(CANARY).pairs.count == 1)
            lines = (await a.get("/metrics"))[1].splitlines()
    labels = 'deployment="default/story"'
    for line in (
        f'understudy_shadow_pairs_total{{{labels},revision="{CANARY}"}} 1.0',
        f'understudy_shadow_dropped_total{{{labels},revision="{CANARY}"}} 0.0',
        f'understudy_shadow_bad_total{{{labels},half="shadow",metric="errors",revision="{CANARY}"}} 1.0',
        f'understudy_shadow_bad_total{{{labels},half="both",metric="errors",revision="{CANARY}"}} 0.0',
        f'understudy_shadow_differing_total{{{labels},kind="tools",revision="{CANARY}"}} 0.0',
        'understudy_shadow_copies_total{kind="compared"} 1.0',
        "understudy_shadow_open 0.0",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith("understudy_shadow_pairs_total") and STABLE in line]


async def test_whatever_an_engine_counts_state_can_be_read() -> None:
    async def lies(asked: Asked) -> None:
        usage = {"prompt_tokens": 2**64 - 1, "completion_tokens": 2**64 - 1}
        await asked.answer(200, {**completion(asked.model), "usage": usage})

    async with engine(lies) as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with gateway(document) as g, serving(g, auth="none") as a:
            for _ in range(2):
                assert (await ask(g.port, chat())).status == 200
            status, text = await a.get("/state")
            state = parse_state(json.loads(text))
        assert (status, state.deployments["default/story"].revisions[STABLE].attempts) == (200, 2)


async def test_metrics_of_a_gateway_that_has_seen_nothing() -> None:
    async with gateway(snapshot()) as g, serving(g, auth="none") as a:
        assert "understudy_answered_total 0.0" in (await a.get("/metrics"))[1]


async def test_only_what_moves_may_be_asked_for() -> None:
    weights = {STABLE: 90, CANARY: 10}
    tables = [table(), table(weights, name="moving", names=()), table(name="odd", names=(), epoch=-1)]
    async with gateway(snapshot(tables)) as g, serving(g, auth="none") as a:
        state = parse_state(json.loads((await a.get("/state?rollouts=active"))[1]))
        assert set(state.deployments) == {"default/moving", "default/odd"}
        assert "epoch" in state.deployments["default/odd"].rejected
        whole = parse_state(json.loads((await a.get("/state"))[1]))
        assert set(whole.deployments) == {"default/story", "default/moving", "default/odd"}


async def test_state_may_be_asked_for_of_some_deployments_alone() -> None:
    async with gateway(snapshot([table(), table(name="other", names=())])) as g, serving(g, auth="none") as a:

        async def told(names: str) -> set[str]:
            status, body = await a.get(f"/state?deployments={names}")
            assert status == 200
            return set(parse_state(json.loads(body)).deployments)

        assert await told("default/story") == {"default/story"}
        assert await told("default/other,default/nobody,default/story") == {"default/other", "default/story"}
        assert await told("") == await told(",") == await told("nonsense") == set()


async def test_tls_is_for_the_gateways_name_and_is_renewed_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_module, "LOOK_SECONDS", 0.01)
    trust = certify(tmp_path, "first")
    async with gateway(snapshot()) as g, serving(g, tls=trust, tls_dir=tmp_path, auth="none") as a:
        assert (await a.get("/state"))[0] == 200
        # A key without its certificate is left alone.
        good_key = (tmp_path / "tls.key").read_bytes()
        (tmp_path / "tls.key").write_text("no key")
        await asyncio.sleep(0.1)
        assert (await a.get("/state"))[0] == 200
        (tmp_path / "tls.key").write_bytes(good_key)
        a._tls = certify(tmp_path, "second")

        async def renewed() -> bool:
            try:
                return (await a.get("/state"))[0] == 200
            except aiohttp.ClientConnectorCertificateError:
                return False

        await until(renewed)
        lines = (await a.get("/metrics"))[1].splitlines()
        counts = dict(line.rsplit(" ", 1) for line in lines if line.startswith("understudy_tls_"))
        # How often depends on when it looks: openssl writes one file after the other.
        assert float(counts['understudy_tls_pairs_refused_total{kind="admin"}']) >= 1
        assert float(counts['understudy_tls_pairs_taken_total{kind="admin"}']) >= 2
        assert float(counts['understudy_tls_handshakes_failed_total{kind="plain_http"}']) == 0


async def test_more_requests_than_there_is_room_for_wait_their_turn_over_tls(tmp_path: Path) -> None:
    trust = certify(tmp_path, "story")
    async with gateway(snapshot()) as g, serving(g, tls=trust, tls_dir=tmp_path) as a:
        # The client's own room: uvloop drops what a paused TLS client has not read when the end comes.
        room = 16 * 1024 * 1024
        port = int(a.base.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=NAME, limit=room)
        asked = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        writer.write(asked * 9_999 + asked.replace(b"Host", b"Connection: close\r\nHost"))
        assert (await reader.read(-1)).count(b"200 OK") == 10_000
        writer.close()


async def test_a_gateway_that_leaves_does_not_become_ready() -> None:
    station = Station(Settings())
    station.plane.draining = True
    station.become_ready()
    assert not station.ready
    station.plane.draining = False
    station.become_ready()
    assert station.ready
