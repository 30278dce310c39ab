"""The parts of Guardrails' policies in the cache: whose they are, and which tables name them."""

from collections.abc import Mapping
from typing import Any

from understudy.domain.key import Key
from understudy.domain.names import ANNOTATION_GUARDRAIL, GUARD_SHARD_PREFIX, LABEL_GUARD_SHARD
from understudy.engine.cache import Cache
from understudy.kube.client import Object
from understudy.kube.resources import CONFIG_MAP, ROUTING_TABLE


def shards(cache: Cache, key: Key) -> list[Object]:
    """The ConfigMaps that hold parts of the policies of a Guardrail, of whichever age."""
    return [obj for owner, obj in all_shards(cache, key.namespace) if owner == key.name]


def all_shards(cache: Cache, namespace: str = "") -> list[tuple[str, Object]]:
    """Every ConfigMap that holds a part of a policy, with the name of its Guardrail."""
    found = []
    for name in cache.names(CONFIG_MAP, namespace):
        obj = cache.get(CONFIG_MAP, name.namespace, name.name) if name.name.startswith(GUARD_SHARD_PREFIX) else None
        owner = guardrail_of(obj) if obj is not None else ""
        if obj is not None and owner:
            found.append((owner, obj))
    return found


def guardrail_of(obj: Object) -> str:
    """The Guardrail of whose policy a ConfigMap holds a part; "" if it holds none."""
    meta = obj["metadata"]
    if LABEL_GUARD_SHARD not in (meta.get("labels") or {}):
        return ""
    return str((meta.get("annotations") or {}).get(ANNOTATION_GUARDRAIL, ""))


def named_shards(cache: Cache, namespace: str) -> frozenset[str]:
    """The parts that some table of the namespace names."""
    guards = (guard for table in cache.all(ROUTING_TABLE, namespace) for guard in guards_of(table))
    return frozenset(shard for guard in guards for shard in guard.get("shards") or ())


def guards_of(table: Object | None) -> tuple[Mapping[str, Any], ...]:
    """What a RoutingTable says of Guardrails."""
    return tuple(((table or {}).get("spec") or {}).get("guards") or ())
