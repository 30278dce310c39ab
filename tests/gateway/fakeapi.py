"""An API server for tests: lists in pages, watches with bookmarks, token reviews, and every way to be away."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

TABLES = "/apis/understudy.dev/v1alpha1/routingtables"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
SECRETS = "/api/v1/namespaces/understudy-system/secrets"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

Item = dict[str, Any]


@dataclass
class FakeApi:
    """One server. `requests` are the (method, path, query) so far; `fail` maps paths to statuses to answer with.

    `single` are objects that are asked for by their own path; ConfigMaps are there only so.
    `rights` are of (user, resource, namespace), "" for all namespaces; `reviewed` is what it was asked about them.
    """

    url: str = ""
    page: int = 2
    fail: dict[str, int] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    reviewed: list[Item] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    objects: dict[str, dict[tuple[str, str], Item]] = field(default_factory=dict)
    single: dict[str, Item] = field(default_factory=dict)
    server: asyncio.Server | None = None
    _versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(10))
    _watchers: list[tuple[str, dict[str, str], asyncio.Queue[bytes]]] = field(default_factory=list)
    _past: dict[str, list[tuple[int, Item, bytes]]] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def put(self, path: str, item: Item) -> None:
        """Create or change an object; its generation counts its changes."""
        objects = self.objects.setdefault(path, {})
        metadata = item["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        before = objects.get(key)
        metadata.setdefault("uid", f"uid-{metadata['name']}")
        metadata["generation"] = before["metadata"]["generation"] + 1 if before else 1
        metadata["resourceVersion"] = str(next(self._versions))
        objects[key] = item
        self._tell(path, "MODIFIED" if before else "ADDED", item)

    def delete(self, path: str, namespace: str, name: str) -> None:
        """Delete an object."""
        item = self.objects[path].pop((namespace, name))
        item["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell(path, "DELETED", item)

    def forget(self, path: str, namespace: str, name: str) -> None:
        """Delete an object without telling any watch, as happens while nobody watches."""
        del self.objects[path][(namespace, name)]

    def say(self, path: str, event: Mapping[str, Any] | bytes) -> None:
        """Anything at all to the watchers of a path."""
        for watched, _, queue in self._watchers:
            if watched == path:
                queue.put_nowait(event if isinstance(event, bytes) else orjson.dumps(event) + b"\n")

    def expire(self, path: str) -> None:
        """Tell watchers that the past is forgotten, inside the stream as real servers do."""
        self.say(path, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})

    def end_watches(self) -> None:
        """End every watch, properly."""
        for _, _, queue in self._watchers:
            queue.put_nowait(b"")

    def watches(self, path: str) -> int:
        """How many watch a path now."""
        return sum(1 for watched, _, _ in self._watchers if watched == path)

    def asked(self, path: str, *, watch: bool) -> list[dict[str, str]]:
        """Queries of the lists or watches of a path."""
        return [query for _, asked, query in self.requests if asked == path and ("watch" in query) is watch]

    async def stop(self) -> None:
        """Be gone: nothing listens, every connection is reset."""
        if self.server is not None:
            self.server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        self.end_watches()

    async def start(self, port: int = 0) -> None:
        """Serve, again on the same port if it is given."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def _tell(self, path: str, kind: str, item: Item) -> None:
        event = orjson.dumps({"type": kind, "object": item}) + b"\n"
        version = int(item["metadata"]["resourceVersion"])
        self._past.setdefault(path, []).append((version, item, event))
        for watched, query, queue in self._watchers:
            if watched == path and _matches(item, query):
                queue.put_nowait(event)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n")[0].split(" ")
            fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            self.tokens.append(fields.get("authorization", ""))
            url = urlsplit(target)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.requests.append((method, url.path, query))
            await self._answer(writer, url.path, query, body)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, query: dict[str, str], body: bytes) -> None:
        if path in self.fail:
            _plain(writer, self.fail[path], {"message": "as the test says"})
        elif path == REVIEWS:
            _plain(writer, 201, self._review(orjson.loads(body)))
        elif path == ACCESS:
            _plain(writer, 201, self._access(orjson.loads(body)))
        elif "/configmaps/" in path:
            found = self.single.get(path)
            _plain(writer, 404 if found is None else 200, found or {"message": "not found"})
        elif "watch" in query:
            await self._watch(writer, path, query)
        else:
            _plain(writer, 200, self._list(path, query))
        await writer.drain()

    def _review(self, review: Item) -> Item:
        user = self.users.get(review["spec"]["token"], "")
        known = {
            "username": user,
            "uid": f"uid of {user}",
            "groups": ["system:serviceaccounts"],
            "extra": {"authentication.kubernetes.io/pod-name": ["pod"]},
        }
        status = {"authenticated": bool(user), "user": known, "audiences": review["spec"]["audiences"]}
        return {**review, "status": status if user else {"error": "who is that"}}

    def _access(self, review: Item) -> Item:
        spec, asked = review["spec"], review["spec"]["resourceAttributes"]
        self.reviewed.append(spec)
        resource = f"{asked['resource']}/{asked['subresource']}"
        held = {(spec["user"], resource, where) for where in ("", asked.get("namespace", ""))}
        return {**review, "status": {"allowed": bool(held & self.rights)}}

    def _selected(self, path: str, query: dict[str, str]) -> list[Item]:
        items = list(self.objects.get(path, {}).values())
        return [item for item in items if _matches(item, query)]

    def _list(self, path: str, query: dict[str, str]) -> Item:
        items = self._selected(path, query)
        start = int(query.get("continue", "0"))
        metadata = {"resourceVersion": str(next(self._versions))}
        if start + self.page < len(items):
            metadata["continue"] = str(start + self.page)
        return {"items": items[start : start + self.page] or None, "metadata": metadata}

    async def _watch(self, writer: asyncio.StreamWriter, path: str, query: dict[str, str]) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        watcher = (path, query, queue)
        self._watchers.append(watcher)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for version, item, event in self._past.get(path, []):
                if version > int(query["resourceVersion"]) and _matches(item, query):
                    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            while event := await queue.get():
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        finally:
            self._watchers.remove(watcher)


def _matches(item: Item, query: dict[str, str]) -> bool:
    labels = item["metadata"].get("labels", {})
    if "fieldSelector" in query:
        return str(item["metadata"]["name"]) == query["fieldSelector"].removeprefix("metadata.name=")
    name, _, value = query.get("labelSelector", "").partition("=")
    return not name or (name in labels and value in ("", labels[name]))


def _plain(writer: asyncio.StreamWriter, status: int, body: Item) -> None:
    payload = orjson.dumps(body)
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(payload), payload))


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """A fake API server on a loopback port."""
    api = FakeApi()
    await api.start()
    try:
        yield api
    finally:
        await api.stop()


def table_object(table: Mapping[str, Any]) -> Item:
    """A RoutingTable of a snapshot's table."""
    return {"metadata": {"namespace": table["namespace"], "name": table["name"]}, "spec": dict(table["spec"])}


def slice_object(given: Mapping[str, Any], **conditions: bool) -> Item:
    """An EndpointSlice of a snapshot's endpoints."""
    labels = {"kubernetes.io/service-name": given["service"], "understudy.dev/deployment": given["service"][:-9]}
    port = given["addresses"][0]["port"] if given["addresses"] else 8000
    endpoints = [{"addresses": [a["host"]], "conditions": conditions or {"ready": True}} for a in given["addresses"]]
    metadata = {"namespace": given["namespace"], "name": given["slice"], "labels": labels}
    return {"metadata": metadata, "ports": [{"name": "http", "port": port}], "endpoints": endpoints}


def secret(name: str, label: str = "", **data: str) -> Item:
    """A Secret of the system namespace."""
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    labels = {label: "true"} if label else {}
    return {"metadata": {"namespace": "understudy-system", "name": name, "labels": labels}, "data": encoded}


def key_secret(name: str, text_hash: str, namespaces: str = "*", names: str = "*", **limits: str) -> Item:
    """An access key's Secret."""
    return secret(name, "understudy.dev/access-key", hash=text_hash, namespaces=namespaces, names=names, **limits)
