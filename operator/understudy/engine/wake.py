"""Who must think again when an object has changed: from a change in the cache to keys on the queue.

```
 ModelDeployment ──► itself; the Model it names or named; other claimants of its served names; Guardrails beside it
 child (by label) ─► its deployment;  RoutingTable also ► claimants of the names it serves, Guardrails that it names
 Model ────────────► itself; the deployments that use it
 Guardrail ────────► itself; every deployment of its namespace, when what it says or its policy has changed
 Secret, ConfigMap ► deployments whose spec, snapshot or model names it; Guardrails whose text or policy it holds
 Node ─────────────► deployments with a pod on it, or with a pod that has no node yet
```
Wrong in one direction only: waking too many costs a pass that writes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from understudy.domain.key import Key
from understudy.engine.cache import Cache, Change, parent_of
from understudy.engine.policyparts import all_shards, guardrail_of, guards_of
from understudy.engine.references import Reference, references
from understudy.kube.client import Object
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    NETWORK_POLICY,
    NODE,
    POD,
    ROUTING_TABLE,
    SECRET,
    SERVICE,
)
from understudy.kube.trim import CONTENT_HASH

# Kinds whose objects say by label which deployment they belong to.
_CHILDREN: Final = frozenset(
    {CONFIG_MAP, DEPLOYMENT, MODEL_SNAPSHOT, NETWORK_POLICY, POD, ROUTING_TABLE, SECRET, SERVICE}
)

WorkKind = Literal["ModelDeployment", "Model", "Guardrail"]


@dataclass(frozen=True, slots=True)
class Work:
    """What the queue holds: one object of a kind that has a status of ours."""

    kind: WorkKind
    key: Key


Enqueue = Callable[[Work], None]


class _Index:
    """Many-to-many between users (deployments, models) and what they use, replaced one user at a time."""

    def __init__(self) -> None:
        self._uses: dict[Key, frozenset[tuple[str, str, str]]] = {}
        self._users: dict[tuple[str, str, str], set[Key]] = {}

    def put(self, user: Key, uses: Iterable[tuple[str, str, str]]) -> None:
        fresh = frozenset(uses)
        stale = self._uses.pop(user, frozenset())
        for item in stale - fresh:
            self._users[item].discard(user)
            if not self._users[item]:
                del self._users[item]
        for item in fresh - stale:
            self._users.setdefault(item, set()).add(user)
        if fresh:
            self._uses[user] = fresh

    def uses(self, user: Key) -> frozenset[tuple[str, str, str]]:
        return self._uses.get(user, frozenset())

    def users(self, kind: str, namespace: str, name: str) -> set[Key]:
        return set(self._users.get((kind, namespace, name), ()))


class Waker:
    """Listens to the cache and adds keys; also answers who claims a served name.

    It adds none before it is told where to: who is about to look at everything need not be told of each object.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._add: Callable[[Work], None] | None = None
        self._deployments = _Index()  # ModelDeployment → Model, ConfigMap, Secret, served name
        self._snapshots = _Index()  # ModelSnapshot → ConfigMap, Secret
        self._models = _Index()  # Model → Secret
        self._guardrails = _Index()  # Guardrail → ConfigMap
        self._pods = _Index()  # Pod of a deployment → Node, "" while it has none

    def begin(self, add: Callable[[Work], None]) -> None:
        """From now on have `add` called with every key that a change concerns."""
        self._add = add

    def changed(self, change: Change) -> None:
        """Add every key that the change concerns."""
        self._reindex(change)
        if self._add is not None:
            for work in set(self._concerned(change)):
                self._add(work)

    def claimants(self, name: str) -> set[Key]:
        """Deployments, anywhere, whose spec asks for the served name."""
        return self._deployments.users("name", "", name)

    def users_of(self, model: Key) -> set[Key]:
        """Deployments whose spec refers to the Model."""
        return self._deployments.users("Model", model.namespace, model.name)

    def named_by(self, kind: str, key: Key) -> frozenset[Reference]:
        """ConfigMaps and Secrets that a cached ModelDeployment, Model or ModelSnapshot names in its namespace.

        Known from the object's arrival: walking every spec at every pass would cost more than the pass.
        """
        index = {"ModelDeployment": self._deployments, "Model": self._models}.get(kind, self._snapshots)
        found = index.uses(key)
        kinds: tuple[Literal["ConfigMap", "Secret"], ...] = ("ConfigMap", "Secret")
        return frozenset((kind, name) for kind in kinds for used, _, name in found if used == kind)

    def everything(self) -> Iterator[Work]:
        """Every key there is, deployments of which only snapshots remain included."""
        deployments = {*self._cache.names(MODEL_DEPLOYMENT)}
        for resource in (MODEL_SNAPSHOT, ROUTING_TABLE, DEPLOYMENT):
            deployments |= self._cache.parents(resource)
        for key in deployments:
            yield Work("ModelDeployment", key)
        for key in self._cache.names(MODEL):
            yield Work("Model", key)
        # Of one that is gone there may be parts of a policy, to be swept away.
        parts = {Key(obj["metadata"]["namespace"], owner) for owner, obj in all_shards(self._cache)}
        for key in parts.union(self._cache.names(GUARDRAIL)):
            yield Work("Guardrail", key)

    def _reindex(self, change: Change) -> None:
        key = Key(change.ref.namespace, change.ref.name)
        spec: Mapping[str, Any] = (change.after or {}).get("spec") or {}
        if change.ref.resource == POD:
            ours = change.after is not None and parent_of(change.after) is not None
            self._pods.put(key, [("Node", "", str(spec.get("nodeName", "")))] if ours else ())
        elif change.before is not None and change.after is not None and change.before.get("spec") == spec:
            return  # most changes are of status, and a spec is long
        elif change.ref.resource == MODEL_DEPLOYMENT:
            uses = list(_placed(key.namespace, references(spec)))
            if change.after is not None:
                uses.append(("Model", key.namespace, model_name(change.after)))
                uses.extend(("name", "", name) for name in claimed_names(change.after))
            self._deployments.put(key, uses)
        elif change.ref.resource == MODEL_SNAPSHOT:
            self._snapshots.put(key, _placed(key.namespace, references(spec)))
        elif change.ref.resource == MODEL:
            self._models.put(key, _placed(key.namespace, references(spec)))
        elif change.ref.resource == GUARDRAIL:
            self._guardrails.put(key, _placed(key.namespace, references(spec)))

    def _concerned(self, change: Change) -> Iterator[Work]:
        resource, key = change.ref.resource, Key(change.ref.namespace, change.ref.name)
        if resource == MODEL_DEPLOYMENT:
            yield from self._by_deployment(change, key)
        elif resource == MODEL:
            yield Work("Model", key)
            if _part(change.before, "spec") != _part(change.after, "spec"):
                yield from _deployments(self.users_of(key))
        elif resource == GUARDRAIL:
            yield Work("Guardrail", key)
            if _said(change.before) != _said(change.after):
                # Which deployments a selector matches is the planner's to say; guardrails change rarely.
                yield from _deployments(self._cache.names(MODEL_DEPLOYMENT, key.namespace))
        elif resource in (SECRET, CONFIG_MAP):
            yield from self._by_content(change, key)
        elif resource == NODE:
            yield from self._by_node(change)
        if resource in _CHILDREN:
            yield from _deployments(_parents(change))
        if resource == ROUTING_TABLE:
            names = _names(change.before) ^ _names(change.after)
            yield from _deployments(other for name in names for other in self.claimants(name))
            before, after = guards_of(change.before), guards_of(change.after)
            if before != after:
                yield from (Work("Guardrail", Key(key.namespace, guard["name"])) for guard in (*before, *after))

    def _by_deployment(self, change: Change, key: Key) -> Iterator[Work]:
        yield Work("ModelDeployment", key)
        states = [obj for obj in (change.before, change.after) if obj is not None]
        if len(states) == 1 or model_name(states[0]) != model_name(states[1]):
            yield from (Work("Model", Key(key.namespace, model_name(obj))) for obj in states)
        claims = [claimed_names(obj) for obj in states]
        names = {str(key)}.union(*claims) if len(states) == 1 else claims[0] ^ claims[1]
        yield from _deployments(other for name in names for other in self.claimants(name) if other != key)
        if len(states) == 1 or _guarded_by(states[0]) != _guarded_by(states[1]):
            yield from (Work("Guardrail", guardrail) for guardrail in self._cache.names(GUARDRAIL, key.namespace))

    def _by_content(self, change: Change, key: Key) -> Iterator[Work]:
        if _part(change.before, CONTENT_HASH) == _part(change.after, CONTENT_HASH):
            return
        kind = change.ref.resource.kind
        owners = {guardrail_of(obj) for obj in (change.before, change.after) if obj is not None} - {""}
        yield from (Work("Guardrail", Key(key.namespace, owner)) for owner in owners)
        yield from (Work("Guardrail", user) for user in self._guardrails.users(kind, key.namespace, key.name))
        yield from _deployments(self._deployments.users(kind, key.namespace, key.name))
        for snapshot in self._snapshots.users(kind, key.namespace, key.name):
            obj = self._cache.get(MODEL_SNAPSHOT, snapshot.namespace, snapshot.name)
            parent = parent_of(obj) if obj is not None else None
            yield from _deployments([parent] if parent is not None else [])
        for model in self._models.users(kind, key.namespace, key.name):
            yield from _deployments(self.users_of(model))

    def _by_node(self, change: Change) -> Iterator[Work]:
        if _placement(change.before) == _placement(change.after):
            return
        for key in self._pods.users("Node", "", change.ref.name) | self._pods.users("Node", "", ""):
            pod = self._cache.get(POD, key.namespace, key.name)
            parent = parent_of(pod) if pod is not None else None
            yield from _deployments([parent] if parent is not None else [])


def model_name(deployment: Object) -> str:
    """Name of the Model that a ModelDeployment refers to."""
    return str(((deployment.get("spec") or {}).get("modelRef") or {}).get("name") or "")


def claimed_names(deployment: Object) -> frozenset[str]:
    """The served names that a ModelDeployment asks for: those of its spec, or its own name."""
    return frozenset((deployment.get("spec") or {}).get("servedNames") or (deployment["metadata"]["name"],))


def table_names(table: Object) -> frozenset[str]:
    """The served names that a RoutingTable makes gateways answer to."""
    spec = table.get("spec") or {}
    return frozenset() if spec.get("retired") else frozenset(spec.get("servedNames") or ())


def _names(table: Object | None) -> frozenset[str]:
    return table_names(table) if table is not None else frozenset()


def _part(obj: Object | None, field: str) -> Any:
    return None if obj is None else obj.get(field)


def _said(guardrail: Object | None) -> Any:
    """What of a Guardrail concerns deployments: not who enforces it, nor what was found."""
    if guardrail is None:
        return None
    status: Mapping[str, Any] = guardrail.get("status") or {}
    told = [status.get(name) for name in ("observedGeneration", "policyHash", "shards", "failOpen", "revokeBefore")]
    conditions = [c for c in status.get("conditions") or () if c["type"] in ("Ready", "Stalled")]
    return guardrail.get("spec"), told, conditions


def _guarded_by(deployment: Object) -> Any:
    """What says which Guardrails hold for a deployment."""
    return deployment["metadata"].get("labels"), (deployment.get("spec") or {}).get("guardrailRefs")


def _placement(node: Object | None) -> Any:
    return None if node is None else (node.get("spec"), node.get("status"), node["metadata"].get("labels"))


def _parents(change: Change) -> Iterator[Key]:
    for obj in (change.before, change.after):
        parent = parent_of(obj) if obj is not None else None
        if parent is not None:
            yield parent


def _placed(namespace: str, found: Iterable[Reference]) -> Iterator[tuple[str, str, str]]:
    return ((kind, namespace, name) for kind, name in found)


def _deployments(keys: Iterable[Key]) -> Iterator[Work]:
    return (Work("ModelDeployment", key) for key in keys)
