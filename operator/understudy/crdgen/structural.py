"""From pydantic's JSON schema to the structural schema that a CRD may contain.

Pydantic writes JSON Schema 2020-12; the API server takes a subset of OpenAPI v3 with its own rules
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
What has no equal there is refused here with its path, so that a model's author learns it first.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from understudy.api.v1alpha1.markers import RULES, STORED, STORED_AS

Schema = dict[str, Any]

_DROPPED: Final = ("title", "examples", "discriminator", "$defs", STORED, STORED_AS)
_REFUSED: Final = {
    "oneOf": "unions need optional sibling blocks and a rule that wants exactly one",
    "allOf": "write the rules at the field instead",
    "prefixItems": "a tuple of fixed length has no structural form: use a model or tuple[X, ...]",
    "uniqueItems": "a set has no structural form: use tuple[X, ...] with LIST_SET",
    "exclusiveMinimum": "use ge instead of gt",
    "exclusiveMaximum": "use le instead of lt",
    "patternProperties": "keys with a pattern have no structural form",
    "propertyNames": "keys with a pattern have no structural form",
}


class SchemaError(ValueError):
    """A model that has no structural schema; the message begins with the path to the field."""


def structural(schema: Mapping[str, Any]) -> Schema:
    """Structural schema of a pydantic JSON schema (validation mode, by alias). Raises SchemaError."""
    return _compile(dict(schema), schema.get("$defs", {}), "", ())


def _compile(node: Schema, defs: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Schema:
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        if name in seen:
            raise SchemaError(f"{path}: {name} contains itself, and a CRD has no $ref")
        return _compile(_merge(defs[name], {k: v for k, v in node.items() if k != "$ref"}), defs, path, (*seen, name))
    if node.get("x-kubernetes-int-or-string"):
        return _finish({k: v for k, v in node.items() if k != "anyOf"}, {})
    if "anyOf" in node:
        return _compile(_without_null(node, path), defs, path, seen)
    _refuse(node, path)
    children: Schema = {}
    if "properties" in node:
        children["properties"] = {
            name: _compile(child, defs, f"{path}.{name}", seen) for name, child in node["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            children[key] = _compile(node[key], defs, f"{path}[*]", seen)
    return _finish({k: v for k, v in node.items() if k != "additionalProperties"}, children)


def _refuse(node: Schema, path: str) -> None:
    for key, advice in _REFUSED.items():
        if key in node:
            raise SchemaError(f"{path}: {key}: {advice}")
    if node.get("additionalProperties") is True and not node.get("x-kubernetes-preserve-unknown-fields"):
        raise SchemaError(f"{path}: free-form objects need the marker PRESERVE_UNKNOWN and a bound")
    if "type" not in node:
        raise SchemaError(f"{path}: no type; a free-form value needs to be an object with PRESERVE_UNKNOWN")


def _without_null(node: Schema, path: str) -> Schema:
    """Optional[X] is X that may be left out: nullable fields break server-side apply (kubernetes#85127)."""
    branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
    if len(branches) != 1:
        raise SchemaError(f"{path}: anyOf: {_REFUSED['oneOf']}")
    return _merge(branches[0], {k: v for k, v in node.items() if k != "anyOf"})


def _merge(inner: Schema, outer: Schema) -> Schema:
    """The outer node speaks about this use of the type: its words win, its rules come on top."""
    rules = [*inner.get(RULES, []), *outer.get(RULES, [])]
    return {**inner, **outer, **({RULES: rules} if rules else {})}


def _finish(node: Schema, children: Schema) -> Schema:
    done = {k: _plain(v) for k, v in node.items() if k not in _DROPPED} | children
    if "const" in done:
        done["enum"] = [done.pop("const")]
    if STORED_AS in node:
        done["default"] = _plain(node[STORED_AS])
    elif "default" in node and (not node.get(STORED) or node["default"] is None):
        del done["default"]
        _describe_default(done, node["default"])
    if "description" in done:
        done["description"] = " ".join(done["description"].split())
    if done.get("required") == []:
        del done["required"]
    return done


def _describe_default(node: Schema, default: Any) -> None:
    """Say the operator's default in words: it shows in `kubectl explain`, and is not written into objects."""
    if default in (None, "", {}, []) or isinstance(default, dict):
        return
    words = " ".join(node.get("description", "").split())
    node["description"] = f"{words} Default: {json.dumps(_plain(default), ensure_ascii=False)}.".strip()


def _plain(value: Any) -> Any:
    """The value as JSON: tuples become lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
