"""JSON Schema for probe answers: as the standard has it, within bounds, with mistakes told at their place."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from understudy.plan import answer_schema
from understudy.plan.answer_schema import MAX_ANSWER, MAX_CHECKS, departure, mistakes

PATH = "spec.probes.prompts[0].expect.jsonSchema"
STORY = {
    "type": "object",
    "required": ["title", "pages"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "pages": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "properties": {"number": {"minimum": 1}}},
        },
        "mood": {"enum": ["gay", "grave"]},
    },
}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0]) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
counts = st.integers(0, 3)
types = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=2),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values.filter(lambda v: v is not None),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "pattern": st.sampled_from(["a", "^b", "ab?$", "^$"]),
            **dict.fromkeys(
                ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), counts
            ),
            **dict.fromkeys(
                ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 2) | st.just(0.5)
            ),
            "title": st.just("a story"),
        },
    ),
    max_leaves=8,
)


def told(schema: Any) -> list[str]:
    return [refusal.message for refusal in mistakes(schema, PATH)]


@given(schemas, values)
def test_it_says_what_the_standard_says(schema: dict[str, Any], value: Any) -> None:
    assert told(schema) == []
    assert (departure(schema, json.dumps(value)) == "") == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\n {"title": "Fox", "pages": [{"number": 1}], "mood": "gay"} \n', ""),
        ("Once upon a time", "is not JSON: "),
        ('```json\n{"title": "Fox", "pages": [{}]}\n```', "is not JSON: "),
        ("NaN", "is not JSON: "),
        ("[" * 5000, "is not JSON: "),
        ("[]", "is [], not object"),
        ('{"title": "Fox"}', 'has no "pages"'),
        ('{"title": "Fox", "pages": [{}], "end": 1}', 'has "end", which is not among its properties'),
        ('{"title": "", "pages": [{}]}', "at title has 0 characters, fewer than 1"),
        ('{"title": "fox", "pages": [{}]}', "at title is \"fox\", which does not match '^[A-Z]'"),
        ('{"title": "Fox", "pages": []}', "at pages has 0 items, fewer than 1"),
        ('{"title": "Fox", "pages": [{}, 7]}', "at pages[1] is 7, not object"),
        ('{"title": "Fox", "pages": [{"number": 0}]}', "at pages[0].number is 0, below 1"),
        ('{"title": "Fox", "pages": [{}], "mood": true}', 'at mood is true, not one of ["gay","grave"]'),
    ],
)
def test_a_departure_is_told_with_its_place(text: str, said: str) -> None:
    assert told(STORY) == []
    found = departure(STORY, text)
    assert found.startswith(said) if said else found == ""


@pytest.mark.parametrize(
    ("schema", "text", "said"),
    [
        ({"type": ["string", "null"]}, "5", "is 5, not string or null"),
        ({"const": "yes"}, '"no"', 'is "no", not "yes"'),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, "2", "is 2, which is like none of anyOf"),
        ({"exclusiveMaximum": 0.5}, "0.5", "is 0.5, not below 0.5"),
        ({"additionalProperties": {"type": "string"}}, '{"a": 1}', "at a is 1, not string"),
        (
            {"type": "string"},
            json.dumps(list(range(50))),
            f"is {json.dumps(list(range(50)), separators=(',', ':'))[:39]}…, not",
        ),
    ],
)
def test_other_departures(schema: dict[str, Any], text: str, said: str) -> None:
    assert departure(schema, text).startswith(said)


@pytest.mark.parametrize(
    ("keyword", "bound", "good", "bad", "said"),
    [
        ("minimum", 2, "2", "1.5", "is 1.5, below 2"),
        ("maximum", 2, "2", "2.5", "is 2.5, above 2"),
        ("exclusiveMinimum", 2, "2.5", "2", "is 2, not above 2"),
        ("exclusiveMaximum", 2, "1.5", "2", "is 2, not below 2"),
        ("minLength", 2, '"ab"', '"a"', "has 1 characters, fewer than 2"),
        ("maxLength", 2, '"ab"', '"abc"', "has 3 characters, more than 2"),
        ("minItems", 2, "[1, 2]", "[1]", "has 1 items, fewer than 2"),
        ("maxItems", 2, "[1, 2]", "[1, 2, 3]", "has 3 items, more than 2"),
        ("minProperties", 1, '{"a": 1}', "{}", "has 0 fields, fewer than 1"),
        ("maxProperties", 1, '{"a": 1}', '{"a": 1, "b": 2}', "has 2 fields, more than 1"),
    ],
)
def test_a_bound_is_kept_to_and_told(keyword: str, bound: int, good: str, bad: str, said: str) -> None:
    assert told({keyword: bound}) == []
    assert departure({keyword: bound}, good) == ""
    assert departure({keyword: bound}, bad) == said


def test_what_may_be_written_is_named_in_full() -> None:
    known = (
        "type, enum, const, anyOf, properties, required, additionalProperties, items, pattern, minimum, maximum, "
        "exclusiveMinimum, exclusiveMaximum, minLength, maxLength, minItems, maxItems, minProperties, maxProperties, "
        "title, description, default, examples"
    )
    assert told({"format": "date"}) == [f"{PATH}.format: is not supported in a probe; use {known}"]
    types = "one of object, array, string, number, integer, boolean, null, or a list of them"
    assert told({"type": "text"}) == [f'{PATH}.type: is "text"; write {types}']
    pattern = "a regular expression in RE2 syntax (no look-ahead, no back-references), 512 characters at most"
    assert told({"pattern": 5}) == [f"{PATH}.pattern: is 5; write {pattern}"]
    assert told({"pattern": "a" * 512}) == []
    assert told({"description": "a" * 17_000}) == [f"{PATH}: is larger than 16 KiB; ask for what matters only"]
    assert told(nested(17)) == [f"{PATH}: has more than 16 levels or 200 schemas; ask for what matters only"]
    assert departure({"enum": ["x" * 34]}, "5") == f'is 5, not one of ["{"x" * 34}"]'
    assert departure({"enum": ["x" * 37]}, "5") == f'is 5, not one of ["{"x" * 37}…'


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "https://example.com/s.json"}, f"{PATH}.$ref: is not supported in a probe; use type, enum, const,"),
        ({"properties": {"a": {"format": "date"}}}, f"{PATH}.properties.a.format: is not supported in a probe; use"),
        (
            {"type": "text"},
            f'{PATH}.type: is "text"; write one of object, array, string, number, integer, boolean, null',
        ),
        ({"type": []}, f"{PATH}.type: is []; write one of"),
        ({"enum": []}, f"{PATH}.enum: is []; write a list of values"),
        ({"const": None}, f'{PATH}.const: is null; write a value (for null write type: "null")'),
        ({"anyOf": {}}, f"{PATH}.anyOf: is {{}}; write a list of schemas"),
        ({"anyOf": [{}, {"minItems": -1}]}, f"{PATH}.anyOf[1].minItems: is -1; write a whole number, 0 or more"),
        ({"maxLength": True}, f"{PATH}.maxLength: is true; write a whole number, 0 or more"),
        ({"minimum": "1"}, f'{PATH}.minimum: is "1"; write a number'),
        ({"properties": []}, f"{PATH}.properties: is []; write names, each with a schema"),
        ({"properties": {"a": None}}, f"{PATH}.properties.a: is null; write a schema"),
        ({"required": "a"}, f'{PATH}.required: is "a"; write a list of names'),
        ({"required": [1]}, f"{PATH}.required: is [1]; write a list of names"),
        ({"items": True}, f"{PATH}.items: is true; write a schema"),
        ({"additionalProperties": 1}, f"{PATH}.additionalProperties: is 1; write true, false or a schema"),
        ({"additionalProperties": {"type": 1}}, f"{PATH}.additionalProperties.type: is 1; write one of"),
        ({"items": {"pattern": "(?=a)"}}, f'{PATH}.items.pattern: is "(?=a)"; write a regular expression in RE2'),
        ({"pattern": "a" * 513}, f"{PATH}.pattern: is "),
        ({"pattern": 5}, f"{PATH}.pattern: is 5; write a regular"),
    ],
)
def test_a_mistake_says_where_and_what_to_write(schema: dict[str, Any], message: str) -> None:
    (found,) = told(schema)
    assert found.startswith(message)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def test_mistakes_come_in_the_order_in_which_they_are_written() -> None:
    schema = {"properties": {"a": {"type": 1}, "b": {"type": 2}}, "items": {"type": 3}}
    assert [m.split(": is ")[1][0] for m in told(schema)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (nested(16), nested(17)),
        (nested(16), nested(900)),
        ({"properties": {str(n): {} for n in range(199)}}, {"properties": {str(n): {} for n in range(200)}}),
        ({"description": "a" * 16_000}, {"description": "a" * 17_000}),
    ],
)
def test_a_schema_has_bounds(good: dict[str, Any], bad: dict[str, Any]) -> None:
    assert told(good) == []
    (said,) = told(bad)
    assert said.startswith(f"{PATH}: ")
    assert said.endswith("; ask for what matters only")


def test_an_answer_has_bounds_in_length_and_in_work() -> None:
    assert departure({}, "[]" + " " * MAX_ANSWER) == "has more than 32 thousand characters"
    answer = json.dumps([{}] * 8_000)
    for heavy in (
        {"anyOf": [*[{"type": "string"}] * 150, {"type": "object"}]},
        {"enum": [*range(3000), {}]},
        {"anyOf": [{"required": ["a"] * 3000}, {}]},
    ):
        assert told(heavy) == []
        begun = time.process_time()
        assert departure({"items": heavy}, answer) == f"takes more than {MAX_CHECKS} checks"
        assert time.process_time() - begun < 0.5


def test_a_pattern_that_would_take_for_ever_elsewhere_is_linear_here() -> None:
    assert departure({"pattern": "(a+)+$"}, json.dumps("a" * 30_000 + "b"))


def test_every_keyword_that_is_taken_does_something_or_is_a_remark() -> None:
    remarks = {"title", "description", "default", "examples", "$schema", "$comment"}
    asked = {"type", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items", "pattern"}
    assert answer_schema._KEYWORDS.keys() == remarks | asked | answer_schema._LIMITS.keys()
