"""Detectors of a Guardrail: the plug-ins that find what its rules act on."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import LIST_SET, PRESERVE_UNKNOWN, Cel, list_map, max_properties
from understudy.api.v1alpha1.metadata import LocalReference
from understudy.api.v1alpha1.scalars import DataKey, Label, Latency, Regex, ResourceName
from understudy.api.v1alpha1.shape import shape

Category = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", min_length=1, max_length=64)]
"""What is found, such as self_harm, pii or violence."""


class ConfigMapReference(BaseModel):
    """A ConfigMap in the same namespace."""

    model_config = shape()

    name: ResourceName
    """Its name."""
    key: DataKey | None = None
    """One key; may be left out where there is only one."""


class Pattern(BaseModel):
    """One pattern of a detector of type patterns."""

    model_config = shape(Cel("has(self.literal) != has(self.regex)", "write exactly one of literal, regex"))

    name: Label
    """Names the pattern in findings."""
    category: Category | None = None
    """What a match means; the detector's name otherwise."""
    severity: Literal["low", "medium", "high"] = "high"
    """How grave a match is."""
    literal: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Text as it stands; spelling variants are found too."""
    regex: Regex | None = None
    """Regular expression whose longest match is finite."""


class Canary(BaseModel):
    """Texts by which a detector is tried every half a minute, so that one that says the same to everything is seen."""

    model_config = shape()

    found: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """A text in which it must find something; one of ours for a category of the rules otherwise."""
    clear: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """A text in which it may find nothing; one of ours otherwise."""


_SERVED = "['moderations', 'chat-guard', 'fms']"


class Detector(BaseModel):
    """A plug-in that finds what rules act on."""

    model_config = shape(
        Cel(
            "self.type != 'patterns' || has(self.patterns) || has(self.configMapRef)",
            "type: patterns needs patterns or configMapRef",
        ),
        Cel("self.type == 'patterns' || !has(self.patterns)", "remove patterns: they belong to type: patterns"),
        Cel("self.type == 'pii' || !has(self.entities)", "remove entities: they belong to type: pii"),
        Cel(
            "!(self.type in ['lexicon', 'linear']) || has(self.configMapRef)",
            "types lexicon and linear need configMapRef with the words or the weights",
        ),
        Cel(
            "self.type in ['patterns', 'lexicon', 'linear'] || !has(self.configMapRef)",
            "remove configMapRef: it belongs to types patterns, lexicon and linear",
        ),
        Cel(
            f"!(self.type in {_SERVED}) || has(self.modelRef) != has(self.url)",
            "types moderations, chat-guard and fms need modelRef (a ModelDeployment) or url, not both",
        ),
        Cel(
            f"self.type in {_SERVED} || !(has(self.modelRef) || has(self.url) || has(self.timeout))",
            "remove modelRef, url and timeout: they belong to types moderations, chat-guard and fms",
        ),
        Cel(
            "(self.type == 'chat-guard') == has(self.parser)",
            "write parser, such as qwen3guard/v1, with type: chat-guard and only there",
        ),
        Cel("!has(self.caRef) || has(self.url)", "remove caRef: it belongs to url"),
        Cel("self.type == 'fms' || !has(self.params)", "remove params: they belong to type fms"),
        Cel(
            f"self.type in {_SERVED} || self.type == 'linear' || !has(self.canary)",
            "remove canary: it belongs to types moderations, chat-guard, fms and linear",
        ),
    )

    name: Label
    """Names the detector in findings."""
    type: Literal["patterns", "pii", "lexicon", "linear", "moderations", "chat-guard", "fms"]
    """Which plug-in."""
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100), list_map("name")] | None = None
    """Patterns, for type patterns."""
    entities: (
        Annotated[
            tuple[Literal["CREDIT_CARD", "EMAIL", "IBAN", "IP_ADDRESS", "PHONE", "SECRET", "US_SSN"], ...],
            Field(min_length=1, max_length=16),
            LIST_SET,
        ]
        | None
    ) = None
    """What to look for, for type pii; everything otherwise."""
    config_map_ref: ConfigMapReference | None = None
    """Words, patterns or weights."""
    parser: Annotated[str, Field(pattern="^[a-z0-9][-a-z0-9]*/v[0-9]+$", max_length=64)] | None = None
    """How to read a chat-guard's answer, with its version."""
    model_ref: LocalReference | None = None
    """ModelDeployment in the same namespace that serves the detector."""
    url: Annotated[str, Field(pattern="^https?://[^\\s]+$", max_length=512)] | None = None
    """Address of the detector: without a path, up to /v1, or that of the questions; no redirects are followed."""
    ca_ref: ConfigMapReference | None = None
    """ConfigMap with the certificate authority of the address."""
    timeout: Latency | None = None
    """So long may an answer take; 250ms otherwise."""
    params: Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(32)] | None = None
    """Goes as detector_params with each question, for type fms."""
    canary: Canary | None = None
    """How the detector is tried."""
