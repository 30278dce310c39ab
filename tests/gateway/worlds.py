"""Snapshots for tests: tables, endpoints and keys in one line each."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from understudy.gateway.snapshot import load
from understudy.gateway.table import Entry, Variant
from understudy.gateway.world import World

STABLE = "6f1c9a02"
CANARY = "a90b1234"
KEY = "us-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
MASTER = b"m" * 32


def table(
    variants: Mapping[str, int] | None = None,
    *,
    name: str = "story",
    namespace: str = "default",
    names: Sequence[str] = ("storyteller",),
    tls: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A table; `variants` maps revisions to weights, the second one being the candidate; `tls`: all speak it."""
    weights = {STABLE: 100} if variants is None else variants
    tracks = ("stable", "canary")
    meta: dict[str, Any] = {field: more.pop(field) for field in ("uid", "generation") if field in more}
    spec: dict[str, Any] = {
        "epoch": 1,
        "servedNames": list(names),
        "salt": CANARY if len(weights) > 1 else "",
        "variants": [
            {
                "revision": revision,
                "track": track,
                "weight": weight,
                "service": f"{name}-{revision}",
                **({"tls": True} if tls else {}),
            }
            for (revision, weight), track in zip(weights.items(), tracks, strict=False)
        ],
        **more,
    }
    return {"namespace": namespace, "name": name, "uid": "uid-1", "generation": 1, **meta, "spec": spec}


def shadowed_table(*, generation: int = 1, cut: Sequence[str] = (), **shadow: Any) -> dict[str, Any]:
    """A table in which CANARY is the shadow of STABLE; `shadow` changes its settings.

    By default all is copied, and nothing is late: a busy machine must not make a half bad.
    """
    settings = {"percent": 100, "firstTokenSeconds": 3600, "betweenTokensSeconds": 3600, **shadow}
    shadowed = table(salt=CANARY, shadow=settings, cut=list(cut), generation=generation)
    shadowed["spec"]["variants"].append(
        {"revision": CANARY, "track": "shadow", "weight": 0, "service": f"story-{CANARY}"}
    )
    return shadowed


def endpoints(
    revision: str,
    ports: Sequence[int],
    *,
    name: str = "story",
    namespace: str = "default",
    ready: bool = True,
    serving: bool = True,
) -> dict[str, Any]:
    """The slice of one revision's engines on loopback ports."""
    addresses = [{"host": "127.0.0.1", "port": port, "ready": ready, "serving": serving} for port in ports]
    return {
        "namespace": namespace,
        "service": f"{name}-{revision}",
        "slice": f"{name}-{revision}-x",
        "addresses": addresses,
    }


def noon() -> str:
    """A time zone in which it is about noon now: there no budget begins anew in the middle of a test."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def access_key(
    text: str = KEY,
    *,
    source: str = "understudy-system/key",
    namespaces: str = "*",
    names: str = "*",
    chooses: bool = False,
    priority: int = 5,
    **limits: int | str,
) -> dict[str, Any]:
    """A key as its Secret tells of it, with `limits` and a budget; `chooses`: it may ask for the candidate."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    scopes = {"namespaces": namespaces.split(","), "names": names.split(",")}
    zone = {"budgetTimeZone": noon()} if "budgetPeriod" in limits else {}
    made = {"secret": source, "hash": digest, **scopes, "choosesVariant": chooses, "priority": priority}
    return {**made, **zone, **limits}


def snapshot(
    tables: Sequence[Mapping[str, Any]] = (),
    slices: Sequence[Mapping[str, Any]] = (),
    keys: Sequence[Mapping[str, Any]] | None = None,
    master: bytes = MASTER,
    kept: Mapping[str, str] | None = None,
    gateways: int = 1,
) -> dict[str, Any]:
    """A whole snapshot; with one key for everything unless `keys` says otherwise."""
    return {
        "version": 1,
        "master": master.hex(),
        "keptKeys": dict(kept or {}),
        "keys": [access_key()] if keys is None else list(keys),
        "gateways": gateways,
        "tables": list(tables),
        "endpoints": list(slices),
    }


def world_of(document: Mapping[str, Any]) -> World:
    """A compiled world."""
    world = World()
    load(document, world)
    world.compile()
    return world


def entry_of(weights: Mapping[str, int], ports: Mapping[str, Sequence[int]] | None = None, **more: Any) -> Entry:
    """The compiled entry of one deployment; one engine per revision unless `ports` says otherwise."""
    given = {r: [8000 + i] for i, r in enumerate(weights)} if ports is None else ports
    slices = [endpoints(revision, numbers) for revision, numbers in given.items()]
    return world_of(snapshot([table(weights, **more)], slices)).routes.deployments["default/story"]


def variant_of(entry: Entry, revision: str) -> Variant:
    """The variant of a revision."""
    return next(v for v in entry.variants if v.revision == revision)
