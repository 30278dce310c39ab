"""Detectors as the operator asks them: a server elsewhere, a ModelDeployment's pod, a head of our own."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.engine.objects import SPACE, child, deployment, made, scope
from understudy.domain.key import Key
from understudy.domain.names import ENGINE_PORT_NAME, ENGINE_TLS_PORT_NAME, service_host
from understudy.engine import asking
from understudy.engine.asking import AskError, CheckedResolver, Detectors, HttpOutside, outside_session, seat
from understudy.engine.cache import Cache
from understudy.guard.linear import Head, Weights, write_head
from understudy.guard.served.codec import MAX_ANSWER, Question
from understudy.guard.served.judge import Judge
from understudy.guard.served.scores import Scores
from understudy.kube.resources import MODEL_DEPLOYMENT, MODEL_SNAPSHOT, POD
from understudy.plan.actions import Probe
from understudy.plan.observed import Settings
from understudy.telemetry.operator import OperatorMetrics

QUESTION = Question("/v1/moderations", {"text": "Hello"}, {"detector-id": "words"})
JUDGE = Judge("safe/guard", Scores("safe/guard", frozenset(), {}), None, "", "", "", "", 5.0, "bad", "good")
SERVED = Probe("pod", "10.0.0.1", 8000, "guard-4b-1", "", 0, "key", 0.0, ())


class Engine:
    """Answers with what it was asked."""

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        raise NotImplementedError

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        return {"at": probe.address, "path": path, "body": dict(body), "seconds": seconds}


class Outside:
    async def ask(self, judge: Judge, question: Question) -> bytes:
        return judge.url.encode()


def asked(judge: Judge, pod: Probe | None = None) -> bytes:
    detectors = Detectors(Engine(), Outside(), lambda key: pod if key == Key(SPACE, "guard-4b") else None)
    return asyncio.run(detectors.ask(SPACE, judge, QUESTION))


def test_each_kind_of_detector_is_asked_in_its_way() -> None:
    head = write_head(Head(2, {"violence": Weights(1.0, 0.0, b"\0\0")}), "a test")
    assert json.loads(asked(replace(JUDGE, head=head))) == {"violence": pytest.approx(0.731, abs=0.001)}
    assert asked(replace(JUDGE, url="http://guard.example")) == b"http://guard.example"
    assert json.loads(asked(replace(JUDGE, model="guard-4b"), SERVED)) == {
        "at": "10.0.0.1",
        "path": "/v1/moderations",
        "body": {"text": "Hello", "model": "guard-4b-1"},
        "seconds": 5.0,
    }


def test_a_deployment_without_a_pod_that_answers_is_no_answer() -> None:
    with pytest.raises(AskError, match="ModelDeployment guard-4b has no pod that answers"):
        asked(replace(JUDGE, model="guard-4b"))


def pod(name: str, *, ready: str = "True", address: str = "10.0.0.1", **meta: Any) -> dict[str, Any]:
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]}
    obj = child(POD, name, "talk", "1a2b3c4d")
    return {**obj, "metadata": {**obj["metadata"], **meta}, "status": status}


def seated(*pods: dict[str, Any], tls: bool = False, stable: str = "1a2b3c4d") -> Probe | None:
    cache = Cache(OperatorMetrics(), lambda: 0.0)
    cache.upsert(scope(MODEL_DEPLOYMENT), {**deployment("talk"), "status": {"stable": stable} if stable else {}})
    for each in pods:
        cache.upsert(scope(POD), each)
    container = {"name": "engine", "ports": [{"name": ENGINE_TLS_PORT_NAME if tls else ENGINE_PORT_NAME}]}
    record = made(MODEL_SNAPSHOT, "talk-1a2b3c4d", spec={"podTemplate": {"spec": {"containers": [container]}}})
    cache.upsert(scope(MODEL_SNAPSHOT), record)
    return seat(cache, Settings(master_key=b"m" * 32), Key(SPACE, "talk"))


def test_a_pod_of_what_serves_is_asked_with_its_revisions_key() -> None:
    found = seated(pod("unready", ready="False"), pod("good", address="10.0.0.7"))
    assert found is not None
    assert (found.address, found.model_id, found.server_name) == ("10.0.0.7", "talk-1a2b3c4d", "")
    encrypted = seated(pod("good"), tls=True)
    assert encrypted is not None
    assert encrypted.server_name == service_host(SPACE, "talk", "1a2b3c4d")
    assert found.key == Settings(master_key=b"m" * 32).engine_key(SPACE, "talk", "1a2b3c4d")


def test_there_may_be_none() -> None:
    assert seated() is None
    assert seated(pod("a"), stable="") is None
    assert seated(pod("a"), stable="00000000") is None
    assert seated(pod("a", address="")) is None
    assert seated(pod("a", deletionTimestamp="2026-01-01T00:00:00Z")) is None


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def outside(answer: Answer, **changes: Any) -> bytes:
    async def main() -> bytes:
        async with served(answer) as url, outside_session() as session:
            return await HttpOutside(session).ask(replace(JUDGE, url=url, **changes), QUESTION)

    return asyncio.run(main())


def test_a_server_elsewhere_gets_the_question_with_its_fields() -> None:
    async def echo(request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/v1/moderations")
        assert request.headers["detector-id"] == "words"
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=await request.read())

    assert outside(echo) == b'{"text":"Hello"}'


@pytest.mark.parametrize(
    ("response", "error", "says"),
    [
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, AskError, "status 302"),
        ({"status": 503}, AskError, "status 503"),
        ({"headers": {"Content-Encoding": "gzip"}, "body": b"x"}, AskError, "compressed"),
        ({"body": b"x" * (MAX_ANSWER + 1)}, ValueError, "longer than"),
    ],
)
def test_what_is_no_answer_is_said(response: dict[str, Any], error: type[Exception], says: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(**response)

    with pytest.raises(error, match=says):
        outside(answer)


def test_one_that_says_nothing_in_time_is_not_waited_for() -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        outside(never, timeout=0.05)


def test_nobody_there_is_no_answer() -> None:
    async def main() -> None:
        async with outside_session() as session:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                url = f"http://127.0.0.1:{closed.getsockname()[1]}"
                with pytest.raises(AskError, match="no answer: ClientConnectorError"):
                    await HttpOutside(session).ask(replace(JUDGE, url=url), QUESTION)

    asyncio.run(main())


def test_a_certificate_is_asked_for_where_the_url_says_https() -> None:
    async def plain(_request: web.Request) -> web.Response:
        return web.Response()

    async def main() -> None:
        async with served(plain) as url, outside_session() as session:
            judge = replace(JUDGE, url=url.replace("http:", "https:"))
            with pytest.raises(AskError, match="no answer: Client"):
                await HttpOutside(session).ask(judge, QUESTION)

    asyncio.run(main())


def test_a_name_that_leads_to_the_operator_itself_leads_nowhere() -> None:
    async def main() -> None:
        async with outside_session() as session:
            with pytest.raises(AskError, match="no answer"):
                await HttpOutside(session).ask(replace(JUDGE, url="http://localhost:1"), QUESTION)
        with pytest.raises(OSError, match="leads to the operator itself"):
            await CheckedResolver().resolve("localhost", 1)

    asyncio.run(main())


def test_an_authority_that_is_named_is_the_only_one_that_is_trusted() -> None:
    usual, named = asking._context(""), asking._context(Path(__file__).with_name("tls").joinpath("ca.crt").read_text())
    assert usual.verify_mode == named.verify_mode == ssl.CERT_REQUIRED
    assert usual.check_hostname
    assert named.check_hostname
    assert named.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert [each["subject"] for each in named.get_ca_certs()] != [each["subject"] for each in usual.get_ca_certs()]
