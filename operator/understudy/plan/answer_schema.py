"""JSON Schema for the answers of probe prompts: the part of it that can neither hang, reach out nor grow.

A library would bring references to other documents and regular expressions without a bound on their time, to a
process that watches over everybody's rollouts. What is left out is refused by name, never passed over.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import orjson
import re2

from understudy.plan.desired.refusal import Refusal

MAX_BYTES: Final = 16 * 1024  # of a schema, as JSON
MAX_LEVELS: Final = 16
MAX_SCHEMAS: Final = 200
MAX_ANSWER: Final = 32 * 1024  # characters
MAX_CHECKS: Final = 10_000  # of a value against a schema or one of many wanted values: some milliseconds
_MAX_PATTERN: Final = 512
_SHOWN: Final = 40


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@lru_cache(maxsize=1024)
def _pattern(source: str) -> Any:
    try:
        return re2.compile(source)
    except re2.error:
        return None


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda v: isinstance(v, Mapping),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "number": _numeric,
    "integer": lambda v: _numeric(v) and v == math.floor(v),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}


@dataclass(frozen=True, slots=True)
class _Limit:
    """A keyword with a bound: what it measures of which type, when that holds, and how a breach is told."""

    kind: str
    measure: Callable[[Any], float]
    holds: Callable[[float, float], bool]
    said: str


_LIMITS: Final[Mapping[str, _Limit]] = {
    "minimum": _Limit("number", lambda v: v, lambda v, bound: v >= bound, "is {v}, below {bound}"),
    "maximum": _Limit("number", lambda v: v, lambda v, bound: v <= bound, "is {v}, above {bound}"),
    "exclusiveMinimum": _Limit("number", lambda v: v, lambda v, bound: v > bound, "is {v}, not above {bound}"),
    "exclusiveMaximum": _Limit("number", lambda v: v, lambda v, bound: v < bound, "is {v}, not below {bound}"),
    "minLength": _Limit("string", len, lambda v, bound: v >= bound, "has {v} characters, fewer than {bound}"),
    "maxLength": _Limit("string", len, lambda v, bound: v <= bound, "has {v} characters, more than {bound}"),
    "minItems": _Limit("array", len, lambda v, bound: v >= bound, "has {v} items, fewer than {bound}"),
    "maxItems": _Limit("array", len, lambda v, bound: v <= bound, "has {v} items, more than {bound}"),
    "minProperties": _Limit("object", len, lambda v, bound: v >= bound, "has {v} fields, fewer than {bound}"),
    "maxProperties": _Limit("object", len, lambda v, bound: v <= bound, "has {v} fields, more than {bound}"),
}
_COUNTS: Final = "a whole number, 0 or more"

# Each keyword: whether its value makes sense, and what to write there.
_KEYWORDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "type": (
        lambda v: bool(v) and all(isinstance(t, str) and t in _TYPES for t in _listed(v)),
        f"one of {', '.join(_TYPES)}, or a list of them",
    ),
    "enum": (lambda v: isinstance(v, list) and bool(v), "a list of values"),
    "const": (lambda v: v is not None, 'a value (for null write type: "null")'),
    "anyOf": (lambda v: isinstance(v, list) and bool(v), "a list of schemas"),
    "properties": (lambda v: isinstance(v, Mapping), "names, each with a schema"),
    "required": (lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v), "a list of names"),
    "additionalProperties": (lambda v: isinstance(v, bool | Mapping), "true, false or a schema"),
    "items": (lambda v: isinstance(v, Mapping), "a schema"),
    "pattern": (
        lambda v: isinstance(v, str) and len(v) <= _MAX_PATTERN and _pattern(v) is not None,
        f"a regular expression in RE2 syntax (no look-ahead, no back-references), {_MAX_PATTERN} characters at most",
    ),
    **{
        name: (_numeric, "a number")
        if limit.kind == "number"
        else (lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0, _COUNTS)
        for name, limit in _LIMITS.items()
    },
    **{name: (lambda _: True, "") for name in ("title", "description", "default", "examples", "$schema", "$comment")},
}


class _TooMuchError(Exception):
    """More checks than a probe may cost."""


def mistakes(schema: Mapping[str, Any], path: str) -> Iterator[Refusal]:
    """What makes it no schema that can be used here, with the place of each; `path` is where it stands."""
    try:
        size = len(orjson.dumps(schema))
    except TypeError:
        size = MAX_BYTES + 1  # deeper than JSON is written
    if size > MAX_BYTES:
        yield Refusal(path, f"is larger than {MAX_BYTES // 1024} KiB", "ask for what matters only")
        return
    pending: list[tuple[str, Any, int]] = [(path, schema, 1)]
    seen = 0
    while pending:
        where, part, level = pending.pop()
        seen += 1
        if not isinstance(part, Mapping):
            yield Refusal(where, f"is {_short(part)}", "write a schema")
            continue
        if level > MAX_LEVELS or seen > MAX_SCHEMAS:
            problem = f"has more than {MAX_LEVELS} levels or {MAX_SCHEMAS} schemas"
            yield Refusal(path, problem, "ask for what matters only")
            return
        wrong = list(_wrong(where, part))
        yield from wrong
        if not wrong:
            pending += reversed([(f"{where}.{name}", inner, level + 1) for name, inner in _inner(part)])


def departure(schema: Mapping[str, Any], text: str) -> str:
    """How an answer departs from a schema without mistakes, as the rest of a sentence; empty if it does not.

    The answer as a whole must be JSON, white space around it aside: a program that reads it gets no help either.
    """
    if len(text) > MAX_ANSWER:
        return f"has more than {MAX_ANSWER // 1024} thousand characters"
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"is not JSON: {error}"
    try:
        return _first(schema, value, "", iter(range(MAX_CHECKS)))
    except _TooMuchError:
        return f"takes more than {MAX_CHECKS} checks"


def _wrong(where: str, schema: Mapping[str, Any]) -> Iterator[Refusal]:
    for keyword, value in schema.items():
        if keyword not in _KEYWORDS:
            known = ", ".join(name for name in _KEYWORDS if not name.startswith("$"))
            yield Refusal(f"{where}.{keyword}", "is not supported in a probe", f"use {known}")
        elif not _KEYWORDS[keyword][0](value):
            yield Refusal(f"{where}.{keyword}", f"is {_short(value)}", f"write {_KEYWORDS[keyword][1]}")


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((f"properties.{name}", part) for name, part in schema.get("properties", {}).items())
    yield from ((f"anyOf[{index}]", part) for index, part in enumerate(schema.get("anyOf", ())))
    yield from ((name, schema[name]) for name in ("items",) if name in schema)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield "additionalProperties", schema["additionalProperties"]


def _first(schema: Mapping[str, Any], value: Any, path: str, checks: Iterator[int]) -> str:
    """The first departure within `value`, which stands at `path` of the answer."""
    cost = 1 + len(schema.get("enum", ())) + len(schema.get("required", ()))
    if len(list(islice(checks, cost))) < cost:
        raise _TooMuchError
    at = f"at {path} " if path else ""
    types = _listed(schema.get("type", []))
    if types and not any(_TYPES[name](value) for name in types):
        return f"{at}is {_short(value)}, not {' or '.join(types)}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"{at}is {_short(value)}, not one of {_short(schema['enum'])}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{at}is {_short(value)}, not {_short(schema['const'])}"
    for keyword, limit in _LIMITS.items():
        if keyword in schema and _TYPES[limit.kind](value):
            found = limit.measure(value)
            if not limit.holds(found, schema[keyword]):
                return at + limit.said.format(v=_short(found), bound=schema[keyword])
    if "pattern" in schema and isinstance(value, str) and not _pattern(schema["pattern"]).search(value):
        return f"{at}is {_short(value)}, which does not match {schema['pattern']!r}"
    if "anyOf" in schema and all(_first(one, value, path, checks) for one in schema["anyOf"]):
        return f"{at}is {_short(value)}, which is like none of anyOf"
    if isinstance(value, Mapping):
        return _in_object(schema, value, path, checks)
    if isinstance(value, list) and "items" in schema:
        parts = (_first(schema["items"], item, f"{path}[{at}]", checks) for at, item in enumerate(value))
        return next((said for said in parts if said), "")
    return ""


def _in_object(schema: Mapping[str, Any], value: Mapping[str, Any], path: str, checks: Iterator[int]) -> str:
    at = f"at {path} " if path else ""
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at}has no {_short(name)}"
    named, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, part in value.items():
        wanted = named.get(name, others)
        if wanted is False:
            return f"{at}has {_short(name)}, which is not among its properties"
        if wanted is not True and (said := _first(wanted, part, f"{path}.{name}".lstrip("."), checks)):
            return said
    return ""


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 is 1.0, and neither is true."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
