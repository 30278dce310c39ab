"""From a CRD's schema to the values that it must refuse: one per bound, found by walking the schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import re2

from tests.api.examples import GONE, Object, examples
from understudy.crdgen.checker import children
from understudy.crdgen.crd import schema
from understudy.crdgen.kinds import KINDS

Schema = Any


@dataclass(frozen=True, slots=True)
class Bound:
    """One constraint of one field: `path` as the schema has it, `[*]` for items and map values."""

    kind: str
    path: str
    keyword: str
    node: Schema

    def __str__(self) -> str:
        return f"{self.kind}{self.path}:{self.keyword}"


# What the API server says when the keyword is violated.
SAYS = {
    "type": "must be of type",
    "enum": "Unsupported value",
    "pattern": "should match",
    "maxLength": "Too long",
    "minLength": "should be at least",
    "minimum": "should be greater than or equal to",
    "maximum": "should be less than or equal to",
    "maxItems": "Too many",
    "minItems": "should have at least",
    "maxProperties": "Too many",
    "minProperties": "should have at least",
    "unique": "Duplicate value",
}
_NO_MATCH = ("!", " ", "\u00e4", "9", "/", "-x")


def bounds() -> Iterator[Bound]:
    """Every constraint of every kind; rules in CEL and required fields are apart."""
    for kind in KINDS:
        for part in ("spec", "status"):
            node = schema(kind)["properties"].get(part)
            if node:
                yield from _walk(kind.name, f".{part}", node)


def _walk(kind: str, path: str, node: Schema) -> Iterator[Bound]:
    yield Bound(kind, path, "type", node)
    for keyword in SAYS:
        if keyword in node and keyword != "type":
            yield Bound(kind, path, keyword, node)
    if node.get("x-kubernetes-list-type") in ("map", "set"):
        yield Bound(kind, path, "unique", node)
    for name in node.get("required", ()):
        yield Bound(kind, f"{path}.{name}", "required", node["properties"][name])
    for where, child in children(node, path):
        yield from _walk(kind, where, child)


def located(bound: Bound) -> tuple[Object, list[Any]] | None:
    """An example that has the field, and the keys that lead to it."""
    for document in examples(bound.kind):
        keys = _find(document, bound.path.replace("[*]", ".*").split(".")[1:])
        if keys is not None:
            return document, keys
    return None


def _find(value: Any, path: list[str]) -> list[Any] | None:
    if not path:
        return []
    head, *rest = path
    if head == "*":
        options: list[Any] = list(range(len(value))) if isinstance(value, list) else list(value)
    else:
        options = [head] if isinstance(value, dict) and head in value else []
    for key in options:
        below = _find(value[key], rest)
        if below is not None:
            return [key, *below]
    return None


def violating(bound: Bound, value: Any) -> Any:
    """A value near the given valid one that this bound alone, or also this bound, refuses."""
    node, keyword = bound.node, bound.keyword
    if keyword == "type":
        return 7 if node.get("type") in ("array", "string") else [["wrong"]]
    if keyword in ("maxItems", "minItems", "unique"):
        times = {"maxItems": node.get("maxItems", 0) + 1, "minItems": 0, "unique": 2}[keyword]
        return value[:1] * times
    if keyword in ("maxProperties", "minProperties"):
        filler = next(iter(value.values()), "x")
        return {f"k{i}": filler for i in range(node["maxProperties"] + 1)} if keyword == "maxProperties" else {}
    if keyword == "pattern":
        return next(text for text in _NO_MATCH if not re2.search(node["pattern"], text))
    if keyword == "required":
        return GONE
    return {
        "enum": "No-Such-Value" if node.get("type") == "string" else 99,
        "maxLength": str(value) + "9" * (node.get("maxLength", 0) + 1),
        "minLength": "",
        "minimum": node.get("minimum", 0) - 1,
        "maximum": node.get("maximum", 0) + 1,
    }[keyword]


def allowed(bound: Bound) -> list[Any]:
    """Values at the edge that this bound must let pass; empty where there is no simple edge."""
    node = bound.node
    match bound.keyword:
        case "enum":
            return list(node["enum"])
        case "minimum":
            return [node["minimum"]]
        case "maximum":
            return [node["maximum"]]
    return []


def placed(document: Object, keys: list[Any], value: Any) -> Object:
    """The document with the value at the keys, or without it when GONE; changes the document."""
    target: Any = document
    for key in keys[:-1]:
        target = target[key]
    if value is GONE:
        del target[keys[-1]]
    else:
        target[keys[-1]] = value
    return document
