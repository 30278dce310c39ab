"""What makes two revisions the same: canonical JSON and the hashes over it.

A hash that changes without a user's edit would restart every engine of an installation, so the
form is versioned and its results are pinned by golden tests.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

SHORT: Final = 8


def canonical_json(value: Any) -> bytes:
    """`value` as JSON that is the same for equal values: sorted keys, no spaces, UTF-8, whole floats as integers.

    Tuples count as lists. Raises ValueError for NaN and infinity, TypeError for what JSON cannot hold.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def content_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def revision_hash(intent: Mapping[str, Any], version: int) -> str:
    """SHA-256 of everything that shapes a revision's pods, under canonical form number `version`."""
    return content_hash({"version": version, "intent": intent})


def short_revision(full: str) -> str:
    """The first 8 digits of a revision's hash: what labels and names carry."""
    return full[:SHORT]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _key(key: Any) -> str:
    # json would turn 1 and "1" into the same key, silently.
    if not isinstance(key, str):
        raise TypeError(f"an object's key must be a string, not {key!r}")
    return key
