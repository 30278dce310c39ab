"""What the operator says about a ModelDeployment."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, LIST_SET, PRESERVE_UNKNOWN, list_map, max_properties
from understudy.api.v1alpha1.metadata import Conditions
from understudy.api.v1alpha1.scalars import LongText, ResourceName, Revision, ServedName, Text, Timestamp
from understudy.api.v1alpha1.shape import shape

Phase = Literal[
    "Stable",
    "Preparing",
    "Shadow",
    "Canary",
    "Promoting",
    "Watching",
    "Restoring",
    "Reverting",
    "RolledBack",
    "Replacing",
]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]


class Target(BaseModel):
    """The revision that the spec asks for."""

    model_config = shape()

    revision: Revision
    """Its hash."""
    model: ResourceName | None = None
    """The Model it serves."""


class CandidateWeight(BaseModel):
    """The candidate's share in percent; stable has the rest."""

    model_config = shape()

    desired: Percent = 0
    """By the current step."""
    written: Percent = 0
    """In the RoutingTable."""
    programmed: Percent = 0
    """Served by every gateway."""


class Weights(BaseModel):
    """Shares of conversations."""

    model_config = shape()

    candidate: CandidateWeight = CandidateWeight()
    """The candidate's."""


class Verdict(BaseModel):
    """What the evidence says."""

    model_config = shape()

    result: Literal["Pass", "Fail", "Inconclusive"]
    """Go on, go back, or wait."""
    reason: Text = ""
    """Why."""


class FailedRevision(BaseModel):
    """A revision that does not start again by itself."""

    model_config = shape()

    revision: Revision
    """Its hash."""
    class_: Annotated[str, Field(alias="class", max_length=64)]
    """Kind of failure, such as EngineCrash or WrongModelIdentity."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """The condition's reason."""
    message: LongText = ""
    """What was seen."""
    at: Timestamp
    """When."""
    generation: Count = 0
    """The generation of the spec that asked for it."""


class Promotion(BaseModel):
    """A revision that became stable."""

    model_config = shape()

    number: Count
    """Counts the promotions of this deployment from 1."""
    revision: Revision
    """Its hash."""
    at: Timestamp
    """When."""
    reason: Text = ""
    """How it came: first deployment, passed steps, restored."""


class ModelDeploymentStatus(BaseModel):
    """State of the rollout and of what serves; at most about 16 kB."""

    model_config = shape()

    observed_generation: Count = 0
    """The generation of the spec that this status judges."""
    phase: Phase | None = None
    """Where the rollout is."""
    paused: bool = False
    """Advance is frozen; going back is not."""
    target: Target | None = None
    """The revision that the spec asks for."""
    stable: Revision | None = None
    """The revision that serves."""
    candidate: Revision | None = None
    """The revision that is being proved."""
    previous: Revision | None = None
    """The revision to go back to."""
    step: Count = 0
    """Current step, from 1; 0 outside of steps."""
    weights: Weights = Weights()
    """Shares of conversations."""
    weight_text: Annotated[str, Field(max_length=32)] = ""
    """The candidate's share, for people."""
    ready_text: Annotated[str, Field(max_length=32)] = ""
    """Ready pods of those wanted, for people."""
    verdict: Verdict | None = None
    """What the evidence says."""
    failed: Annotated[tuple[FailedRevision, ...], Field(max_length=10), list_map("revision")] = ()
    """Revisions that do not start again by themselves; `retry` clears."""
    pinned_revision: Revision | None = None
    """Revision chosen by `rollback`; wins over the spec."""
    plan: LongText = ""
    """What happens next, as a sentence."""
    replicas: Count = 0
    """Pods of all revisions."""
    ready_replicas: Count = 0
    """Those that are ready."""
    selector: Annotated[str, Field(max_length=512)] = ""
    """Label selector of the pods of all revisions."""
    served_names: Annotated[tuple[ServedName, ...], Field(max_length=17), LIST_SET] = ()
    """Names that the gateway serves now."""
    url: Annotated[str, Field(max_length=512)] = ""
    """Where clients find it."""
    last_handled_request: Annotated[str, Field(max_length=1024)] = ""
    """The last value of the annotation understudy.dev/request that was acted on."""
    history: Annotated[tuple[Promotion, ...], Field(max_length=5), ATOMIC] = ()
    """The latest promotions, newest first."""
    rollout: Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(64)] = Field(default_factory=dict)
    """The operator's own bookkeeping, so that a restart loses nothing; no contract."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, Available, Progressing, TrafficProgrammed, AnalysisHealthy, GuardrailsEnforced;
    and, only while they are True, ConfigDrifted, ImageMoved, ImageVolumesDropped, EngineKeyKept, InputMissing."""
