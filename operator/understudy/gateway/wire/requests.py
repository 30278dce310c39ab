"""From the bytes of a whole request to the exchange that answers it, or the refusal."""

import time
from typing import TYPE_CHECKING, Final

import orjson

from understudy.gateway.policy.charges import charges_of
from understudy.gateway.policy.choose import VARIANT_FIELD, asks_for_candidate
from understudy.gateway.policy.demand import demand_of
from understudy.gateway.policy.document import read_object
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import RESPONSES, Operation, check_fields, check_model
from understudy.gateway.policy.players import check_fiction
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import make_stateless
from understudy.gateway.table import Entry, Routes
from understudy.gateway.wire.exchange import Exchange
from understudy.gateway.wire.means import Means
from understudy.gateway.wire.playing import who_plays
from understudy.gateway.wire.switching import way_of

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection

_STARTED: Final = int(time.time())


def open_exchange(
    connection: "Connection", operation: Operation, head: Head, body: bytes | bytearray, key: AccessKey
) -> Exchange | Refusal:
    """The exchange for a request, not started yet."""
    plane = connection.plane
    document = read_object(body)
    if isinstance(document, Refusal):
        return document
    refusal = check_model(document)
    if refusal is not None:
        return refusal
    name: str = document["model"]
    entry = plane.world.routes.names.get(name)
    if entry is None or not key.allows(entry.served.namespace, entry.names):
        # One answer for both, so that names of others cannot be found out.
        return Refusal(404, "model_not_found", f"there is no model {name[:128]!r}", "model")
    table = entry.served.table
    refusal = check_fields(operation, document, table.extra_fields, table.media_hosts)
    refusal = refusal or check_fiction(key.players, head.fields)
    if refusal is not None:
        return refusal
    if operation is RESPONSES:
        refusal = make_stateless(document)
        if refusal is not None:
            return refusal
    playing = who_plays(plane.players, operation, key, head, entry, document)
    if isinstance(playing, Refusal):
        return playing
    pricing = entry.served.table.pricing
    way = way_of(playing, plane.world.routes, key, entry, operation, document)
    entry = way.entry
    direct = asks_for_candidate(head.fields.get(VARIANT_FIELD), key)
    if isinstance(direct, Refusal):
        return direct
    means = None
    if key.limits is not None or key.budgets:
        demand = demand_of(operation, document, len(body))
        # By the prices of the name that was asked for, whoever takes it.
        charges = charges_of(key.budgets, demand, pricing)
        if isinstance(charges, Refusal):
            return charges
        means = Means(connection, key, demand, charges)
    exchange = Exchange(connection, operation, head, document, way, key, means, size=len(body), direct=direct)
    exchange.turn = playing
    if entry.guarding is not None or entry.unguarded:
        exchange.guard(entry)
    return exchange


def list_models(routes: Routes, key: AccessKey) -> bytes:
    """The body of `/v1/models`: every name that the key may use."""
    cards = [
        {"id": name, "object": "model", "created": _STARTED, "owned_by": entry.served.namespace}
        for name, entry in sorted(routes.names.items())
        if _listed(name, entry) and key.allows(entry.served.namespace, entry.names)
    ]
    return orjson.dumps({"object": "list", "data": cards})


def _listed(name: str, entry: Entry) -> bool:
    # `namespace/name` always works; it is shown only where nothing shorter does.
    return "/" not in name or name in entry.served.table.served_names or not entry.served.table.served_names
