"""What the compiler makes of a model, and what it refuses."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from understudy.api.v1alpha1.markers import (
    ATOMIC,
    INT_OR_STRING,
    LIST_SET,
    PRESERVE_UNKNOWN,
    STORED_DEFAULT,
    Cel,
    list_map,
    max_properties,
    rules,
    stored_as,
)
from understudy.api.v1alpha1.shape import shape
from understudy.crdgen.structural import SchemaError, structural


def compiled(annotation: Any, default: Any = ...) -> dict[str, Any]:
    """Schema of a model's only field, `f`."""
    model = create_model("M", f=(annotation, default))
    schema: dict[str, Any] = structural(model.model_json_schema())["properties"]["f"]
    return schema


class Inner(BaseModel):
    """An inner object."""

    model_config = shape(Cel("self.a > 0", "write a above 0"))

    some_name: int = 1
    """With a name in two words."""


RULE = {"rule": "self.a > 0", "message": "write a above 0"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (int | None, {"type": "integer"}),
        (Literal["x"], {"type": "string", "enum": ["x"]}),
        (Literal["x", "y"], {"type": "string", "enum": ["x", "y"]}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (
            Annotated[int | str, INT_OR_STRING, Field(json_schema_extra={"maxLength": 9})],
            {"x-kubernetes-int-or-string": True, "maxLength": 9},
        ),
        (
            Annotated[tuple[str, ...], LIST_SET],
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        ),
        (
            Annotated[tuple[str, ...], ATOMIC] | None,
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
        ),
        (
            Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(3)],
            {"type": "object", "maxProperties": 3, "x-kubernetes-preserve-unknown-fields": True},
        ),
    ],
    ids=str,
)
def test_types_become_plain_openapi(annotation: Any, expected: dict[str, Any]) -> None:
    assert compiled(annotation) == expected


def test_objects_are_written_out_where_they_stand() -> None:
    assert compiled(Inner) == {
        "type": "object",
        "description": "An inner object.",
        "properties": {"someName": {"type": "integer", "description": "With a name in two words. Default: 1."}},
        "x-kubernetes-validations": [RULE],
    }


def test_a_field_adds_its_rules_to_those_of_its_type_and_its_words_win() -> None:
    schema = compiled(Annotated[Inner, Cel("self.b", "write b"), Field(description="Here.")])
    assert schema["x-kubernetes-validations"] == [RULE, {"rule": "self.b", "message": "write b"}]
    assert schema["description"] == "Here."


def test_a_rule_of_an_optional_field_belongs_to_its_value() -> None:
    schema = compiled(Annotated[str, Cel("self != ''", "write something")] | None, None)
    assert schema == {
        "type": "string",
        "x-kubernetes-validations": [{"rule": "self != ''", "message": "write something"}],
    }


def test_two_uses_of_a_type_do_not_share_rules() -> None:
    ruled: Any = Annotated[Inner, Cel("self.b", "write b")]
    model = create_model("M", f=(ruled, ...), g=(Inner, ...))
    properties = structural(model.model_json_schema())["properties"]
    assert properties["g"]["x-kubernetes-validations"] == [RULE]


def test_messages_may_be_computed() -> None:
    rule = Cel("self < 5", "write less", "'got %d'.format([self])")
    assert compiled(Annotated[int, rule])["x-kubernetes-validations"] == [
        {"rule": "self < 5", "message": "write less", "messageExpression": "'got %d'.format([self])"}
    ]


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (int, 3, "Default: 3."),
        (bool, False, "Default: false."),
        (tuple[int, ...], (1, 2), "Default: [1, 2]."),
        (tuple[int, ...], (), None),
        (str, "", None),
        (int | None, None, None),
    ],
    ids=str,
)
def test_the_operators_defaults_are_said_not_stored(annotation: Any, default: Any, words: str | None) -> None:
    schema = compiled(annotation, default)
    assert "default" not in schema
    assert schema.get("description") == words


def test_contract_defaults_are_stored() -> None:
    assert compiled(Annotated[int, STORED_DEFAULT], 1) == {"type": "integer", "default": 1}
    assert compiled(Annotated[Inner | None, stored_as({"someName": 2})], None)["default"] == {"someName": 2}


def test_list_maps_name_their_keys() -> None:
    schema = compiled(Annotated[tuple[Inner, ...], list_map("someName")])
    assert schema["x-kubernetes-list-map-keys"] == ["someName"]


class Cycle(BaseModel):
    """An object that contains itself."""

    again: "Cycle | None" = None


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Cycle, r"\.f\.again: Cycle contains itself"),
        (int | str, r"\.f: anyOf: unions need optional sibling blocks"),
        (tuple[int, str], r"\.f: prefixItems: a tuple of fixed length"),
        (set[str], r"\.f: uniqueItems: a set has no structural form"),
        (Annotated[int, Field(gt=1)], r"\.f: exclusiveMinimum: use ge"),
        (Annotated[int, Field(lt=1)], r"\.f: exclusiveMaximum: use le"),
        (dict[str, Any], r"\.f: free-form objects need the marker PRESERVE_UNKNOWN"),
        (Any, r"\.f: no type"),
        (tuple[Any, ...], r"\.f\[\*\]: no type"),
        (dict[Annotated[str, Field(pattern="^a")], int], r"\.f: patternProperties: keys with a pattern"),
    ],
    ids=str,
)
def test_what_has_no_structural_form_is_refused_with_its_path(annotation: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        compiled(annotation)


def test_unknown_fields_are_left_to_pruning() -> None:
    model = create_model("M", __config__={"extra": "forbid"}, f=(int, ...))
    assert "additionalProperties" not in structural(model.model_json_schema())


def test_class_rules_are_what_the_markers_say() -> None:
    assert rules(Cel("a", "b")) == {"x-kubernetes-validations": [{"rule": "a", "message": "b"}]}
