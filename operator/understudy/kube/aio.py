"""`KubeClient` on the official client's asyncio part.

Used for its transport, TLS and authentication only. Its typed methods validate every field and cost
sixteen times as much as JSON, and `patch_*` returns None when server-side apply creates.
"""

import gc
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from understudy.kube.client import Object, Page, Scope, WatchEvent
from understudy.kube.errors import ApiError, from_answer, from_status, unnameable, unreachable
from understudy.kube.resources import Resource

CALL_TIMEOUT = 10.0
# While its Service has no endpoint, packets to the API server are dropped: who waits for long is late when it is back.
_CONNECT_TIMEOUT = 3.0
_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_JSON = "application/json"
# "Not older" than what there is as the question comes, since no version is named.
_FROM_THE_BEGINNING = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)


class NoClusterError(Exception):
    """Neither a kubeconfig nor a service account could be read; the message says which and why."""


async def connect(kubeconfig: str = "", *, connections: int = 128) -> "AioClient":
    """A client for the cluster that `kubeconfig` names, or the one this pod runs in if it is empty."""
    configuration = Configuration(connection_pool_maxsize=connections)
    if kubeconfig and not Path(kubeconfig).is_file():  # noqa: ASYNC240 - once, before anything runs
        raise NoClusterError(f"cannot read the kubeconfig {kubeconfig}: there is no such file")
    try:
        if kubeconfig:
            await load_kube_config(  # type: ignore[no-untyped-call]  # the client's configuration has no types
                config_file=kubeconfig, client_configuration=configuration, persist_config=False
            )
        else:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # same
    except (ConfigException, OSError) as error:
        where = f"the kubeconfig {kubeconfig}" if kubeconfig else "the service account of this pod"
        raise NoClusterError(f"cannot read {where}: {error}") from error
    return adapter(configuration, "understudy")


def adapter(configuration: Configuration, user_agent: str) -> "AioClient":
    """The cluster of `configuration`, through its proxy or else the one that the environment names."""
    if not configuration.proxy:
        where = urlsplit(configuration.host)
        bypassed = proxy_bypass(where.hostname or "")
        configuration.proxy = None if bypassed else getproxies().get(where.scheme)
    # Left to itself, aiohttp looks for that proxy and for a ~/.netrc, in other threads, at every single request.
    configuration.client_session_kwargs = {"trust_env": False}
    api = ApiClient(configuration=configuration)
    api.user_agent = user_agent
    return AioClient(api)


class AioClient:
    """The production adapter; see `KubeClient` for the contracts of its methods."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]  # same

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self._call("GET", _path(resource, namespace, name))

    async def list_page(self, scope: Scope, *, limit: int = 500, continue_token: str = "") -> Page:
        """Read one page of a collection."""
        query = [*_selectors(scope), ("limit", str(limit))]
        if continue_token:
            query.append(("continue", continue_token))
        body = await self._call("GET", _path(scope.resource, scope.namespace), query)
        # Items of a list carry neither apiVersion nor kind.
        named = {"apiVersion": scope.resource.api_version, "kind": scope.resource.kind}
        return Page(
            items=tuple({**named, **item} for item in body["items"]),
            resource_version=body["metadata"]["resourceVersion"],
            continue_token=body["metadata"].get("continue") or "",
        )

    async def watch(
        self, scope: Scope, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        """Stream what happened after `resource_version`, or what there is and what happens."""
        since = [("resourceVersion", resource_version)] if resource_version else _FROM_THE_BEGINNING
        query = [
            *_selectors(scope),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            *since,
            ("timeoutSeconds", str(timeout_seconds)),
        ]
        timeout = aiohttp.ClientTimeout(total=timeout_seconds + 30, sock_connect=_CONNECT_TIMEOUT)
        path = _path(scope.resource, scope.namespace)
        try:
            answer = await self._send("GET", path, query, timeout=timeout)
            async with answer.response:
                if answer.status >= 300:
                    raise from_answer(answer.status, await answer.read(), answer.headers.get("Retry-After", ""))
                async for line in _lines(answer.response.content):
                    yield _event(orjson.loads(line))
        except _UNREACHABLE as error:
            raise unreachable(error) from error

    async def apply(self, resource: Resource, obj: Object, *, manager: str, dry_run: bool = False) -> Object:
        """Server-side apply with force."""
        meta = obj["metadata"]
        path = _path(resource, meta.get("namespace", ""), meta["name"])
        query = [("fieldManager", manager), ("force", "true"), *_trial(dry_run)]
        return await self._call("PATCH", path, query, obj, _APPLY)

    async def replace_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        """A JSON patch: server-side apply leaves what others own, and a PUT would have to carry the whole object."""
        meta = obj["metadata"]
        path = _path(resource, meta.get("namespace", ""), meta["name"], "status")
        conditions = [
            # Another value is refused as for any update: a uid never changes, a version must be the present one.
            {"op": "replace", "path": f"/metadata/{name}", "value": meta[name]}
            for name in ("uid", "resourceVersion")
            if name in meta
        ]
        body = [*conditions, {"op": "add", "path": "/status", "value": obj["status"]}]
        query = [("fieldManager", manager), ("fieldValidation", "Strict")]
        return await self._call("PATCH", path, query, body, _JSON_PATCH)

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Create; Conflict if it exists."""
        return await self._call("POST", _path(resource, obj["metadata"].get("namespace", "")), _trial(dry_run), obj)

    async def replace(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Replace the object whose resourceVersion the argument carries."""
        meta = obj["metadata"]
        return await self._call("PUT", _path(resource, meta.get("namespace", ""), meta["name"]), _trial(dry_run), obj)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete in the background."""
        conditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if conditions:
            options["preconditions"] = conditions
        await self._call("DELETE", _path(resource, namespace, name), body=options)

    async def plurals(self, api_version: str) -> frozenset[str]:
        """Names of the collections in a group version."""
        try:
            found = await self._call("GET", f"/apis/{api_version}")
        except ApiError as error:
            if error.status == 404:
                return frozenset()
            raise
        return frozenset(item["name"] for item in found["resources"])

    async def _call(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str = _JSON,
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT, sock_connect=_CONNECT_TIMEOUT)
        try:
            answer = await self._send(method, path, query, body, content_type, timeout)
            data: bytes = await answer.read()
        except _UNREACHABLE as error:
            raise unreachable(error) from error
        if answer.status >= 300:
            raise from_answer(answer.status, data, answer.headers.get("Retry-After", ""))
        return _parsed(data)

    async def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str = _JSON,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp's own value, passed through
    ) -> Any:
        # Not packed: in one cluster it takes longer to pack and to unpack pages of lists than to send them as they are.
        headers = {"Accept": _JSON, "Accept-Encoding": "identity", "Content-Type": content_type}
        method, url, headers, *_ = await self._api.param_serialize(
            method, path, query_params=query or [], header_params=headers, auth_settings=["BearerToken"]
        )
        # The body passes it by: it would look into every value for models of its own.
        return await self._api.call_api(method, url, headers, body, _request_timeout=timeout)


def _path(resource: Resource, namespace: str, name: str | None = None, subresource: str = "") -> str:
    try:
        if name == "":
            raise ValueError("nothing is called ''")  # and the path would be that of all of them
        return resource.path(namespace, name or "", subresource)
    except ValueError as error:
        raise unnameable(error) from error


def _trial(dry_run: bool) -> list[tuple[str, str]]:
    """What makes a write a question: would it be taken, and what would it become?"""
    return [("dryRun", "All"), ("fieldValidation", "Strict")] if dry_run else []


def _selectors(scope: Scope) -> list[tuple[str, str]]:
    pairs = (("labelSelector", scope.label_selector), ("fieldSelector", scope.field_selector))
    return [(name, value) for name, value in pairs if value]


def _parsed(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    A page of a list is tens of thousands of dicts: while they are made, the garbage collector would walk through them
    again and again for as much time as it takes to read them, and find nothing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        parsed: dict[str, Any] = orjson.loads(data)
    finally:
        if collects:
            gc.enable()
    return parsed


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of any length: the reader's own `readline` refuses objects above its buffer."""
    rest: list[bytes] = []
    async for chunk in stream.iter_any():
        *whole, tail = chunk.split(b"\n")
        for line in whole:
            rest.append(line)
            yield b"".join(rest)
            rest = []
        if tail:
            rest.append(tail)


def _event(raw: Mapping[str, Any]) -> WatchEvent:
    obj = raw["object"]
    if raw["type"] == "ERROR":
        raise from_status(int(obj.get("code") or 500), obj)
    return WatchEvent(type=raw["type"], object=obj)
