"""The world as the operator would see it if the files were applied: the operator's own cache, filled once.

What may not be read is left out or taken as unchanged, and noted.
"""

import argparse
import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.manifests import Manifests
from understudy.cli.plugin.policies import with_policies
from understudy.domain.key import Key
from understudy.domain.names import LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.engine.cache import Cache
from understudy.engine.clock import Clock
from understudy.engine.gateways import GatewayPoller
from understudy.engine.holders import Taken, resource_of, taken
from understudy.engine.observe import Sources, observe
from understudy.engine.prober import Prober
from understudy.engine.references import Reference, references
from understudy.engine.wake import Waker, model_name
from understudy.kube.client import KubeClient, Object, Scope
from understudy.kube.errors import ApiError
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
    Resource,
)
from understudy.kube.trim import CONTENT_HASH, content_hash, trim
from understudy.plan.observed import Observed, Settings
from understudy.telemetry.operator import OperatorMetrics

# Of the deployment itself, by its label; of the namespace; of the cluster.
_OWN: Final = (MODEL_SNAPSHOT, DEPLOYMENT, SERVICE, POD, CONFIG_MAP)
_NEIGHBOURS: Final = (MODEL, GUARDRAIL)
_EVERYWHERE: Final = (MODEL_DEPLOYMENT, ROUTING_TABLE)


@dataclass(frozen=True, slots=True)
class Installation:
    """The operator's settings, and the namespaces that it works in (none: all of them)."""

    settings: Settings
    watched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def installation(client: KubeClient, system: str) -> Installation:
    """Read from the command line of the operator's Deployment in the namespace `system`.

    An operator that cannot be found or read is taken to have what nothing else could tell:
    an image for simulated engines, and an authority to trust for engines with TLS.
    """
    try:
        found = await Reader(client, system).listed(DEPLOYMENT, f"{LABEL_COMPONENT}=operator")
    except ApiError as error:
        if error.status != 403:
            raise
        found = []
    words = [
        word for obj in found for c in obj["spec"]["template"]["spec"]["containers"] for word in c.get("args") or ()
    ]
    if not words:
        unknown = (
            f"the operator's settings were not found in namespace {system} (--system-namespace); defaults are assumed"
        )
        assumed = Settings(system_namespace=system, sim_image="unknown", engine_policies=True, engine_tls=True)
        return Installation(assumed, notes=(unknown,))
    flags, _ = _operator_flags().parse_known_args(words)
    settings = Settings(
        system_namespace=system,
        cluster_wide=not flags.watch_namespace,
        sim_image=flags.sim_image,
        privileged_namespaces=tuple(flags.privileged_namespace),
        hash_version=flags.hash_version,
        prestop_seconds=flags.prestop_seconds,
        engine_tls=bool(flags.engine_tls_dir),
        engine_policies=flags.engine_policies,
    )
    return Installation(settings, tuple(flags.watch_namespace))


def _operator_flags() -> argparse.ArgumentParser:
    # Imported late: the operator's process brings Kopf and uvloop, which no other command needs.
    from understudy.cli import operator

    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False)
    operator.add_arguments(parser)
    return parser


@dataclass(slots=True)
class World:
    """One deployment's surroundings, being gathered.

    `hidden` are kinds of the namespace that may not be listed, `near` those that may be listed only there.
    """

    reader: Reader
    files: Manifests
    key: Key
    notes: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    cache: Cache = field(init=False)
    waker: Waker = field(init=False)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.cache = Cache(OperatorMetrics(), self.clock.monotonic)
        self.waker = Waker(self.cache)
        self.cache.listen(self.waker.changed)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a plan may look at, and what could not be read; `whole` if all children are known."""

    observed: Observed
    whole: bool
    notes: tuple[str, ...]


async def gather(reader: Reader, files: Manifests, deployment: Object, settings: Settings) -> Gathered:
    """What a plan for `deployment`, as it would be stored, may look at."""
    key = Key(deployment["metadata"]["namespace"], deployment["metadata"]["name"])
    world = World(Reader(reader.client, key.namespace), files, key)
    for resource in _OWN:
        await _list(world, resource, selector=f"{LABEL_DEPLOYMENT}={key.name}")
    await _list(world, NETWORK_POLICY, selector=f"{LABEL_DEPLOYMENT}={key.name}")
    if NETWORK_POLICY.plural in world.hidden:
        # All else can be foreseen without it.
        settings = replace(settings, engine_policies=False)
    for resource in _NEIGHBOURS:
        await _list(world, resource)
    for resource in _EVERYWHERE:
        await _list(world, resource, everywhere=True)
    if settings.cluster_wide:
        await _list(world, NODE, everywhere=True)
    _lay_over(world, MODEL_DEPLOYMENT, deployment)
    for resource, obj in files.objects:
        if resource in _NEIGHBOURS and obj["metadata"]["namespace"] == key.namespace:
            _lay_over(world, resource, obj)
    configmaps = await _contents(world)
    observed = observe(_sources(world, settings), key, 0, configmaps, taken=await _taken(world, deployment))
    observed, unread = await with_policies(world.reader, files, observed)
    world.notes.extend(unread)
    whole = not {resource.plural for resource in _OWN} & {*world.hidden}
    return Gathered(replace(observed, engine_keys=_standing_keys(observed)), whole, tuple(_notes(world, whole=whole)))


def _notes(world: World, *, whole: bool) -> Iterator[str]:
    if world.hidden:
        blind = "" if whole else ": what would be written first is not foreseen"
        yield f"you may not list {', '.join(world.hidden)}{blind}"
    if world.near:
        near = ", ".join(world.near)
        yield f"you may list {near} of this namespace only: a name that is taken elsewhere would not show"
    yield from world.notes


async def _list(world: World, resource: Resource, selector: str = "", *, everywhere: bool = False) -> None:
    """List into the cache; what may not be listed everywhere is listed in the namespace, or noted."""
    try:
        _put(world, resource, await world.reader.listed(resource, selector, "" if everywhere else None))
    except ApiError as error:
        if error.status != 403:
            raise
        if everywhere and resource.namespaced:
            world.near.append(resource.plural)
            await _list(world, resource, selector)
        else:
            world.hidden.append(resource.plural)


def _put(world: World, resource: Resource, objects: Iterable[Object]) -> None:
    for obj in objects:
        world.cache.upsert(Scope(resource), trim(resource, obj))


def _lay_over(world: World, resource: Resource, obj: Object) -> None:
    """An object as the files would have it, instead of the one that is stored."""
    meta = {"uid": f"file-{obj['metadata']['name']}", "generation": 1, **obj["metadata"]}
    # A dry run answers with the version that is stored, which the cache would take for the same object.
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    _put(world, resource, [{**kind, **obj, "metadata": {**meta, "resourceVersion": "file"}}])


async def _taken(world: World, deployment: Object) -> Taken | None:
    """Accelerators that are in use on each node; what may not be known is left out, and noted."""
    resource = resource_of(deployment)
    try:
        return await taken(world.reader.client, world.cache.all(NODE), resource) if resource else None
    except ApiError as error:
        if error.status != 403:
            raise
        world.notes.append("you may not list pods of all namespaces: where there is room for more is not foreseen")
        return None


async def _contents(world: World) -> dict[str, Object]:
    """The ConfigMaps and Secrets that the deployment consumes, into the cache; whole ConfigMaps are returned."""
    whole: dict[str, Object] = {}
    for kind, name in sorted(_consumed(world)):
        resource = CONFIG_MAP if kind == "ConfigMap" else SECRET
        found = next((_encoded(o) for o in world.files.of(resource) if _is(o, world.key.namespace, name)), None)
        if found is not None:
            _lay_over(world, resource, found)
        else:
            found = await _stored(world, resource, name)
        if found is not None and resource == CONFIG_MAP:
            whole[name] = {**found, CONTENT_HASH: content_hash(found)}
    return whole


def _consumed(world: World) -> set[Reference]:
    """What the spec, its Model and the records name; of the records only what users named, not engine keys."""
    deployment = world.cache.get(MODEL_DEPLOYMENT, world.key.namespace, world.key.name) or {}
    model = world.cache.get(MODEL, world.key.namespace, model_name(deployment)) or {}
    named = {*references(deployment.get("spec") or {}), *references(model.get("spec") or {})}
    for record in world.cache.children(MODEL_SNAPSHOT, world.key):
        named |= {(r["kind"], r["name"]) for r in record["spec"].get("references") or ()}
    return named


async def _stored(world: World, resource: Resource, name: str) -> Object | None:
    try:
        found = await world.reader.found(resource, name)
    except ApiError as error:
        if error.status != 403:
            raise
        world.notes.append(f"{resource.kind} {name} may not be read: its content is taken as unchanged")
        meta = {"name": name, "namespace": world.key.namespace, "resourceVersion": "unread"}
        world.cache.upsert(Scope(resource), {"metadata": meta, CONTENT_HASH: _recorded(world, resource, name)})
        return None
    if found is not None:
        _put(world, resource, [found])
    return found


def _recorded(world: World, resource: Resource, name: str) -> str:
    """The hash of a content by the latest record that names it."""
    records = sorted(
        world.cache.children(MODEL_SNAPSHOT, world.key), key=lambda r: str(r["metadata"].get("creationTimestamp"))
    )
    found = [
        str(r.get("hash", ""))
        for record in records
        for r in record["spec"].get("references") or ()
        if (r["kind"], r["name"]) == (resource.kind, name)
    ]
    return found[-1] if found else "0" * 64


def _is(obj: Object, namespace: str, name: str) -> bool:
    return (obj["metadata"]["namespace"], obj["metadata"]["name"]) == (namespace, name)


def _encoded(obj: Object) -> Object:
    """A Secret's `stringData` as the API server stores it."""
    plain: Mapping[str, str] = obj.get("stringData") or {}
    if not plain:
        return obj
    coded = {name: base64.b64encode(str(value).encode()).decode() for name, value in plain.items()}
    return {**{k: v for k, v in obj.items() if k != "stringData"}, "data": {**(obj.get("data") or {}), **coded}}


def _standing_keys(observed: Observed) -> dict[str, Object]:
    """Engine keys are not read; where there is a pool there is one."""
    found: dict[str, Object] = {}
    for revision, pool in observed.pools.items():
        meta = pool["metadata"]
        name = f"{meta['name']}-key"
        found[revision] = {
            **pool,
            "kind": "Secret",
            "metadata": {**meta, "name": name, "labels": {LABEL_REVISION: revision}},
        }
    return found


class _Nobody:
    """A forecast asks no gateway and no pod: the cluster's inner network is usually out of reach."""

    async def state(self, address: str, only: Any = None) -> Any:
        raise NotImplementedError

    async def get(self, probe: Any, path: str, seconds: float) -> Any:
        raise NotImplementedError

    async def post(self, probe: Any, path: str, body: Any, seconds: float) -> Any:
        raise NotImplementedError


def _sources(world: World, settings: Settings) -> Sources:
    metrics, monotonic = OperatorMetrics(), world.clock.monotonic
    poller = GatewayPoller(
        world.cache, "", _Nobody(), interval=1.0, monotonic=monotonic, metrics=metrics, wake=lambda _keys: None
    )
    prober = Prober(_Nobody(), monotonic=monotonic, metrics=metrics, wake=lambda _key: None)
    return Sources(world.cache, world.waker, poller, prober, world.clock, settings)
