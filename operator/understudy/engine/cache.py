"""The cluster as the operator last saw it, and whether that includes what the operator itself wrote.

Filled by reflectors only. Every change is reported to one listener, which decides whom to wake.

Read-your-writes: after a write, the object's resourceVersion is remembered; until the watch has
delivered it, a pass over the key that wrote would decide on a past it has already changed (and
create a pod twice). Such a key is `behind`. A version that does not show within ten seconds is
counted and forgotten, so that nothing waits for ever.

Most kinds are kept packed and read when somebody asks: thousands of deployments with their children
take a fraction of the memory, and give the garbage collector nothing to walk through. A pass reads a
dozen of them, in a tenth of a millisecond.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from understudy.domain.key import Key
from understudy.domain.names import LABEL_DEPLOYMENT
from understudy.engine.packing import Packing
from understudy.kube.client import Object, Scope
from understudy.kube.resources import GUARDRAIL, NODE, Resource
from understudy.telemetry.operator import OperatorMetrics

BEHIND_TIMEOUT = 10.0  # seconds
# Every pass reads all of them.
_READ_TOGETHER = frozenset({NODE, GUARDRAIL})


@dataclass(frozen=True, slots=True)
class Ref:
    """One object, wherever it is: its resource, namespace ("" if cluster-scoped) and name."""

    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object: created (no `before`), changed, or gone (no `after`)."""

    ref: Ref
    before: Object | None
    after: Object | None


@dataclass(slots=True)
class _Write:
    """An own write that the cache has not shown yet; `deleted` means: until that uid is gone or going."""

    uid: str
    version: int
    deleted: bool
    deadline: float


class Cache:
    """Objects by resource and name, children by their deployment, own writes by who wrote."""

    def __init__(self, metrics: OperatorMetrics, monotonic: Callable[[], float]) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._objects: dict[Resource, dict[tuple[str, str], Object | bytes]] = {}
        self._packings: defaultdict[Resource, Packing] = defaultdict(Packing)
        self._families: dict[Key, dict[Resource, tuple[str, ...]]] = {}
        self._members: dict[Scope, set[tuple[str, str]]] = {}
        self._writes: dict[Key, dict[Ref, _Write]] = {}
        self._listener: Callable[[Change], None] = lambda _change: None

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Report every change from now on to `listener` (one at a time, in the event loop)."""
        self._listener = listener

    # What the reflectors call.

    def retain(self, scope: Scope, names: set[tuple[str, str]]) -> None:
        """The scope holds these objects (namespace, name) and no others: those have vanished, unseen."""
        for name in self._members.get(scope, set()) - names:
            self._drop(scope, name)

    def upsert(self, scope: Scope, obj: dict[str, Any]) -> None:
        """An object of the scope is new or has changed."""
        name = _name(obj)
        kind = self._kept(scope.resource)
        before = self._read(scope.resource, kind.get(name))
        if before is not None and before["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
            return
        kind[name] = obj if scope.resource in _READ_TOGETHER else self._packings[scope.resource].pack(obj)
        self._members.setdefault(scope, set()).add(name)
        self._index(scope.resource, before, obj)
        self._listener(Change(Ref(scope.resource, *name), before, obj))

    def remove(self, scope: Scope, obj: dict[str, Any]) -> None:
        """An object has left the scope."""
        name = _name(obj)
        if name in self._members.get(scope, ()):
            self._drop(scope, name)

    # What everybody else calls.

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self._read(resource, self._objects.get(resource, {}).get((namespace, name)))

    def holds(self, resource: Resource, namespace: str, name: str) -> bool:
        """Whether there is such an object."""
        return (namespace, name) in self._objects.get(resource, {})

    def any(self, resource: Resource) -> bool:
        """Whether there is any object of a resource."""
        return bool(self._objects.get(resource))

    def all(self, resource: Resource, namespace: str = "") -> Iterator[Object]:
        """Every object of a resource, of one namespace if it is given; read one by one, as they are asked for."""
        kept = self._objects.get(resource, {})
        chosen = [item for (where, _), item in kept.items() if not namespace or where == namespace]
        return (obj for item in chosen if (obj := self._read(resource, item)) is not None)

    def names(self, resource: Resource, namespace: str = "") -> list[Key]:
        """The names of every object of a resource, of one namespace if it is given."""
        return [Key(*name) for name in self._objects.get(resource, {}) if not namespace or name[0] == namespace]

    def children(self, resource: Resource, parent: Key) -> list[Object]:
        """Objects in the parent's namespace that carry its name as their deployment label, by name."""
        names = self._families.get(parent, {}).get(resource, ())
        return [obj for name in names if (obj := self.get(resource, parent.namespace, name)) is not None]

    def parents(self, resource: Resource) -> set[Key]:
        """Every deployment that some object of the resource names as its own."""
        return {parent for parent, family in self._families.items() if resource in family}

    def wrote(self, writer: Key, ref: Ref, stored: Object) -> None:
        """`writer`'s write was answered with `stored`: the cache must show that version, or a later one."""
        meta = stored["metadata"]
        write = _Write(meta.get("uid", ""), _version(stored), False, self._monotonic() + BEHIND_TIMEOUT)
        self._writes.setdefault(writer, {})[ref] = write

    def deleted(self, writer: Key, ref: Ref, uid: str) -> None:
        """`writer` deleted the object with this uid: the cache must show it gone, or going."""
        write = _Write(uid, 0, True, self._monotonic() + BEHIND_TIMEOUT)
        self._writes.setdefault(writer, {})[ref] = write

    def behind(self, writer: Key) -> float:
        """0 when the cache shows all that `writer` wrote, else the seconds after which to stop waiting for it."""
        writes = self._writes.get(writer)
        if not writes:
            return 0.0
        now = self._monotonic()
        for ref in [ref for ref, write in writes.items() if self._shown(ref, write)]:
            del writes[ref]
        for ref in [ref for ref, write in writes.items() if write.deadline <= now]:
            self._metrics.gate_timeouts.inc()
            del writes[ref]
        if writes:
            return max(write.deadline for write in writes.values()) - now
        del self._writes[writer]
        return 0.0

    def _shown(self, ref: Ref, write: _Write) -> bool:
        obj = self.get(ref.resource, ref.namespace, ref.name)
        if write.deleted:
            return obj is None or obj["metadata"]["uid"] != write.uid or "deletionTimestamp" in obj["metadata"]
        return obj is not None and _version(obj) >= write.version

    def _drop(self, scope: Scope, name: tuple[str, str]) -> None:
        kind = self._objects[scope.resource]
        before = self._read(scope.resource, kind.pop(name))
        self._members[scope].discard(name)
        self._index(scope.resource, before, None)
        ref = Ref(scope.resource, *name)
        # Gone since: there is no later version to wait for.
        for writes in self._writes.values():
            writes.pop(ref, None)
        self._listener(Change(ref, before, None))

    def _index(self, resource: Resource, before: Object | None, after: Object | None) -> None:
        for obj in (before, after):
            parent = parent_of(obj) if obj is not None else None
            if obj is None or parent is None:
                continue
            name = obj["metadata"]["name"]
            family = self._families.setdefault(parent, {})
            members = {*family.pop(resource, ())} - {name}
            if obj is after:
                members.add(name)
            if members:
                family[resource] = tuple(sorted(members))
            elif not family:
                del self._families[parent]

    def _kept(self, resource: Resource) -> dict[tuple[str, str], Object | bytes]:
        """What there is of a resource, to be changed; it is counted from the first one on."""
        kept = self._objects.get(resource)
        if kept is None:
            kept = self._objects[resource] = {}
            self._metrics.cache_objects.labels(resource.plural).set_function(kept.__len__)
        return kept

    def _read(self, resource: Resource, kept: Object | bytes | None) -> Object | None:
        return self._packings[resource].unpack(kept) if isinstance(kept, bytes) else kept


def parent_of(obj: Object) -> Key | None:
    """The deployment an object belongs to, by its label; None without one."""
    name = (obj["metadata"].get("labels") or {}).get(LABEL_DEPLOYMENT)
    return Key(obj["metadata"].get("namespace", ""), name) if name else None


def _name(obj: Object) -> tuple[str, str]:
    # Each object brings its own copy of its namespace's name.
    return sys.intern(obj["metadata"].get("namespace", "")), obj["metadata"]["name"]


def _version(obj: Object) -> int:
    """resourceVersion as a number (they are, and compare, on every server we support); else 0, never waited for."""
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
