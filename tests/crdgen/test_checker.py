"""The checker finds what the API server would refuse, in schemas that were made wrong on purpose."""

from typing import Any

import pytest

from understudy.crdgen.checker import conforms, problems, unbounded
from understudy.crdgen.crd import schema
from understudy.crdgen.kinds import KINDS

ITEM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"$ref": "#/x", "type": "object"}, ": $ref is not a field of a CRD schema"),
    ({"const": 1, "type": "integer"}, ": const is not a field"),
    ({"prefixItems": [], "type": "array", "items": {"type": "string"}}, ": prefixItems is not a field"),
    ({"uniqueItems": True, "type": "array", "items": {"type": "string"}}, ": uniqueItems is not a field"),
    ({"title": "X", "type": "string"}, ": title is not a field"),
    ({}, ": type None is none of"),
    ({"type": "null"}, ": type 'null' is none of"),
    ({"type": "string", "x-kubernetes-int-or-string": True}, ": x-kubernetes-int-or-string goes without type"),
    (
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-preserve-unknown-fields": True},
        ": x-kubernetes-preserve-unknown-fields needs type object",
    ),
    (
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        ": properties and additionalProperties exclude each other",
    ),
    ({"type": "object", "additionalProperties": False}, ": additionalProperties must be a schema"),
    ({"type": "string", "properties": {}}, ": properties need type object"),
    ({"type": "object", "properties": {}, "required": ["x"]}, ": x is required but unknown"),
    ({"type": "array"}, ": type array and items go together"),
    ({"type": "string", "items": {"type": "string"}}, ": type array and items go together"),
    ({"type": "string", "x-kubernetes-map-type": "atomic"}, ": x-kubernetes-map-type needs type object"),
    ({"type": "string", "x-kubernetes-list-type": "set"}, ": x-kubernetes-list-type needs type array"),
    ({"type": "array", "items": ITEM, "x-kubernetes-list-type": "map"}, ": list type map and its keys go together"),
    (
        {"type": "array", "items": ITEM, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["other"]},
        ": list key other must be a scalar field of the items",
    ),
    (
        {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        ": list key name must be required or have a default",
    ),
    ({"type": "array", "items": ITEM, "x-kubernetes-list-type": "set"}, ": a set needs scalar items"),
    ({"type": "integer", "exclusiveMinimum": 1}, ": exclusiveMinimum must be true or false beside minimum"),
    ({"type": "string", "enum": []}, ": enum must name at least one value"),
    ({"type": "string", "enum": ["a", "a"]}, ": enum must name at least one value, each once"),
    ({"type": "string", "pattern": "(?=a)"}, ": pattern is not RE2"),
    ({"type": "integer", "default": "x"}, ": the default does not fit the schema"),
    ({"type": "string", "x-kubernetes-validations": [{"rule": " ", "message": "m"}]}, ": empty rule"),
    ({"type": "string", "x-kubernetes-validations": [{"rule": "r"}]}, ": a rule needs a message of one line"),
    ({"type": "string", "x-kubernetes-validations": [{"rule": "r", "message": "a\nb"}]}, ": a rule needs a message"),
    ({"type": "string", "anyOf": [{"type": "string"}]}, ".anyOf: type is not allowed in a branch"),
    (
        {"type": "object", "oneOf": [{"properties": {"a": {"default": 1}}}]},
        ".oneOf.a: default is not allowed in a branch",
    ),
    ({"type": "object", "properties": {"a": {"type": "any"}}}, ".a: type 'any' is none of"),
    ({"type": "array", "items": {"type": "any"}}, "[*]: type 'any' is none of"),
    ({"type": "object", "additionalProperties": {"type": "any"}}, "[*]: type 'any' is none of"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_each_mistake_is_named_with_its_path(wrong: dict[str, Any], sentence: str) -> None:
    assert any(problem.startswith(sentence) for problem in problems(wrong)), list(problems(wrong))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_our_own_schemas_are_structural_and_bounded(kind: Any) -> None:
    compiled = schema(kind)
    assert list(problems(compiled)) == []
    # The API server owns these two.
    assert list(unbounded(compiled)) == [".apiVersion: no maxLength", ".kind: no maxLength"]


@pytest.mark.parametrize(
    ("loose", "sentence"),
    [
        ({"type": "string"}, "p: no maxLength"),
        ({"x-kubernetes-int-or-string": True}, "p: no maxLength"),
        ({"type": "array", "items": {"type": "integer"}}, "p: no maxItems"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "p: no maxProperties"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "p: no maxProperties"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "p.a: no maxLength"),
    ],
)
def test_everything_of_any_size_needs_a_bound(loose: dict[str, Any], sentence: str) -> None:
    assert list(unbounded(loose, "p")) == [sentence]


@pytest.mark.parametrize(
    ("value", "declared", "fits"),
    [
        ("a", {"type": "string"}, True),
        (1, {"type": "string"}, False),
        (True, {"type": "integer"}, False),
        (True, {"type": "boolean"}, True),
        (1, {"type": "number"}, True),
        ("a", {"type": "string", "enum": ["b"]}, False),
        ([1], {"type": "array", "items": {"type": "integer"}}, True),
        (["a"], {"type": "array", "items": {"type": "integer"}}, False),
        ({"name": "x"}, ITEM, True),
        ({}, ITEM, False),
        ({"name": "x", "other": 1}, ITEM, False),
        ({"k": 1}, {"type": "object", "additionalProperties": {"type": "integer"}}, True),
        ({"k": {}}, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}, True),
        (5, {"x-kubernetes-int-or-string": True}, True),
        (True, {"x-kubernetes-int-or-string": True}, False),
    ],
)
def test_a_default_must_fit(value: Any, declared: dict[str, Any], fits: bool) -> None:
    assert conforms(value, declared) is fits
