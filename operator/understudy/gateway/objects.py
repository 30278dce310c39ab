"""Kubernetes objects as the world takes them: what of each is read, and what an unusable one means."""

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from understudy.domain.keys import USUAL
from understudy.domain.names import ENGINE_PORT, GUARD_SHARD_FIELD, MASTER_KEY_FIELD, MASTER_KEY_STAMP, master_id
from understudy.gateway.kubeapi import ApiError, ApiServer, request
from understudy.gateway.policy.budget import FIELDS as BUDGET
from understudy.gateway.policy.budget import parse_budgets
from understudy.gateway.policy.limits import REQUESTS_FIELD, TOKENS_FIELD, parse_limits
from understudy.gateway.policy.players import FIELDS as PLAYERS
from understudy.gateway.policy.players import parse_players
from understudy.gateway.table import Address
from understudy.gateway.world import World

LOG: Final = logging.getLogger(__name__)
SERVICE_LABEL: Final = "kubernetes.io/service-name"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PRIORITY: Final = re.compile(r"[0-9]")


class Tables:
    """RoutingTables, of one namespace or (empty) of all."""

    def __init__(self, world: World, clock: Callable[[], float], namespace: str) -> None:
        self._world = world
        self._clock = clock
        self._namespace = namespace

    def known(self) -> set[tuple[str, str]]:
        """Tables that are served by."""
        served = self._world.tables.values()
        return {(t.namespace, t.name) for t in served if self._namespace in ("", t.namespace)}

    def put(self, item: dict[str, Any]) -> None:
        """A table as written; an unusable one is refused there."""
        metadata = item["metadata"]
        self._world.set_table(
            metadata["namespace"], metadata["name"], metadata["uid"], metadata["generation"], item.get("spec") or {}
        )

    def gone(self, namespace: str, name: str) -> None:
        """A table that was deleted."""
        self._world.table_gone(namespace, name, self._clock())


class Slices:
    """EndpointSlices of the revisions' Services, of one namespace or (empty) of all."""

    def __init__(self, world: World, namespace: str) -> None:
        self._world = world
        self._namespace = namespace

    def known(self) -> set[tuple[str, str]]:
        """Slices that the world has."""
        found = ((namespace, name) for (namespace, _), names in self._world.slices.items() for name in names)
        return {(namespace, name) for namespace, name in found if self._namespace in ("", namespace)}

    def put(self, item: dict[str, Any]) -> None:
        """A slice as it is; one without a Service is nobody's."""
        metadata = item["metadata"]
        service = (metadata.get("labels") or {}).get(SERVICE_LABEL)
        if service:
            self._world.set_slice(metadata["namespace"], metadata["name"], service, addresses_of(item))

    def gone(self, namespace: str, name: str) -> None:
        """A slice that was deleted."""
        self._world.slice_gone(namespace, name)


class AccessKeys:
    """Secrets that hold access keys."""

    def __init__(self, world: World) -> None:
        self._world = world

    def known(self) -> set[tuple[str, str]]:
        """Keys that the world has, under the names of their Secrets."""
        return {_split(secret) for secret in (*self._world.key_scopes, *self._world.unreadable)}

    def put(self, item: dict[str, Any]) -> None:
        """A key, or none if it cannot be read: without the limit that somebody meant it would spend without one."""
        secret = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        data = item.get("data") or {}
        try:
            digest = _hash(data)
            limits = parse_limits(
                {field: _text(data, field) for field in (REQUESTS_FIELD, TOKENS_FIELD) if field in data}
            )
            budgets = parse_budgets(secret, {field: _text(data, field) for field in BUDGET if field in data})
            players = parse_players(secret, {field: _text(data, field) for field in PLAYERS if field in data})
        except ValueError as error:
            LOG.warning("Secret %s is no access key: data.%s", secret, error)
            self._world.key_unreadable(secret)
            return
        scopes = (_list(_text(data, "namespaces")), _list(_text(data, "names")))
        chooses = _text(data, "choosesVariant").lower() == "true"
        priority = _text(data, "priority") or str(USUAL)
        if not _PRIORITY.fullmatch(priority):
            LOG.warning("Secret %s: data.priority is not a digit; it counts as %d", secret, USUAL)
            priority = str(USUAL)
        self._world.set_key(
            secret,
            digest,
            *scopes,
            chooses=chooses,
            priority=int(priority),
            limits=limits,
            budgets=budgets,
            players=players,
        )

    def gone(self, namespace: str, name: str) -> None:
        """A key that was revoked."""
        self._world.key_gone(f"{namespace}/{name}")


class Gateways:
    """EndpointSlices of the gateways' own Service: how many gateways share the limits of keys."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods: dict[tuple[str, str], frozenset[str]] = {}

    def known(self) -> set[tuple[str, str]]:
        """Slices so far."""
        return set(self._pods)

    def put(self, item: dict[str, Any]) -> None:
        """A slice as it is. With two families of addresses each pod is in two slices, and is one gateway."""
        metadata = item["metadata"]
        ready = (e for e in item.get("endpoints") or () if (e.get("conditions") or {}).get("ready") is not False)
        pods = frozenset((e.get("targetRef") or {}).get("uid") or e["addresses"][0] for e in ready)
        self._pods[(metadata["namespace"], metadata["name"])] = pods
        self._count()

    def gone(self, namespace: str, name: str) -> None:
        """A slice that was deleted."""
        self._pods.pop((namespace, name), None)
        self._count()

    def _count(self) -> None:
        # At its start a gateway is the last to hear that it is ready: it is one in any case.
        self._world.gateways = max(1, len(frozenset[str]().union(*self._pods.values())))


class MasterKey:
    """The Secret that engine keys are derived from. One that is gone stays in use: engines still have its keys.

    So does one that was changed, until the operator has put beside the new one the keys of the revisions that
    run already, and stamped it.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def known(self) -> set[tuple[str, str]]:
        """Nothing that could be gone."""
        return set()

    def put(self, item: dict[str, Any]) -> None:
        """The master key, and the keys that do not follow from it: the fields whose names have a dot."""
        data = item.get("data") or {}
        master, stamp = _bytes(data, MASTER_KEY_FIELD), _text(data, MASTER_KEY_STAMP)
        if not master:
            return
        if self._world.master not in (b"", master) and stamp != master_id(master):
            LOG.warning("the master key has changed; the old one stays in use until the operator has seen to it")
            return
        self._world.set_master(master, {field: _text(data, field) for field in data if "." in field})

    def gone(self, namespace: str, name: str) -> None:
        """Nothing: see above."""
        LOG.warning("Secret %s/%s is gone; its key stays in use here", namespace, name)


def shards_of(server: ApiServer) -> Callable[[str, str], Awaitable[bytes]]:
    """What reads a part of a Guardrail's policy, by namespace and name; it raises OSError where there is none."""

    async def fetch(namespace: str, name: str) -> bytes:
        try:
            item = await request(server, "GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        except ApiError as error:
            raise OSError(f"ConfigMap {namespace}/{name}: {error}") from error
        part = _bytes(item.get("binaryData") or {}, GUARD_SHARD_FIELD)
        if not part:
            raise OSError(f"ConfigMap {namespace}/{name} has no binaryData.{GUARD_SHARD_FIELD}")
        return part

    return fetch


def addresses_of(item: Mapping[str, Any]) -> list[Address]:
    """Endpoints of a slice that may take requests, if only as a last resort: all but those that have ended."""
    ports = item.get("ports") or ()
    port = next((p["port"] for p in ports if p.get("port")), ENGINE_PORT)
    found = []
    for endpoint in item.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = ready or conditions.get("serving") is True
        if (serving or not conditions.get("terminating")) and endpoint.get("addresses"):
            found.append(Address(endpoint["addresses"][0], port, ready, serving))
    return found


def _split(secret: str) -> tuple[str, str]:
    namespace, _, name = secret.rpartition("/")
    return namespace, name


def _bytes(data: Mapping[str, Any], field: str) -> bytes:
    try:
        return base64.b64decode(data.get(field) or "", validate=True)
    except (binascii.Error, TypeError):
        return b""


def _text(data: Mapping[str, Any], field: str) -> str:
    return _bytes(data, field).decode(errors="replace").strip()


def _hash(data: Mapping[str, Any]) -> str:
    digest = _text(data, "hash").lower()
    if not _HASH.fullmatch(digest):
        raise ValueError("hash: want a SHA-256 in hexadecimal digits")
    return digest


def _list(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]
