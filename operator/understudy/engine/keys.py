"""Engine keys that no longer follow from the master key: what is done when that one was changed or lost.

A pod reads its key once, from the Secret beside it, and that Secret cannot change. So a revision keeps the key
that it has for life. Gateways derive keys and may not read those Secrets: where a key does not follow from the
master key any more, the leader writes it into the master key's own Secret, which gateways read in any case.
They take a changed master key only once it carries the stamp that says that this has been done.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from understudy.domain.names import (
    ENGINE_KEY_FIELD,
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    LABEL_REVISION,
    MANAGED_BY,
    MASTER_KEY_FIELD,
    MASTER_KEY_SECRET,
    MASTER_KEY_STAMP,
    engine_key,
    engine_key_secret,
    kept_key_field,
    master_id,
)
from understudy.engine.cache import Cache
from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError, NotFound
from understudy.kube.resources import SECRET
from understudy.kube.trim import CONTENT_HASH, content_hash

log = logging.getLogger(__name__)

MANAGER: Final = "understudy-kept-keys"
_PERIOD = 10.0  # seconds between two looks at the master key


async def kept_keys(client: KubeClient, cache: Cache, master: bytes) -> dict[str, str]:
    """The keys of revisions that do not follow from `master`, by `kept_key_field`.

    Only the hashes of Secrets are in the cache; those that differ are read. Raises ApiError.
    """
    kept: dict[str, str] = {}
    for secret in cache.all(SECRET):
        meta = secret["metadata"]
        labels = meta.get("labels") or {}
        deployment, revision = labels.get(LABEL_DEPLOYMENT), labels.get(LABEL_REVISION)
        if not deployment or not revision or meta["name"] != engine_key_secret(deployment, revision):
            continue
        derived = engine_key(master, meta["namespace"], deployment, revision)
        if secret[CONTENT_HASH] == content_hash({"data": {ENGINE_KEY_FIELD: _encoded(derived.encode())}}):
            continue
        key = await _read(client, meta["namespace"], meta["name"])
        if key:
            kept[kept_key_field(meta["namespace"], deployment, revision)] = key
    return kept


async def publish(client: KubeClient, namespace: str, master: bytes, kept: Mapping[str, str]) -> None:
    """Tell gateways the kept keys, and that with them `master` is fit for use. Raises ApiError."""
    data = {name: _encoded(key.encode()) for name, key in kept.items()}
    data[MASTER_KEY_STAMP] = _encoded(master_id(master).encode())
    found = (await client.get(SECRET, namespace, MASTER_KEY_SECRET)).get("data") or {}
    if {name: value for name, value in found.items() if "." in name or name == MASTER_KEY_STAMP} != data:
        await client.apply(SECRET, _secret(namespace, data), manager=MANAGER)


async def tend(
    client: KubeClient, namespace: str, master: bytes, kept: Mapping[str, str], changed: Callable[[str], None]
) -> None:
    """Put a master key that vanishes back; call `changed`, once, when somebody put another one there."""
    while True:
        await asyncio.sleep(_PERIOD)
        try:
            found = await client.get(SECRET, namespace, MASTER_KEY_SECRET)
            if (found.get("data") or {}).get(MASTER_KEY_FIELD) != _encoded(master):
                changed(f"Secret {MASTER_KEY_SECRET} has another master key: beginning again with it")
                return
        except ApiError as error:
            if isinstance(error.failure, NotFound):
                await _put_back(client, namespace, master, kept)
            else:
                log.warning("the master key cannot be read at the moment: %s", error)


async def _put_back(client: KubeClient, namespace: str, master: bytes, kept: Mapping[str, str]) -> None:
    try:
        await client.create(SECRET, _secret(namespace, {MASTER_KEY_FIELD: _encoded(master)}))
        await publish(client, namespace, master, kept)
        log.warning("Secret %s was deleted; it has been made again as it was", MASTER_KEY_SECRET)
    except ApiError as error:
        log.warning("Secret %s was deleted and cannot be made again now: %s", MASTER_KEY_SECRET, error)


async def _read(client: KubeClient, namespace: str, name: str) -> str:
    """The key in a Secret; empty if the Secret is gone or holds none."""
    try:
        found = await client.get(SECRET, namespace, name)
        return base64.b64decode((found.get("data") or {}).get(ENGINE_KEY_FIELD, "")).decode()
    except ApiError as error:
        if isinstance(error.failure, NotFound):
            return ""
        raise
    except ValueError:
        return ""


def _secret(namespace: str, data: Mapping[str, str]) -> Object:
    meta: dict[str, Any] = {
        "name": MASTER_KEY_SECRET,
        "namespace": namespace,
        "labels": {LABEL_MANAGED_BY: MANAGED_BY},
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": dict(data)}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
