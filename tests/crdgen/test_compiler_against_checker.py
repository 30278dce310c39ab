"""Whatever model somebody writes with the markers: the compiler refuses it, or the checker finds nothing wrong."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
)
from understudy.api.v1alpha1.shape import shape
from understudy.crdgen.checker import problems, unbounded
from understudy.crdgen.structural import structural

NAMES = st.sampled_from(["alpha", "beta_gamma", "delta", "title", "items", "default_value", "type_"])


@st.composite
def scalars(draw: st.DrawFn) -> Any:
    """A bounded scalar type."""
    return draw(
        st.sampled_from(
            [
                bool,
                Annotated[int, Field(ge=0, le=9)],
                Annotated[float, Field(ge=0, le=1)],
                Annotated[str, Field(max_length=5, pattern="^[a-z]+$")],
                Literal["a"],
                Literal["a", "b"],
                Annotated[str, Field(max_length=9), Cel("self != 'x'", "write another")],
                Annotated[int | str, INT_OR_STRING, Field(json_schema_extra={"maxLength": 9})],
            ]
        )
    )


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    """A model with fields of the given types, some optional, some with a rule."""
    fields: dict[str, Any] = {"name": (Annotated[str, Field(max_length=9)], ...)}
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        annotation = draw(inner)
        fields[name] = (annotation | None, None) if draw(st.booleans()) else (annotation, ...)
    rules = [Cel("has(self.name)", "write name")] if draw(st.booleans()) else []
    return create_model("M", __config__=shape(*rules), **fields)


def several(item: Any, *markers: Any) -> Any:
    """A bounded list type."""
    return Annotated[(tuple[item, ...], Field(max_length=5), *markers)]


def mapping(value: Any) -> Any:
    """A bounded map type."""
    return Annotated[dict[str, value], max_properties(5)]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists, maps and objects of the given types."""
    return st.one_of(
        objects(inner),
        inner.map(lambda item: several(item, ATOMIC)),
        objects(inner).map(lambda item: several(item, list_map("name"))),
        scalars().map(lambda item: several(item, LIST_SET)),
        inner.map(mapping),
        st.just(Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(5)]),
        st.just(Annotated[bool, STORED_DEFAULT]),
    )


TYPES = st.recursive(scalars(), containers, max_leaves=8)


@pytest.mark.slow
@given(objects(TYPES))
def test_what_is_compiled_is_structural_and_bounded(model: type[BaseModel]) -> None:
    schema = structural(model.model_json_schema(by_alias=True))
    assert list(problems(schema)) == []
    assert list(unbounded(schema)) == []


@pytest.mark.slow
@given(objects(TYPES))
def test_the_same_model_gives_the_same_schema(model: type[BaseModel]) -> None:
    assert structural(model.model_json_schema()) == structural(model.model_json_schema())
