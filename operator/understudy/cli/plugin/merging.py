"""What `kubectl apply` would make of an object that exists: its three-way merge, as a pure function.

Fields of the file are set, fields that the last apply set and this file leaves out are removed, the others (of
controllers and other tools) stay. Lists are replaced whole, as for every custom resource.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_IDENTITY: Final = ("apiVersion", "kind")
_OURS: Final = ("annotations", "labels")


def merged(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`live` after an apply of `wanted`; identity, status and the server's own metadata stay."""
    last = _last_applied(live)
    body = {key: value for key, value in wanted.items() if key not in (*_IDENTITY, "metadata", "status")}
    before = {key: value for key, value in last.items() if key not in (*_IDENTITY, "metadata", "status")}
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    said, had = _ours(wanted), _ours(last)
    # What kubectl keeps there is rewritten by an apply, and no part of what was asked for.
    return {**_three_way(live, before, body), "metadata": _three_way(metadata, had, said)}


def _three_way(live: Mapping[str, Any], last: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    out = {key: value for key, value in live.items() if key not in last or key in wanted}
    for key, value in wanted.items():
        old = live.get(key)
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            before = last.get(key)
            out[key] = _three_way(old, before if isinstance(before, Mapping) else {}, value)
        else:
            out[key] = value
    return out


def _ours(obj: Mapping[str, Any]) -> dict[str, Any]:
    meta = obj.get("metadata") or {}
    return {key: meta[key] for key in _OURS if meta.get(key)}


def _last_applied(live: Mapping[str, Any]) -> Mapping[str, Any]:
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "")
    try:
        last = json.loads(text or "{}")
    except ValueError:
        last = {}
    return last if isinstance(last, Mapping) else {}
