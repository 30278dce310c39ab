"""RoutingTable: what the operator tells every gateway about one deployment.

The rules of its values are `domain/table.py`, which both sides parse by; this is their shape.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, WHOLE, Cel, list_map
from understudy.api.v1alpha1.metadata import ApiVersion, ObjectMeta
from understudy.api.v1alpha1.scalars import ResourceName, Revision, ServedName, Sha256, Shard
from understudy.api.v1alpha1.serving import ExtraFields, MediaHosts, Pricing
from understudy.api.v1alpha1.shape import shape

Seconds = Annotated[float, Field(ge=0.001, le=86400)]


class Variant(BaseModel):
    """One revision that takes conversations."""

    model_config = shape()

    revision: Revision
    """Its hash."""
    track: Literal["stable", "canary", "shadow"]
    """Its part."""
    weight: Annotated[int, Field(ge=0, le=100)]
    """Its share of conversations in percent."""
    service: ResourceName
    """Service whose EndpointSlices list its pods."""
    tls: bool = False
    """Its pods are spoken to by TLS alone, and must have a certificate for `<service>.<namespace>.svc`."""


class TableTimeouts(BaseModel):
    """Limits of one request in seconds."""

    model_config = shape()

    first_token_seconds: Seconds = 60.0
    """Until the first token of the answer."""
    between_tokens_seconds: Seconds = 30.0
    """Between two tokens."""
    whole_seconds: Seconds = 1800.0
    """Until the end of the answer."""
    heartbeat_after_seconds: Seconds = 10.0
    """Until a stream gets its head and comments though nothing has come on it."""


class TableQueue(BaseModel):
    """How requests wait for a pod, in each gateway."""

    model_config = shape()

    max: Annotated[int, Field(ge=0, le=100_000)] = 200
    """So many may wait."""
    deadline_seconds: Seconds = 60.0
    """So long may one wait."""
    per_pod: Annotated[int, Field(ge=0, le=100_000)] = 0
    """A pod with so many open requests is full; 0: it never is."""


class TableLogging(BaseModel):
    """What the request log keeps of what was said."""

    model_config = shape()

    text: Literal["none", "released", "raw"] = "none"
    """No text, the text that clients saw, or the text before guardrails."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of requests whose text is kept."""
    max_bytes: Annotated[int, Field(ge=0, le=1_048_576)] = 16384
    """So many bytes of one text."""
    ttl_seconds: Annotated[float, Field(ge=1, le=863_913_600)] = 2_592_000.0
    """So long whoever collects the log may keep it."""


_SUM = Cel(
    "self.filter(v, v.track != 'shadow').size() == 0"
    " || self.filter(v, v.track != 'shadow').map(v, v.weight).sum() == 100",
    "weights of the variants that are not shadow must sum to 100",
)


_SHADOW = Cel(
    "self.filter(v, v.track == 'shadow').size() <= 1 && self.all(v, v.track != 'shadow' || v.weight == 0)",
    "write at most one variant of track shadow, with weight 0",
)


class TableShadow(BaseModel):
    """How requests that stable answers are copied to the variant of track `shadow`."""

    model_config = shape()

    percent: Annotated[int, Field(ge=1, le=100)]
    """Share of them that is copied."""
    first_token_seconds: Seconds
    """A first token counts as good until then."""
    between_tokens_seconds: Seconds
    """A gap between two tokens counts as good up to this."""
    text: bool = False
    """Gateways also keep the texts of both answers."""


class TableGuard(BaseModel):
    """The policy of one Guardrail that holds for the deployment."""

    model_config = shape()

    name: ResourceName
    """The Guardrail."""
    policy: Sha256
    """Hash of what it says; gateways refuse what has another."""
    shards: Annotated[tuple[Shard, ...], Field(min_length=1, max_length=40), ATOMIC]
    """Immutable ConfigMaps of this namespace that hold it, in order."""
    fail_open: bool = False
    """Gateways that cannot load it let answers pass; otherwise they refuse."""
    revoke_before: Sha256 | None = None
    """Streams that began under the policy of this hash, or one loaded before it, end at once."""


class RoutingTableSpec(BaseModel):
    """Names, variants and the leader's epoch."""

    model_config = shape(
        Cel(
            "has(self.shadow) == (has(self.variants) && self.variants.exists(v, v.track == 'shadow'))",
            "write shadow if and only if a variant has track shadow",
        )
    )

    epoch: Annotated[int, Field(ge=0)]
    """Leader transitions when this was written; gateways refuse a lower one than they serve by."""
    served_names: Annotated[tuple[ServedName, ...], Field(max_length=17), ATOMIC] = ()
    """Names that clients put in `model`."""
    variants: Annotated[tuple[Variant, ...], Field(max_length=3), list_map("revision"), _SUM, _SHADOW] = ()
    """Revisions that serve; none means that requests wait, then get 504."""
    salt: Annotated[str, Field(pattern="^([0-9a-f]{8})?$", max_length=8)] = ""
    """The candidate's revision, until its watch is over: makes each rollout's split of conversations its own."""
    retired: bool = False
    """The deployment is being deleted: gateways may drop the table with the object."""
    timeouts: TableTimeouts = TableTimeouts()
    """Limits of one request."""
    queue: TableQueue = TableQueue()
    """How requests wait for a pod."""
    session_from_user: bool = False
    """Take the request's `user` as the conversation, when it gives nothing better."""
    cut: Annotated[tuple[Revision, ...], Field(max_length=10), ATOMIC] = ()
    """Revisions that answered as another model: gateways end their open streams with an error event."""
    extra_fields: ExtraFields = ()
    """Request fields that are passed on beside the usual ones."""
    media_hosts: MediaHosts = ()
    """Hosts from which engines may load media."""
    fallback: Annotated[tuple[ServedName, ...], Field(max_length=8), ATOMIC] = ()
    """Served names that take requests which this deployment cannot serve, the first one first."""
    pricing: Pricing | None = None
    """What requests cost."""
    logging: TableLogging = TableLogging()
    """What the request log keeps of what was said."""
    guards: Annotated[tuple[TableGuard, ...], Field(max_length=64), list_map("name")] = ()
    """Guardrails that hold for the deployment; all of them apply to every answer."""
    shadow: TableShadow | None = None
    """Copies for the variant of track `shadow`."""


class RoutingTable(BaseModel):
    """What the operator tells every gateway about one deployment. Never edited by people."""

    model_config = shape()

    api_version: ApiVersion = "understudy.dev/v1alpha1"
    kind: Literal["RoutingTable"] = "RoutingTable"
    metadata: ObjectMeta
    spec: Annotated[RoutingTableSpec, WHOLE]
    """What gateways serve by."""
