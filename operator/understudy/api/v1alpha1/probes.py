"""Probe prompts: questions that Understudy asks each pod, with the property its answer must have."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, PRESERVE_UNKNOWN, Cel, list_map, max_properties
from understudy.api.v1alpha1.scalars import Duration, Label, Latency, Regex
from understudy.api.v1alpha1.shape import shape


class Message(BaseModel):
    """One message of a chat."""

    model_config = shape()

    role: Literal["system", "user", "assistant"]
    """Who says it."""
    content: Annotated[str, Field(max_length=4096)]
    """What is said."""


class Expectation(BaseModel):
    """What a good answer is like; every part must hold."""

    model_config = shape(
        Cel(
            "!has(self.matches) || !has(self.mustNotMatch) || self.matches != self.mustNotMatch",
            "write another pattern in mustNotMatch: no answer can satisfy it and the same one in matches",
        )
    )

    not_empty: bool = True
    """The answer has at least one character that is not white space."""
    matches: Regex | None = None
    """The answer contains a match."""
    must_not_match: Regex | None = None
    """The answer contains no match."""
    json_schema: Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(32)] | None = None
    """The whole answer is JSON like this: type, enum, const, anyOf, properties, required, additionalProperties, items,
    pattern (RE2), and the minimum and maximum of numbers, lengths, items and properties, as in JSON Schema 2020-12. A
    keyword that is not among them (such as $ref) is refused; at most 16 KiB, 16 levels and 200 schemas."""
    within: Latency = "10s"
    """The whole answer arrives in this time."""


class ProbePrompt(BaseModel):
    """A question with its expectation."""

    model_config = shape()

    name: Label
    """Names the prompt in conditions and events."""
    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=16), ATOMIC]
    """The chat that is sent."""
    max_tokens: Annotated[int, Field(ge=1, le=1024)] = 16
    """Longest answer in tokens."""
    expect: Expectation = Expectation()
    """What a good answer is like."""


class Probes(BaseModel):
    """How pods are checked, beside their identity."""

    model_config = shape()

    interval: Duration = "10s"
    """Time from one round to the next."""
    failure_threshold: Annotated[int, Field(ge=1, le=5)] = 3
    """So many of the last five runs of a prompt must fail before it counts."""
    prompts: Annotated[tuple[ProbePrompt, ...], Field(max_length=10), list_map("name")] = ()
    """Questions with expectations; without any, one short completion must succeed."""
