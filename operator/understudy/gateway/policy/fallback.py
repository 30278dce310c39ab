"""Which other served name takes a request that its own deployment cannot serve."""

from collections.abc import Collection
from typing import Any

from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import Operation, check_fields
from understudy.gateway.table import Entry, Routes


def next_fallback(
    names: tuple[str, ...],
    routes: Routes,
    key: AccessKey,
    asked: Collection[str],
    operation: Operation,
    document: dict[str, Any],
) -> tuple[str, Entry, tuple[str, ...]] | None:
    """The first of `names` that may take the request, its deployment, and the names after it; None if none may.

    It must be reachable by the key, not be one of the deployments `asked` before, have all Guardrails that it needs,
    and take the request's fields and media. Only the list of the deployment that was asked first is gone through: there
    is no way round and round.
    """
    # Ours, not the client's: no deployment has it among its fields.
    body = {field: value for field, value in document.items() if field != "cache_salt"}
    for number, name in enumerate(names):
        entry = routes.names.get(name)
        if entry is None or entry.key in asked or not key.allows(entry.served.namespace, entry.names):
            continue
        if entry.unguarded:
            continue
        table = entry.served.table
        if check_fields(operation, body, table.extra_fields, table.media_hosts) is None:
            return name, entry, names[number + 1 :]
    return None
