"""Says whether the API server would take a schema as structural, and whether every field is bounded.

A second reading of the rules, on purpose not shared with the compiler: what one of them gets wrong, the
other one finds before a server does.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import re2

Schema = Mapping[str, Any]

_KNOWN: Final = frozenset(
    {
        "additionalProperties",
        "anyOf",
        "allOf",
        "default",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
_TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean"})
_PYTHON: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_IN_BRANCHES: Final = ("description", "type", "default", "additionalProperties", "nullable")


def problems(schema: Schema, path: str = "") -> Iterator[str]:
    """Every reason for which the API server would refuse the schema, as `path: sentence`."""
    yield from (f"{path}: {key} is not a field of a CRD schema" for key in schema.keys() - _KNOWN)
    yield from _type_problems(schema, path)
    yield from _object_problems(schema, path)
    yield from _list_problems(schema, path)
    yield from _value_problems(schema, path)
    yield from _rule_problems(schema, path)
    for junctor in ("anyOf", "allOf", "oneOf"):
        for branch in schema.get(junctor, ()):
            yield from _branch_problems(branch, f"{path}.{junctor}")
    for where, child in children(schema, path):
        yield from problems(child, where)


def unbounded(schema: Schema, path: str = "") -> Iterator[str]:
    """Every field without an upper bound on its size: CEL's cost estimate and etcd both want one."""
    kind = schema.get("type")
    if (kind == "string" or schema.get("x-kubernetes-int-or-string")) and not (schema.keys() & {"maxLength", "enum"}):
        yield f"{path}: no maxLength"
    if kind == "array" and "maxItems" not in schema:
        yield f"{path}: no maxItems"
    free = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if kind == "object" and free and "maxProperties" not in schema:
        yield f"{path}: no maxProperties"
    for where, child in children(schema, path):
        yield from unbounded(child, where)


def children(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The schemas directly below, with their paths."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield f"{path}[*]", schema[key]


def _type_problems(schema: Schema, path: str) -> Iterator[str]:
    kind, mixed = schema.get("type"), schema.get("x-kubernetes-int-or-string")
    if mixed and kind is not None:
        yield f"{path}: x-kubernetes-int-or-string goes without type"
    if not mixed and kind not in _TYPES:
        yield f"{path}: type {kind!r} is none of {', '.join(sorted(_TYPES))}"
    if schema.get("x-kubernetes-preserve-unknown-fields") and kind != "object":
        yield f"{path}: x-kubernetes-preserve-unknown-fields needs type object"


def _object_problems(schema: Schema, path: str) -> Iterator[str]:
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties exclude each other"
    if "additionalProperties" in schema and not isinstance(schema["additionalProperties"], dict):
        yield f"{path}: additionalProperties must be a schema"
    if "properties" in schema and schema.get("type") != "object":
        yield f"{path}: properties need type object"
    known = schema.get("properties", {})
    if not schema.get("x-kubernetes-preserve-unknown-fields"):
        yield from (
            f"{path}: {name} is required but unknown" for name in schema.get("required", ()) if name not in known
        )


def _list_problems(schema: Schema, path: str) -> Iterator[str]:
    if (schema.get("type") == "array") != ("items" in schema):
        yield f"{path}: type array and items go together"
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys", [])
    items = schema.get("items", {})
    if kind is not None and schema.get("type") != "array":
        yield f"{path}: x-kubernetes-list-type needs type array"
    if "x-kubernetes-map-type" in schema and schema.get("type") != "object":
        yield f"{path}: x-kubernetes-map-type needs type object"
    if (kind == "map") != bool(keys):
        yield f"{path}: list type map and its keys go together"
    for key in keys:
        field = items.get("properties", {}).get(key, {})
        if field.get("type") not in ("string", "integer", "boolean"):
            yield f"{path}: list key {key} must be a scalar field of the items"
        if key not in items.get("required", ()) and "default" not in field:
            yield f"{path}: list key {key} must be required or have a default"
    if kind == "set" and items.get("type") in ("object", "array"):
        yield f"{path}: a set needs scalar items"


def _value_problems(schema: Schema, path: str) -> Iterator[str]:
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if key in schema and not isinstance(schema[key], bool):
            yield f"{path}: {key} must be true or false beside {key[9:].lower()}"
    enum = schema.get("enum")
    if enum is not None and (not enum or len({repr(value) for value in enum}) != len(enum)):
        yield f"{path}: enum must name at least one value, each once"
    if "pattern" in schema:
        try:
            re2.compile(schema["pattern"])
        except re2.error as error:
            yield f"{path}: pattern is not RE2: {error}"
    if "default" in schema and not conforms(schema["default"], schema):
        yield f"{path}: the default does not fit the schema"


def _rule_problems(schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if not rule.get("rule", "").strip():
            yield f"{path}: empty rule"
        message = rule.get("message", "")
        if not message.strip() or "\n" in message or len(message) > 2048:
            yield f"{path}: a rule needs a message of one line"


def _branch_problems(branch: Schema, path: str) -> Iterator[str]:
    yield from (f"{path}: {key} is not allowed in a branch" for key in _IN_BRANCHES if key in branch)
    for where, child in children(branch, path):
        yield from _branch_problems(child, where)


def conforms(value: Any, schema: Schema) -> bool:
    """Whether a value has the schema's type, fields and enum; patterns and rules are not looked at."""
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    expected = _PYTHON[schema["type"]]
    if not isinstance(value, expected) or (isinstance(value, bool) and schema["type"] != "boolean"):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        return all(conforms(item, schema["items"]) for item in value)
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        return set(schema.get("required", ())) <= value.keys() and all(
            conforms(item, known[key]) if key in known else rest is not None and conforms(item, rest)
            for key, item in value.items()
        )
    return True
