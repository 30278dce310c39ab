"""How the gateway treats requests for a deployment."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import LIST_SET, Cel
from understudy.api.v1alpha1.scalars import Price, RequestTimeout, Retention, ServedName
from understudy.api.v1alpha1.shape import shape
from understudy.domain.fields import NEVER_PASSED

ExtraField = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_]*$", max_length=64),
    Cel(
        "!(self in [" + ", ".join(f"'{name}'" for name in NEVER_PASSED) + "])",
        "remove this field: it is never passed on, since it would let a client change the engine for others",
    ),
]
MediaHost = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$", max_length=253)]
ExtraFields = Annotated[tuple[ExtraField, ...], Field(max_length=64), LIST_SET]
MediaHosts = Annotated[tuple[MediaHost, ...], Field(max_length=64), LIST_SET]


class Api(BaseModel):
    """What clients may send beside the usual fields."""

    model_config = shape()

    extra_fields: ExtraFields = ()
    """Request fields that are passed on to the engine beside those that OpenAI and vLLM define."""
    media_hosts: MediaHosts = ()
    """Hosts from which the engine may load media, `host` or `host:port`."""


class Session(BaseModel):
    """How requests of one conversation are recognised."""

    model_config = shape()

    from_user: bool = False
    """Take the request's `user` as the conversation, when it gives nothing better."""


class Fallback(BaseModel):
    """Where requests go when this deployment cannot serve."""

    model_config = shape()

    name: ServedName
    """A served name."""


class Queue(BaseModel):
    """Requests that wait for a free pod."""

    model_config = shape()

    max: Annotated[int, Field(ge=0, le=100_000)] = 200
    """So many may wait in each gateway."""
    deadline: RequestTimeout = "60s"
    """So long may one wait."""
    per_pod: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """A pod with so many open requests of one gateway is full; unset: requests go to pods however many they have."""


class Timeouts(BaseModel):
    """Limits of one request."""

    model_config = shape()

    first_token: RequestTimeout = "60s"
    """Until the first token of the answer."""
    between_tokens: RequestTimeout = "30s"
    """Between two tokens."""
    whole: RequestTimeout = "30m"
    """Until the end of the answer."""
    heartbeat_after: RequestTimeout = "10s"
    """A stream on which nothing has come for so long gets its head, and then a comment every five seconds, so that
    proxies and clients keep the connection. Which revision answers then stands in the first event."""


class Pricing(BaseModel):
    """What requests cost, for budgets and records."""

    model_config = shape()

    input_per_million: Price
    """Price of a million tokens of prompts, as a quoted decimal."""
    output_per_million: Price
    """Price of a million tokens of answers, as a quoted decimal."""
    per_request: Price = "0"
    """Price of a request beside its tokens, as a quoted decimal."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", max_length=3)] = "USD"
    """Currency by ISO 4217."""


class Logging(BaseModel):
    """What is kept of requests."""

    model_config = shape()

    text: Literal["none", "released", "raw"] = "none"
    """What the request log keeps of requests and answers: no text, the text that clients saw, or the text before
    guardrails."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of requests whose text is kept, 0 to 1."""
    max_bytes: Annotated[int, Field(ge=0, le=1_048_576)] = 16384
    """So many bytes of one text."""
    ttl: Retention = "30d"
    """How long."""
