"""The official client as a transport, against a server on loopback that misbehaves as real ones do."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from understudy.kube.aio import AioClient, _parsed, adapter
from understudy.kube.client import Scope, WatchEvent
from understudy.kube.errors import ApiError, Gone, NotFound, Retry, Terminal
from understudy.kube.resources import CONFIG_MAP, MODEL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stage:
    """A server whose one handler the test sets, and the client to it."""

    def __init__(self) -> None:
        self.handler: Handler
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.api: AioClient

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, _lower(request.headers), await request.read()))
        return await self.handler(request)

    def json(self, body: Any, status: int = 200, **headers: str) -> None:
        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=orjson.dumps(body), headers=headers)

        self.handler = handler

    def stream(self, *chunks: bytes, then: str = "end") -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
            if then == "reset" and request.transport is not None:
                request.transport.abort()
            return response

        self.handler = handler

    async def watched(self) -> list[WatchEvent]:
        events = self.api.watch(Scope(CONFIG_MAP, "shop"), resource_version="5", timeout_seconds=30)
        async with aclosing(events):
            return [event async for event in events]

    async def failure(self, call: Awaitable[Any]) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await call
        return caught.value


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    configuration.api_key["BearerToken"] = "Bearer token"
    found.api = adapter(configuration, "understudy")
    yield found
    await found.api.close()
    await runner.cleanup()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def event(name: str, size: int = 0) -> bytes:
    obj = {"metadata": {"name": name, "resourceVersion": "6"}, "data": {"x": "y" * size}}
    return orjson.dumps({"type": "ADDED", "object": obj}) + b"\n"


async def test_an_apply_is_a_forced_patch_with_its_manager_and_the_token(stage: Stage) -> None:
    stage.json({"metadata": {"resourceVersion": "1"}}, 201)
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
    assert await stage.api.apply(CONFIG_MAP, obj, manager="understudy") == {"metadata": {"resourceVersion": "1"}}
    method, path, headers, body = stage.requests[0]
    assert method == "PATCH"
    assert path == "/api/v1/namespaces/shop/configmaps/a?fieldManager=understudy&force=true"
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert headers["authorization"] == "Bearer token"
    assert orjson.loads(body) == obj


@pytest.mark.parametrize(
    ("environment", "own", "through"),
    [
        ({}, "", "http://api.invalid"),
        ({"http_proxy": "{}"}, "", "{}"),
        ({"http_proxy": "http://127.0.0.1:9"}, "{}", "{}"),
        ({"http_proxy": "{}", "no_proxy": "api.invalid"}, "", "http://api.invalid"),
    ],
)
async def test_the_proxy_is_the_kubeconfigs_or_the_environments(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], own: str, through: str
) -> None:
    here = stage.api._api.configuration.host
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(here))
    stage.json({"metadata": {"name": "a"}})
    api = adapter(Configuration(host="http://api.invalid", proxy=own.format(here) or None), "understudy")
    try:
        if through == "{}":
            assert await api.get(CONFIG_MAP, "shop", "a") == {"metadata": {"name": "a"}}
            assert stage.requests[0][2]["host"] == "api.invalid"
        else:
            assert isinstance((await stage.failure(api.get(CONFIG_MAP, "shop", "a"))).failure, Retry)
            assert stage.requests == []
    finally:
        await api.close()


async def test_credentials_for_other_programs_are_not_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login anna password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    stage.json({"metadata": {"name": "a"}})
    await stage.api.get(CONFIG_MAP, "shop", "a")
    assert stage.requests[0][2]["authorization"] == "Bearer token"


async def test_a_status_replaces_what_is_there_under_its_conditions(stage: Stage) -> None:
    stage.json({})
    meta = {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": "5", "labels": {}}
    await stage.api.replace_status(MODEL, {"metadata": meta, "status": {"usedBy": []}}, manager="understudy-status")
    method, path, headers, body = stage.requests[0]
    where = "/apis/understudy.dev/v1alpha1/namespaces/shop/models/a/status"
    assert (method, path) == ("PATCH", f"{where}?fieldManager=understudy-status&fieldValidation=Strict")
    assert headers["content-type"] == "application/json-patch+json"
    assert orjson.loads(body) == [
        {"op": "replace", "path": "/metadata/uid", "value": "u"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "5"},
        {"op": "add", "path": "/status", "value": {"usedBy": []}},
    ]


async def test_a_list_asks_for_pages_with_its_selectors(stage: Stage) -> None:
    stage.json({"metadata": {"resourceVersion": "9", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]})
    scope = Scope(CONFIG_MAP, "shop", label_selector="x=y", field_selector="metadata.name!=z")
    page = await stage.api.list_page(scope, limit=7, continue_token="here")
    assert (page.resource_version, page.continue_token) == ("9", "next")
    assert page.items[0]["kind"] == "ConfigMap"
    query = stage.requests[0][1].partition("?")[2]
    expected = {"labelSelector=x%3Dy", "fieldSelector=metadata.name!%3Dz", "limit=7", "continue=here"}
    assert set(query.split("&")) == expected
    assert stage.requests[0][2]["accept-encoding"] == "identity", "long answers are not packed for a way this short"


@pytest.mark.parametrize("collects", [True, False])
def test_a_long_answer_is_read_without_a_search_for_garbage_in_it(collects: bool) -> None:
    body = orjson.dumps({"items": [{"metadata": {}} for _ in range(20_000)]})
    searches: list[str] = []
    gc.enable()
    gc.callbacks.append(lambda phase, _info: searches.append(phase))
    try:
        if not collects:
            gc.disable()
        assert len(_parsed(body)["items"]) == 20_000
        # The first one after it is over, if any: in the answer there would be dozens.
        assert len(searches) <= 2
        assert gc.isenabled() == collects
    finally:
        gc.callbacks.pop()
        gc.enable()


async def test_a_deletion_carries_its_conditions(stage: Stage) -> None:
    stage.json({})
    await stage.api.delete(CONFIG_MAP, "shop", "a", uid="u", resource_version="5")
    options = orjson.loads(stage.requests[0][3])
    assert options["preconditions"] == {"uid": "u", "resourceVersion": "5"}
    assert options["propagationPolicy"] == "Background"


async def test_a_deletion_without_conditions_carries_none(stage: Stage) -> None:
    stage.json({})
    await stage.api.delete(CONFIG_MAP, "shop", "a")
    assert "preconditions" not in orjson.loads(stage.requests[0][3])


async def test_a_refusal_is_an_error_with_what_it_means(stage: Stage) -> None:
    stage.json({"message": "spec.x: no", "reason": "Invalid"}, 422)
    error = await stage.failure(stage.api.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "shop"}}))
    assert error.failure == Terminal("spec.x: no")


async def test_a_busy_server_says_for_how_long(stage: Stage) -> None:
    stage.json({"message": "busy"}, 429, **{"Retry-After": "4"})
    assert (await stage.failure(stage.api.get(CONFIG_MAP, "shop", "a"))).failure == Retry(4.0)


async def test_discovery_of_what_is_not_there_is_empty_and_other_failures_are_not(stage: Stage) -> None:
    stage.json({}, 404)
    assert await stage.api.plurals("understudy.dev/v1alpha1") == frozenset()
    stage.json({"message": "not yet"}, 503)
    assert (await stage.failure(stage.api.plurals("understudy.dev/v1alpha1"))).failure == Retry(1.0)


async def test_events_are_read_line_by_line_wherever_the_network_cuts_them(stage: Stage) -> None:
    whole = event("a") + event("b") + event("c")
    stage.stream(whole[:10], whole[10:90], whole[90:])
    assert [found.object["metadata"]["name"] for found in await stage.watched()] == ["a", "b", "c"]


async def test_an_event_of_megabytes_is_read(stage: Stage) -> None:
    stage.stream(event("big", 6_000_000), event("small"))
    assert [found.object["metadata"]["name"] for found in await stage.watched()] == ["big", "small"]


async def test_half_an_event_at_the_end_is_dropped(stage: Stage) -> None:
    stage.stream(event("a"), b'{"type": "ADDED", "obj')
    assert len(await stage.watched()) == 1


async def test_an_error_in_the_stream_is_raised(stage: Stage) -> None:
    error = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    stage.stream(event("a"), orjson.dumps(error) + b"\n")
    with pytest.raises(ApiError) as caught:
        await stage.watched()
    assert caught.value.failure == Gone()


async def test_a_watch_that_is_refused_is_an_error(stage: Stage) -> None:
    stage.json({"message": "too old"}, 410)
    with pytest.raises(ApiError) as caught:
        await stage.watched()
    assert caught.value.failure == Gone()


async def test_a_connection_that_breaks_is_worth_a_retry(stage: Stage) -> None:
    stage.stream(event("a"), then="reset")
    with pytest.raises(ApiError) as caught:
        await stage.watched()
    assert isinstance(caught.value.failure, Retry)


async def test_a_call_that_hangs_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.kube.aio.CALL_TIMEOUT", 0.2)

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    stage.handler = hang
    error = await stage.failure(stage.api.get(CONFIG_MAP, "shop", "a"))
    assert isinstance(error.failure, Retry)


@pytest.mark.parametrize("name", ["../secrets/key", ""])
async def test_a_name_that_leads_elsewhere_is_never_sent(stage: Stage, name: str) -> None:
    stage.json({})
    for call in (
        stage.api.get(CONFIG_MAP, "shop", name),
        stage.api.delete(CONFIG_MAP, "shop", name),
        stage.api.apply(CONFIG_MAP, {"metadata": {"namespace": "shop", "name": name}}, manager="m"),
        stage.api.replace(CONFIG_MAP, {"metadata": {"namespace": "shop", "name": name}}),
        stage.api.list_page(Scope(CONFIG_MAP, "../nodes")),
    ):
        error = await stage.failure(call)
        assert isinstance(error.failure, NotFound)
        assert "nothing is called" in error.message
    assert stage.requests == []
