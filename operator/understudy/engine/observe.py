"""Gathers everything a plan may look at into one value, at one instant.

```
 cache ── ModelDeployment, Model, snapshots, table, pools, services, keys, pods, nodes, guardrails
   └───── hashes of the ConfigMaps and Secrets that spec, model and snapshots name
 contents ─ the ConfigMaps that the spec names (read beforehand; nothing here waits)
 holders ── accelerators that are taken on each node (likewise)
 waker ──── who else claims the served names        ┐
 cache ──── whose table serves them now             ┴─► name_holders
 poller ─── every gateway pod with its latest answer
 prober ─── what this deployment's pods answered
 replayer ─ what a candidate said to probe sets
 clock ──── one reading                elector ─── epoch
                                        all ─► Observed ─► plan()
```
Synchronous on purpose: no event can come in between, so the parts belong to one moment.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from understudy.domain.key import Key
from understudy.domain.names import LABEL_REVISION, policy_name
from understudy.engine.cache import Cache
from understudy.engine.clock import Clock
from understudy.engine.gateways import GatewayPoller
from understudy.engine.holders import Taken
from understudy.engine.prober import Prober
from understudy.engine.references import Reference
from understudy.engine.wake import Waker, claimed_names, model_name, table_names
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
from understudy.plan.memory import Memory
from understudy.plan.observed import Observed, Settings
from understudy.plan.replay import ReplayReport


@dataclass(frozen=True, slots=True)
class Sources:
    """Where observations come from."""

    cache: Cache
    waker: Waker
    poller: GatewayPoller
    prober: Prober
    clock: Clock
    settings: Settings


@dataclass(frozen=True, slots=True)
class Carried:
    """What one pass over a key hands to the next: the plan's memory, and what the API server refused for ever."""

    memory: Memory | None = None
    refused: str = ""


def observe(
    sources: Sources,
    key: Key,
    epoch: int,
    configmaps: Mapping[str, Object],
    carried: Carried = Carried(),
    taken: Taken | None = None,
    replay: ReplayReport | None = None,
) -> Observed:
    """The world as the plan of one ModelDeployment sees it; `configmaps` are those its spec names, whole."""
    cache = sources.cache
    deployment = cache.get(MODEL_DEPLOYMENT, key.namespace, key.name)
    model = cache.get(MODEL, key.namespace, model_name(deployment)) if deployment is not None else None
    snapshots = tuple(cache.children(MODEL_SNAPSHOT, key))
    table = cache.get(ROUTING_TABLE, key.namespace, key.name)
    named = [obj for obj in (deployment, model, *snapshots) if obj is not None]
    return Observed(
        key=key,
        now=sources.clock.now(),
        epoch=epoch,
        deployment=deployment,
        model=model,
        snapshots=snapshots,
        table=table,
        policy=cache.get(NETWORK_POLICY, key.namespace, policy_name(key.name)),
        pools=_by_revision(cache.children(DEPLOYMENT, key)),
        services=_by_revision(cache.children(SERVICE, key)),
        engine_keys=_by_revision(cache.children(SECRET, key)),
        pods=tuple(cache.children(POD, key)),
        nodes=tuple(cache.all(NODE)),
        taken=taken,
        references={
            reference: _hash(cache, key.namespace, reference)
            for reference in sorted(frozenset().union(*(sources.waker.named_by(o["kind"], _key(o)) for o in named)))
        },
        # Copies made for a revision (by label) are immutable: their trimmed form is enough.
        configmaps={**{obj["metadata"]["name"]: obj for obj in cache.children(CONFIG_MAP, key)}, **configmaps},
        guardrails=tuple(cache.all(GUARDRAIL, key.namespace)),
        name_holders=_holders(sources, key, deployment, table),
        gateways=sources.poller.observed(),
        probes=sources.prober.observed(key),
        replay=replay,
        settings=sources.settings,
        memory=carried.memory,
        refused=carried.refused,
    )


def _key(obj: Object) -> Key:
    return Key(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _by_revision(objects: Iterable[Object]) -> dict[str, Object]:
    labelled = ((obj, (obj["metadata"].get("labels") or {}).get(LABEL_REVISION)) for obj in objects)
    return {revision: obj for obj, revision in labelled if revision}


def _hash(cache: Cache, namespace: str, reference: Reference) -> str | None:
    kind, name = reference
    obj = cache.get(CONFIG_MAP if kind == "ConfigMap" else SECRET, namespace, name)
    return None if obj is None else str(obj[CONTENT_HASH])


def _holders(sources: Sources, key: Key, deployment: Object | None, table: Object | None) -> dict[str, Key]:
    """Who, other than this deployment, holds each name that it claims or serves.

    Of those whose spec claims a name, the holder is the one whose table serves it, else the oldest.
    A name that this deployment serves but claims no more is another's once that one's table serves it.
    The full name of a deployment, `<namespace>/<name>`, is nobody else's while there is that deployment.
    """
    claims = claimed_names(deployment) if deployment is not None else frozenset()
    serves = table_names(table) if table is not None else frozenset()
    holders = {}
    for name in sorted(claims | serves):
        claimants = sources.waker.claimants(name)
        serving = {
            other for other in claimants if name in (serves if other == key else _served_by(sources.cache, other))
        }
        full = Key(*name.split("/", 1)) if "/" in name else None
        if full is not None and sources.cache.holds(MODEL_DEPLOYMENT, full.namespace, full.name):
            holder = full
        elif name in claims:
            holder = _oldest(sources.cache, serving or claimants, key)
        else:
            holder = _oldest(sources.cache, serving - {key}, key)
        if holder != key:
            holders[name] = holder
    return holders


def _served_by(cache: Cache, key: Key) -> frozenset[str]:
    table = cache.get(ROUTING_TABLE, key.namespace, key.name)
    return table_names(table) if table is not None else frozenset()


def _oldest(cache: Cache, keys: Collection[Key], default: Key) -> Key:
    """The one that was there first; nearly always there is but one, whose age need not be looked up."""
    if len(keys) == 1:
        return next(iter(keys))
    return min(keys, key=lambda key: _age(cache, key), default=default)


def _age(cache: Cache, key: Key) -> tuple[str, Key]:
    """Sorts the oldest first; equal stamps (whole seconds) by name, so that everybody agrees."""
    obj = cache.get(MODEL_DEPLOYMENT, key.namespace, key.name)
    return (str(obj["metadata"].get("creationTimestamp", "")) if obj is not None else "~", key)
