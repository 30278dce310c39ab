"""What a new schema refuses that the old one took: such a change breaks objects that are already stored."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_UPPER: Final = ("maxLength", "maxItems", "maxProperties", "maximum")
_LOWER: Final = ("minLength", "minItems", "minProperties", "minimum")
_SAME: Final = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string")


def breaking(old: Schema, new: Schema, path: str = "") -> Iterator[str]:
    """Every incompatible change from one structural schema to another, as `path: sentence`."""
    for key in ("type", *_SAME):
        if old.get(key) != new.get(key):
            yield f"{path}: {key} was {old.get(key)!r}, is {new.get(key)!r}"
    if "enum" in new:
        yield from (f"{path}: {value!r} is no longer allowed" for value in _lost(old.get("enum"), new["enum"]))
    for key in _UPPER:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{path}: {key} falls from {old.get(key, 'none')} to {new[key]}"
    for key in _LOWER:
        if key in new and new[key] > old.get(key, float("-inf")):
            yield f"{path}: {key} rises from {old.get(key, 'none')} to {new[key]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{path}: another pattern"
    if old.get("default", new.get("default")) != new.get("default"):
        yield f"{path}: another default"
    required = set(new.get("required", ())) - set(old.get("required", ()))
    yield from (f"{path}.{name}: is now required" for name in sorted(required))
    yield from _children(old, new, path)


def _lost(old: list[Any] | None, new: list[Any]) -> list[Any]:
    return ["anything else"] if old is None else [value for value in old if value not in new]


def _children(old: Schema, new: Schema, path: str) -> Iterator[str]:
    known = new.get("properties", {})
    for name, child in old.get("properties", {}).items():
        if name in known:
            yield from breaking(child, known[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: removed"
    for key in ("items", "additionalProperties"):
        if key in old and key in new:
            yield from breaking(old[key], new[key], f"{path}[*]")
