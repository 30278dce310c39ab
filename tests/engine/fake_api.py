"""An API server in memory, as strict as the real one in what the operator relies on.

Server-side apply with field ownership (lists are atomic), resourceVersions from one counter, uid and
resourceVersion preconditions, generation, status subresource, paged lists, watches with bookmarks,
and faults on demand: any error on any call, watches that end, fall silent or are too old. The
contract tests in tests/kube run against this one and a real one.
"""

import asyncio
import copy
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.kube.client import Object, Page, Scope, WatchEvent
from understudy.kube.errors import ApiError, from_status
from understudy.kube.resources import Resource

Path = tuple[str, ...]
Name = tuple[Resource, str, str]
_READS = ("get", "list", "watch", "plurals")
# Objects of our own kinds that are owned as a whole, as their CRDs say; statuses are, too.
_WHOLE = {"RoutingTable": ("spec",), "ModelSnapshot": ("spec",)}
_SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")


def status_error(code: int, reason: str, message: str = "", **details: Any) -> ApiError:
    """The ApiError that an answer with this metav1.Status becomes."""
    return from_status(code, {"code": code, "reason": reason, "message": message or reason, "details": details})


@dataclass
class Call:
    """One request, as tests look at it."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    body: Object = field(default_factory=dict)
    manager: str = ""


@dataclass
class _Logged:
    version: int
    type: str
    before: Object | None
    after: Object


class FakeApi:
    """Implements `KubeClient`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.groups: dict[str, frozenset[str]] = {}
        self.namespaces_going: set[str] = set()
        self.latency = 0.0
        self._objects: dict[Name, dict[str, Any]] = {}
        self._versions = itertools.count(1)
        self._version = 0
        self._oldest = 0
        self._uids = itertools.count(1)
        self._log: dict[Resource, list[_Logged]] = {}
        self._faults: deque[tuple[Callable[[Call], bool], BaseException]] = deque()
        self._stirred = asyncio.Event()
        self._cut = 0
        self._silent = False
        self.watches = 0
        self.down = False
        self.breaks_off = 0  # so many beginnings end before they have been told; -1 falls silent instead
        self.tells_beginnings = True  # as API servers do whose gate WatchList is on

    # What tests do to the server.

    def fail(self, error: BaseException, verb: str = "", kind: str = "", times: int = 1) -> None:
        """The next `times` calls of that verb and kind (any, if empty) raise `error`."""

        def matches(call: Call) -> bool:
            return (not verb or call.verb == verb) and (not kind or call.resource.kind == kind)

        self._faults.extend((matches, error) for _ in range(times))

    def cut_watches(self) -> None:
        """End every open watch by plain end of stream."""
        self._cut += 1
        self._stir()

    def silence(self, silent: bool = True) -> None:
        """Watches that are open say nothing more, until they are asked for anew with silence lifted."""
        self._silent = silent

    def compact(self) -> None:
        """Forget the past: watches and continue tokens from before are Gone."""
        self._oldest = self._version

    def bookmark(self) -> None:
        """Send a bookmark on every watch."""
        self._version = next(self._versions)
        for log in self._log.values():
            log.append(_Logged(self._version, "BOOKMARK", None, self._marker()))
        self._stir()

    def stop(self, stopped: bool = True) -> None:
        """The server answers nothing and ends its watches; or is back."""
        self.down = stopped
        self.cut_watches()

    def put(self, resource: Resource, obj: Object, manager: str = "kubectl") -> Object:
        """What a user does: create or replace, whole, but for status."""
        meta = obj["metadata"]
        name = (resource, meta.get("namespace", ""), meta["name"])
        if name not in self._objects:
            return self._store_new(resource, obj, manager)
        stored = copy.deepcopy(self._objects[name])
        for key, value in obj.items():
            if key == "metadata":
                stored["metadata"].update({k: v for k, v in value.items() if k not in _SERVER_FIELDS})
            elif key != "status":
                stored[key] = copy.deepcopy(value)
        return self._store(name, stored)

    def patch(self, resource: Resource, namespace: str, name: str, change: Callable[[dict[str, Any]], None]) -> Object:
        """What a controller or a kubelet does: change anything in place."""
        stored = copy.deepcopy(self._objects[resource, namespace, name])
        change(stored)
        return self._store((resource, namespace, name), stored)

    def touch_as(self, resource: Resource, namespace: str, name: str, manager: str, path: Path, value: Any) -> None:
        """What another field manager does: write one field and own it."""
        stored = copy.deepcopy(self._objects[resource, namespace, name])
        _set(stored, path, copy.deepcopy(value))
        _take(stored, manager, "Update", "", {path}, set())
        self._store((resource, namespace, name), stored)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """What a user's delete does."""
        gone = copy.deepcopy(self._objects.pop((resource, namespace, name)))
        self._version = next(self._versions)
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._append(resource, "DELETED", gone, gone)

    def read(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """The stored object, or None; a copy."""
        found = self._objects.get((resource, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    def writes(self) -> list[Call]:
        """Every call that was meant to change something, Lease renewals excepted."""
        return [
            c
            for c in self.calls
            if c.verb not in _READS and not c.verb.startswith("try-") and c.resource.kind != "Lease"
        ]

    # KubeClient.

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        await self._receive(Call("get", resource, namespace, name))
        return copy.deepcopy(self._existing((resource, namespace, name)))

    async def list_page(self, scope: Scope, *, limit: int = 500, continue_token: str = "") -> Page:
        await self._receive(Call("list", scope.resource, scope.namespace, ""))
        start, version = 0, self._version
        if continue_token:
            at, _, offset = continue_token.partition("/")
            start, version = int(offset), int(at)
            if version < self._oldest:
                raise status_error(410, "Expired", "the continue token is too old")
        found = self._found(scope)
        page = tuple(copy.deepcopy(obj) for obj in found[start : start + limit])
        more = start + limit < len(found)
        return Page(page, str(version), f"{version}/{start + limit}" if more else "")

    async def watch(
        self, scope: Scope, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        # Without a version it is a list, to whoever counts calls or lets them fail.
        await self._receive(Call("watch" if resource_version else "list", scope.resource, scope.namespace, ""))
        if not resource_version and not self.tells_beginnings:
            raise status_error(422, "Invalid", "sendInitialEvents is forbidden for watch")
        seen, cut = int(resource_version or self._version), self._cut
        if seen < self._oldest:
            raise status_error(410, "Expired", "too old resource version")
        ends = asyncio.get_running_loop().time() + timeout_seconds
        self.watches += 1
        try:
            for told in () if resource_version else self._beginning(scope):
                if self.breaks_off and told.type == "BOOKMARK":
                    self.breaks_off -= 1
                    await asyncio.sleep(0 if self.breaks_off >= 0 else timeout_seconds)
                    return
                yield told
            while True:
                for logged in list(self._log.setdefault(scope.resource, [])):
                    if logged.version > seen and not self._silent:
                        seen = logged.version
                        event = _as_seen(scope, logged)
                        if event is not None:
                            yield event
                if self._cut != cut:
                    return
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                try:
                    async with asyncio.timeout(left):
                        await self._stirred.wait()
                except TimeoutError:
                    return
        finally:
            self.watches -= 1

    async def apply(self, resource: Resource, obj: Object, *, manager: str, dry_run: bool = False) -> Object:
        return await self._tried(lambda server: server._apply(resource, obj, manager), dry_run)

    async def replace_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        meta = obj["metadata"]
        name = (resource, meta.get("namespace", ""), meta["name"])
        await self._receive(Call("replace/status", resource, *name[1:], obj, manager))
        stored = copy.deepcopy(self._existing(name))
        _check(meta, stored)
        stored["status"] = copy.deepcopy(dict(obj["status"]))
        stored["metadata"]["managedFields"] = [e for e in _entries(stored) if e.get("subresource") != "status"]
        _take(stored, manager, "Update", "status", {("status",)}, set())
        return copy.deepcopy(self._store(name, stored))

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        return await self._tried(lambda server: server._create(resource, obj), dry_run)

    async def replace(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        return await self._tried(lambda server: server._replace(resource, obj), dry_run)

    async def _create(self, resource: Resource, obj: Object) -> Object:
        meta = obj["metadata"]
        name = (resource, meta.get("namespace", ""), meta["name"])
        await self._receive(Call("create", resource, name[1], name[2], obj))
        if name in self._objects:
            raise status_error(409, "AlreadyExists", f"{name[2]} already exists")
        return self._store_new(resource, obj, "client")

    async def _replace(self, resource: Resource, obj: Object) -> Object:
        meta = obj["metadata"]
        name = (resource, meta.get("namespace", ""), meta["name"])
        await self._receive(Call("replace", resource, name[1], name[2], obj))
        stored = self._existing(name)
        if meta.get("resourceVersion") not in (None, stored["metadata"]["resourceVersion"]):
            raise status_error(409, "Conflict", "the object has been modified")
        fresh = copy.deepcopy(dict(obj))
        fresh["metadata"] = {**fresh["metadata"], **{k: stored["metadata"].get(k) for k in _SERVER_FIELDS[:4]}}
        if "status" in stored:
            fresh["status"] = stored["status"]
        return self._store(name, fresh)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> None:
        await self._receive(
            Call("delete", resource, namespace, name, {"uid": uid, "resourceVersion": resource_version})
        )
        meta = self._existing((resource, namespace, name))["metadata"]
        if (uid and uid != meta["uid"]) or (resource_version and resource_version != meta["resourceVersion"]):
            raise status_error(409, "Conflict", "the precondition does not hold")
        self.remove(resource, namespace, name)

    async def plurals(self, api_version: str) -> frozenset[str]:
        await self._receive(Call("plurals", Resource(api_version, "", ""), "", ""))
        return self.groups.get(api_version, frozenset())

    async def close(self) -> None:
        self.stop()

    # Inside.

    def _found(self, scope: Scope) -> list[dict[str, Any]]:
        return sorted(
            (obj for name, obj in self._objects.items() if name[0] == scope.resource and _in_scope(scope, obj)),
            key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]),
        )

    def _beginning(self, scope: Scope) -> list[WatchEvent]:
        """All there is, and that this was all."""
        end = {"resourceVersion": str(self._version), "annotations": {"k8s.io/initial-events-end": "true"}}
        there = [WatchEvent("ADDED", copy.deepcopy(obj)) for obj in self._found(scope)]
        return [*there, WatchEvent("BOOKMARK", {"metadata": end})]

    async def _tried(self, write: Callable[["FakeApi"], Awaitable[Object]], dry_run: bool) -> Object:
        """The write; a dry run is one on a server of the same content that nobody watches."""
        if not dry_run:
            return await write(self)
        twin = FakeApi()
        twin._objects, twin._version = {name: copy.deepcopy(obj) for name, obj in self._objects.items()}, self._version
        twin._versions, twin._uids = itertools.count(self._version + 1), itertools.count(10_000)
        twin.namespaces_going, twin.down, twin._faults = self.namespaces_going, self.down, self._faults
        try:
            return await write(twin)
        finally:
            self.calls.extend(replace(call, verb=f"try-{call.verb}") for call in twin.calls)

    async def _receive(self, call: Call) -> None:
        await asyncio.sleep(self.latency)
        self.calls.append(call)
        if self.down:
            raise ApiError(0, "ConnectionRefused", "no answer", from_status(503, {}).failure)
        for index, (matches, error) in enumerate(self._faults):
            if matches(call):
                del self._faults[index]
                raise error

    async def _apply(self, resource: Resource, obj: Object, manager: str) -> Object:
        meta = obj["metadata"]
        name = (resource, meta.get("namespace", ""), meta["name"])
        await self._receive(Call("apply", resource, *name[1:], obj, manager))
        if "managedFields" in meta:
            raise status_error(400, "BadRequest", "metadata.managedFields must be nil")
        if name[1] in self.namespaces_going:
            cause = {"reason": "NamespaceTerminating"}
            raise status_error(403, "Forbidden", f"namespace {name[1]} is being terminated", causes=[cause])
        stored = self._objects.get(name)
        if stored is None:
            if "uid" in meta:
                raise status_error(409, "Conflict", "uid mismatch: the object is gone")
            stored = self._stub(resource, meta)
        else:
            _check(meta, stored)
        merged = copy.deepcopy(dict(stored))
        wanted = dict(_applied(resource, obj))
        owned = _owned(merged, manager)
        for path in owned - wanted.keys():
            if not _owned_by_others(merged, manager, path):
                _unset(merged, path)
        for path, value in wanted.items():
            _set(merged, path, copy.deepcopy(value))
        changed = {path for path, value in wanted.items() if _get(stored, path) != value}
        if stored.get("immutable") and stored.get("data") != merged.get("data"):
            raise status_error(422, "Invalid", "data: field is immutable when `immutable` is set")
        _take(merged, manager, "Apply", "", set(wanted), changed)
        return copy.deepcopy(self._store(name, merged))

    def _existing(self, name: Name) -> dict[str, Any]:
        if name not in self._objects:
            raise status_error(404, "NotFound", f"{name[0].plural} {name[2]!r} not found")
        return self._objects[name]

    def _store_new(self, resource: Resource, obj: Object, manager: str) -> Object:
        fresh = self._stub(resource, obj["metadata"])
        meta = {k: v for k, v in obj["metadata"].items() if k not in _SERVER_FIELDS}
        body = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata", "status")}
        fresh.update(copy.deepcopy(body))
        fresh["metadata"].update(copy.deepcopy(meta))
        _take(fresh, manager, "Update", "", {path for path, _ in _applied(resource, fresh)}, set())
        return self._store((resource, meta.get("namespace", ""), meta["name"]), fresh)

    def _stub(self, resource: Resource, meta: Mapping[str, Any]) -> dict[str, Any]:
        kept = {k: meta[k] for k in ("name", "namespace") if k in meta}
        made = {"uid": f"uid-{next(self._uids)}", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {**kept, **made}}

    def _store(self, name: Name, fresh: dict[str, Any]) -> Object:
        before = self._objects.get(name)
        if before is not None:
            if _content(before) == _content(fresh):
                return copy.deepcopy(before)
            if before.get("spec") != fresh.get("spec"):
                fresh["metadata"]["generation"] = before["metadata"]["generation"] + 1
        self._version = next(self._versions)
        fresh["metadata"]["resourceVersion"] = str(self._version)
        self._objects[name] = fresh
        self._append(name[0], "MODIFIED" if before is not None else "ADDED", before, fresh)
        return copy.deepcopy(fresh)

    def _append(self, resource: Resource, kind: str, before: Object | None, after: Object) -> None:
        self._log.setdefault(resource, []).append(_Logged(self._version, kind, before, copy.deepcopy(after)))
        self._stir()

    def _marker(self) -> Object:
        return {"metadata": {"resourceVersion": str(self._version)}}

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()


def _content(obj: Object) -> Object:
    meta = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "generation")}
    return {**obj, "metadata": meta}


def _check(wanted: Object, stored: Object) -> None:
    """The conditions in a write's metadata."""
    meta = stored["metadata"]
    if wanted.get("uid", meta["uid"]) != meta["uid"]:
        raise status_error(422, "Invalid", "uid is immutable", causes=[{"field": "metadata.uid"}])
    if wanted.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
        raise status_error(409, "Conflict", "the object has been modified")


def _applied(resource: Resource, obj: Object) -> Iterator[tuple[Path, Any]]:
    """Each field that a write owns, and its value."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in (*_SERVER_FIELDS, "name", "namespace")}
    body = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata", "status")}
    return _leaves({**({"metadata": meta} if meta else {}), **body}, (), _WHOLE.get(resource.kind, ()))


def _leaves(node: Any, path: Path, whole: tuple[str, ...]) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, Mapping) and (node or not path) and not (path and path[0] in whole):
        for key, value in node.items():
            yield from _leaves(value, (*path, key), whole)
    elif path:
        yield path, list(node) if isinstance(node, tuple) else node


def _get(node: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _set(node: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        node = node.setdefault(key, {})
    node[path[-1]] = value


def _unset(node: dict[str, Any], path: Path) -> None:
    parents = [node]
    for key in path[:-1]:
        parents.append(parents[-1].get(key, {}))
    parents[-1].pop(path[-1], None)
    for parent, key in zip(reversed(parents[:-1]), reversed(path[:-1]), strict=True):
        if parent.get(key) == {}:
            del parent[key]


def _entries(obj: Object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["metadata"].setdefault("managedFields", [])
    return found


def _owned(obj: Object, manager: str) -> set[Path]:
    for entry in _entries(obj):
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, "Apply", ""):
            return {tuple(path) for path in entry["fieldsV1"]}
    return set()


def _owned_by_others(obj: Object, manager: str, path: Path) -> bool:
    return any(
        list(path) in entry["fieldsV1"]
        for entry in _entries(obj)
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) != (manager, "Apply", "")
    )


def _take(obj: Object, manager: str, operation: str, subresource: str, paths: set[Path], changed: set[Path]) -> None:
    """The manager owns exactly `paths` (an update: also what it owned); others lose those that it changed."""
    kept = []
    for entry in _entries(obj):
        same = (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, operation, subresource)
        if same and operation == "Update":
            paths = paths | {tuple(path) for path in entry["fieldsV1"]}
        elif not same:
            lost = changed if operation == "Apply" else paths
            fields = [path for path in entry["fieldsV1"] if tuple(path) not in lost]
            if fields:
                kept.append({**entry, "fieldsV1": fields})
    mine = {"manager": manager, "operation": operation, "fieldsV1": sorted(list(path) for path in paths)}
    if subresource:
        mine["subresource"] = subresource
    obj["metadata"]["managedFields"] = sorted([*kept, mine], key=lambda e: (e["manager"], e.get("subresource", "")))


def _in_scope(scope: Scope, obj: Object) -> bool:
    meta = obj["metadata"]
    if scope.namespace and meta.get("namespace", "") != scope.namespace:
        return False
    labels = meta.get("labels") or {}
    for term in filter(None, scope.label_selector.split(",")):
        key, equals, value = term.partition("=")
        if (key not in labels) or (equals and labels[key] != value):
            return False
    for term in filter(None, scope.field_selector.split(",")):
        unequal = "!=" in term
        key, _, value = term.partition("!=" if unequal else "=")
        if (str(_get(obj, tuple(key.split("."))) or "") == value) is unequal:
            return False
    return True


def _as_seen(scope: Scope, logged: _Logged) -> WatchEvent | None:
    """A change as a watch with selectors shows it: an object that no longer matches is a deletion."""
    if logged.type == "BOOKMARK":
        return WatchEvent("BOOKMARK", logged.after)
    was = logged.before is not None and _in_scope(scope, logged.before)
    matches = logged.type != "DELETED" and _in_scope(scope, logged.after)
    if matches:
        return WatchEvent("MODIFIED" if was else "ADDED", copy.deepcopy(logged.after))
    return WatchEvent("DELETED", copy.deepcopy(logged.after)) if was else None
