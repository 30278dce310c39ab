"""The gateway's whole knowledge in one file: a restarted container serves from it while the API server is away.

`understudy gateway --snapshot FILE` runs from such a file alone: laptops, benchmarks, fuzzing. The file holds
key hashes and the master key, hence mode 0600; times and counters are not in it. JSON, all lists may be absent:

    {"version": 1,
     "master": "<hex of the key that engine keys are derived from; absent: engines are asked without a key>",
     "keys": [{"secret": "key-a", "hash": "<hex SHA-256 of the key's text>", "namespaces": ["*"], "names": ["*"],
               "choosesVariant": false, "priority": 5, "requestsPerMinute": 600, "tokensPerMinute": 90000,
               "budgetTokens": "5000000", "budgetMoney": "25.00", "budgetCurrency": "USD", "budgetPeriod": "month",
               "budgetTimeZone": "UTC", "onLedgerLoss": "refuse", "tenant": "games", "assertsPlayers": "true",
               "playerSecret": "…", "crisisRequests": "200", "assertsFiction": "false"}],
     "gateways": 1,
     "tables": [{"namespace": "default", "name": "story", "uid": "u1", "generation": 1,
                 "spec": {"epoch": 1, "servedNames": ["story"], "salt": "a90b1234",
                          "variants": [{"revision": "6f1c9a02", "track": "stable", "weight": 90,
                                        "service": "story-6f1c9a02"}, …]}}],
     "shards": [{"namespace": "default", "name": "understudy-guard-0123456789abcdef-0", "data": "<base64>"}],
     "endpoints": [{"namespace": "default", "service": "story-6f1c9a02", "slice": "story-6f1c9a02-x",
                    "addresses": [{"host": "10.0.0.7", "port": 8000, "ready": true, "serving": true}]}]}
"""

import base64
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from understudy.domain.keys import USUAL
from understudy.domain.names import ENGINE_PORT
from understudy.gateway.policy.budget import FIELDS as BUDGET
from understudy.gateway.policy.budget import budget_fields, parse_budgets
from understudy.gateway.policy.limits import REQUESTS_FIELD, TOKENS_FIELD, limit_fields, parse_limits
from understudy.gateway.policy.players import FIELDS as PLAYERS
from understudy.gateway.policy.players import parse_players, player_fields
from understudy.gateway.table import Address
from understudy.gateway.world import World

VERSION: Final = 1


class SnapshotError(ValueError):
    """A file that is not a snapshot; the message says what is wrong with it."""


def dump(world: World) -> dict[str, Any]:
    """The world as a snapshot's JSON object."""
    return {
        "version": VERSION,
        "master": world.master.hex(),
        "keptKeys": dict(world.kept),
        "keys": [
            {
                "secret": secret,
                "hash": digest,
                "namespaces": list(namespaces),
                "names": list(names),
                "choosesVariant": chooses,
                "priority": priority,
                **limit_fields(limits),
                **budget_fields(budgets),
                **player_fields(secret, players),
            }
            for secret, scope in world.key_scopes.items()
            for digest, namespaces, names, chooses, priority, limits, budgets, players in (scope,)
        ],
        "gateways": world.gateways,
        "tables": [
            {
                "namespace": served.namespace,
                "name": served.name,
                "uid": served.uid,
                "generation": served.generation,
                "spec": world.specs[key],
            }
            for key, served in world.tables.items()
        ],
        "shards": [
            {"namespace": namespace, "name": name, "data": base64.b64encode(part).decode()}
            for (namespace, name), part in dict(world.guards.shards).items()
        ],
        "endpoints": [
            {
                "namespace": namespace,
                "service": service,
                "slice": name,
                "addresses": [
                    {"host": a.host, "port": a.port, "ready": a.ready, "serving": a.serving} for a in addresses
                ],
            }
            for (namespace, service), slices in world.slices.items()
            for name, addresses in slices.items()
        ],
    }


def load(document: Mapping[str, Any], world: World) -> None:
    """Tell a world everything in a snapshot; raises SnapshotError when it is not one."""
    if document.get("version") != VERSION:
        raise SnapshotError(f"version: want {VERSION}, got {document.get('version')!r}")
    try:
        kept = {str(name): str(key) for name, key in document.get("keptKeys", {}).items()}
        world.set_master(bytes.fromhex(document.get("master", "")), kept)
        for key in document.get("keys", ()):
            chooses = key.get("choosesVariant", False) is True
            priority = int(key.get("priority", USUAL))
            named = (key["secret"], key["hash"], key["namespaces"], key["names"])
            limits = parse_limits({field: str(key[field]) for field in (REQUESTS_FIELD, TOKENS_FIELD) if field in key})
            budgets = parse_budgets(key["secret"], {field: str(key[field]) for field in BUDGET if field in key})
            players = parse_players(key["secret"], {field: str(key[field]) for field in PLAYERS if field in key})
            world.set_key(*named, chooses=chooses, priority=priority, limits=limits, budgets=budgets, players=players)
        world.gateways = max(1, int(document.get("gateways", 1)))
        for table in document.get("tables", ()):
            world.set_table(
                table["namespace"], table["name"], table.get("uid", ""), table.get("generation", 1), table["spec"]
            )
        for shard in document.get("shards", ()):
            part = base64.b64decode(shard["data"], validate=True)
            world.guards.shards[(shard["namespace"], shard["name"])] = part
        for item in document.get("endpoints", ()):
            addresses = [
                Address(a["host"], a.get("port", ENGINE_PORT), a.get("ready", True), a.get("serving", True))
                for a in item["addresses"]
            ]
            world.set_slice(item["namespace"], item.get("slice", item["service"]), item["service"], addresses)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


def read_file(path: Path, world: World) -> None:
    """Tell a world everything in the file `path`; raises SnapshotError or OSError."""
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise SnapshotError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SnapshotError("want a JSON object")
    load(document, world)


def write_file(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file `path` in one step, readable by its owner alone; raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
