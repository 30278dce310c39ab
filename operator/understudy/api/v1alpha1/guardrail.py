"""Guardrail: what a character may not say, and what follows when it does."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.detectors import ConfigMapReference, Detector
from understudy.api.v1alpha1.guardrailrules import Engagement, FailurePolicy, Referral, Rule, Rung
from understudy.api.v1alpha1.markers import ATOMIC, STORED_DEFAULT, WHOLE, Cel, list_map, max_properties, stored_as
from understudy.api.v1alpha1.metadata import UNOBSERVED, ApiVersion, Conditions, ObjectMeta
from understudy.api.v1alpha1.scalars import DataKey, Retention, Sha256, Shard
from understudy.api.v1alpha1.shape import shape

LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=317)
]
LabelValue = Annotated[str, Field(pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]


class SelectorRequirement(BaseModel):
    """One requirement on a label."""

    model_config = shape(
        Cel(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "write values with operator In or NotIn, and only there",
        )
    )

    key: LabelKey
    """The label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How it is compared."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=16), ATOMIC] | None = None
    """With what."""


class LabelSelector(BaseModel):
    """Labels of ModelDeployments in the same namespace; an empty selector matches all of them."""

    model_config = shape()

    match_labels: Annotated[dict[str, LabelValue], max_properties(16)] = Field(default_factory=dict)
    """Labels with these values."""
    match_expressions: Annotated[tuple[SelectorRequirement, ...], Field(max_length=16), ATOMIC] = ()
    """Further requirements; all must hold."""


class Stream(BaseModel):
    """How much of an answer is held back while it is judged."""

    model_config = shape()

    holdback: Literal["adaptive", "sentence"] = "adaptive"
    """By character where rules allow it, else by sentence; or always by sentence."""
    max_hold_chars: Annotated[int, Field(ge=16, le=65536)] = 2048
    """So many characters at most."""
    on_hold_overflow: Literal["Block", "Degrade"] = "Block"
    """What happens beyond that."""


class Crisis(BaseModel):
    """What a person in crisis is told."""

    model_config = shape()

    locales: Annotated[dict[str, Referral], max_properties(64)] = Field(min_length=1)
    """By language, such as en or de-AT."""


class EvidencePolicy(BaseModel):
    """What is kept of a finding."""

    model_config = shape()

    store: Literal["none", "hash", "redacted", "full"] = "hash"
    """Nothing, a keyed hash of the excerpt, the excerpt without names and numbers, or the excerpt."""
    ttl: Retention = "30d"
    """How long."""


class ProbeSet(BaseModel):
    """Prompts that a candidate answers before anybody hears it; all Guardrails that hold for it judge the answers."""

    model_config = shape()

    config_map_ref: ConfigMapReference
    """The prompts, a JSON object a line: {"id": "threat-1", "prompt": "…"}, or with messages (role, content) instead of
    prompt, and max_tokens (256); 500 prompts and 512 KiB at most."""
    severity_at_least: Literal[2, 4, 6] = 4
    """Answers with findings from this severity on are bad: low 2, medium 4, high 6."""
    tolerance: Annotated[int, Field(ge=0, le=500)] = 0
    """So many more bad answers than stable's are borne; with more, the candidate fails."""


_OPEN = "(has(self.failurePolicy) && self.failurePolicy == 'Open')"
_NEEDS_REFERRAL = " || ".join(
    f"(has(r.actions.{level}) && r.actions.{level}.exists(a, a in ['CrisisFlow', 'CrisisBanner']))"
    for level in ("low", "medium", "high")
)


class GuardrailSpec(BaseModel):
    """What is looked for, and what follows."""

    model_config = shape(
        Cel(
            f"!{_OPEN} || !self.rules.exists(r, r.category == 'self_harm' && !has(r.failurePolicy))",
            "self_harm must not be unguarded: write failurePolicy: Closed or Degrade, here or in its rule",
        ),
        Cel(
            f"!(has(self.audience) && self.audience == 'minors')"
            f" || !({_OPEN} || self.rules.exists(r, has(r.failurePolicy) && r.failurePolicy == 'Open'))",
            "minors must not be unguarded: write failurePolicy: Closed or Degrade, here and in every rule",
        ),
        Cel(
            "!(has(self.audience) && self.audience == 'minors')"
            " || !self.rules.exists(r, has(r.fictionAllowance) && r.fictionAllowance > 0)",
            "remove fictionAllowance: there is none with audience: minors",
        ),
        Cel(
            f"has(self.crisis) || !self.rules.exists(r, {_NEEDS_REFERRAL})",
            "write crisis.locales: CrisisFlow and CrisisBanner show its text",
        ),
    )

    selector: LabelSelector | None = None
    """ModelDeployments it holds for, beside those that name it in guardrailRefs."""
    mode: Annotated[Literal["enforce", "monitor"], STORED_DEFAULT] = "enforce"
    """Act, or only count."""
    audience: Annotated[Literal["adults", "minors", "mixed"], STORED_DEFAULT] = "mixed"
    """Who plays."""
    failure_policy: Annotated[FailurePolicy, STORED_DEFAULT] = "Closed"
    """What holds when a detector fails: refuse, let pass, or fall back to the detectors that still work."""
    unscannable: Literal["Block", "Allow"] = "Block"
    """Images and sound in a request."""
    stream: Stream = Stream()
    """How much of an answer is held back."""
    detectors: Annotated[tuple[Detector, ...], Field(max_length=16), list_map("name")] = ()
    """What finds things."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=32), ATOMIC]
    """What follows from a finding."""
    crisis: Crisis | None = None
    """What a person in crisis is told."""
    engagement: Engagement | None = None
    """Signs that somebody has lost control over how much they play."""
    ladder: Annotated[tuple[Rung, ...], Field(max_length=16), ATOMIC] = ()
    """What follows from several findings."""
    probe_set: ProbeSet | None = None
    """Prompts that a candidate answers before anybody hears it; mode: monitor replays none."""
    evidence: EvidencePolicy = EvidencePolicy()
    """What is kept of a finding."""
    revoke_before: Sha256 | None = None
    """Hash of a policy: streams that began under it or an older one end at once."""


class ProbeSetStatus(BaseModel):
    """The prompts as they were read."""

    model_config = shape()

    key: DataKey
    """Key of the ConfigMap that holds them."""
    hash: Sha256
    """Of their text."""
    prompts: Annotated[int, Field(ge=1, le=500)]
    """How many there are."""


class GuardrailStatus(BaseModel):
    """What is enforced, and how well."""

    model_config = shape()

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status judges."""
    policy_hash: Annotated[str, Field(max_length=64)] = ""
    """Hash of the last policy that compiled, which gateways enforce."""
    shards: Annotated[tuple[Shard, ...], Field(max_length=40), ATOMIC] = ()
    """Immutable ConfigMaps that hold it, in order."""
    fail_open: bool = False
    """Gateways that cannot load it let answers pass."""
    revoke_before: Sha256 | None = None
    """Streams that began under the policy of this hash, or one loaded before it, end at once."""
    probe_set: ProbeSetStatus | None = None
    """The prompts that candidates answer, if they can be read."""
    conditions: Conditions = ()
    """Ready, DetectorsHealthy, Enforcing, Reconciling, Stalled."""
    guarantees: Annotated[dict[str, Literal["exact", "sentence", "monitor"]], max_properties(64)] = Field(
        default_factory=dict
    )
    """By category: no forbidden character, no forbidden sentence, or counted only."""
    counters: Annotated[dict[str, Annotated[int, Field(ge=0)]], max_properties(64)] = Field(default_factory=dict)
    """Turns with findings by category, as far as the operator has seen gateways count them."""


class Guardrail(BaseModel):
    """What a character may not say, and what follows when it does."""

    model_config = shape()

    api_version: ApiVersion = "understudy.dev/v1alpha1"
    kind: Literal["Guardrail"] = "Guardrail"
    metadata: ObjectMeta
    spec: GuardrailSpec
    """What is wanted."""
    status: Annotated[GuardrailStatus | None, stored_as(UNOBSERVED), WHOLE] = None
    """What is."""
