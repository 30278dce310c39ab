"""ModelSnapshot: the record of one revision, so that it can come back exactly as it was."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, LIST_SET, PRESERVE_UNKNOWN, WHOLE, Cel, list_map, max_properties
from understudy.api.v1alpha1.metadata import ApiVersion, Conditions, ObjectMeta
from understudy.api.v1alpha1.scalars import LongText, ResourceName, Revision, Sha256, Text, Timestamp
from understudy.api.v1alpha1.shape import shape

FreeForm = Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(64)]


class SnapshotModel(BaseModel):
    """The Model as it was when the revision was prepared."""

    model_config = shape()

    name: ResourceName
    """Name of the Model."""
    spec: FreeForm = Field(default_factory=dict)
    """Its spec at that time."""


class SnapshotReference(BaseModel):
    """A ConfigMap or Secret that the pods consume."""

    model_config = shape()

    kind: Literal["ConfigMap", "Secret"]
    """Its kind."""
    name: ResourceName
    """Its name."""
    hash: Annotated[str, Field(pattern="^([0-9a-f]{64})?$", max_length=64)] = ""
    """SHA-256 of its content at that time; empty when it did not exist."""
    copy_: Annotated[ResourceName | None, Field(alias="copy")] = None
    """The immutable copy that the pods mount; ConfigMaps only."""


class Identity(BaseModel):
    """What a pod of this revision must say about itself."""

    model_config = shape()

    model_id: Annotated[str, Field(max_length=253)] = ""
    """Id in /v1/models."""
    root: Annotated[str, Field(max_length=1024)] = ""
    """Path that it serves from; empty means any."""
    max_model_len: Annotated[int, Field(ge=0)] = 0
    """Context length in tokens; 0 means any."""


class ModelSnapshotSpec(BaseModel):
    """The revision: what was asked for, and the pod template that came of it."""

    model_config = shape()

    deployment: ResourceName
    """The ModelDeployment it belongs to."""
    revision: Revision
    """First 8 digits of the hash."""
    hash: Sha256
    """SHA-256 of everything that shapes the pod."""
    hash_version: Annotated[int, Field(ge=1)]
    """Which canonical form was hashed."""
    model: SnapshotModel
    """The Model at that time."""
    intent: FreeForm = Field(default_factory=dict)
    """The user's fields that were hashed."""
    recorded: FreeForm = Field(default_factory=dict)
    """The user's fields that were not hashed but belong to the revision's story."""
    pod_template: FreeForm
    """The rendered pod template, applied as it stands for the life of the revision."""
    references: Annotated[tuple[SnapshotReference, ...], Field(max_length=64), list_map("kind", "name")] = ()
    """ConfigMaps and Secrets that the pods consume."""
    identity: Identity = Identity()
    """What a pod of this revision must say about itself."""
    start_deadline_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Seconds from a pod's PodScheduled in which it must have become ready; 0 means that none was recorded."""


class SnapshotFailure(BaseModel):
    """Why the revision failed."""

    model_config = shape()

    class_: Annotated[str, Field(alias="class", max_length=64)]
    """Kind of failure."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """The condition's reason."""
    message: LongText = ""
    """What was seen."""
    at: Timestamp
    """When."""
    generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that asked for it."""


class SnapshotPromotion(BaseModel):
    """One time the revision became stable."""

    model_config = shape()

    number: Annotated[int, Field(ge=1)]
    """The deployment's count of promotions."""
    at: Timestamp
    """When."""


class SnapshotReport(BaseModel):
    """What one step of the latest rollout came to."""

    model_config = shape()

    run: Annotated[int, Field(ge=0)]
    """The deployment's count of rollouts."""
    step: Annotated[str, Field(max_length=16)]
    """The weight, `probe sets` or `shadow` before the first one, or `watch`."""
    verdict: Text = ""
    """Pass, Fail or Inconclusive, and why."""
    compared: Annotated[tuple[Text, ...], Field(max_length=8), ATOMIC] = ()
    """What was compared with stable, with the numbers: a sentence for each metric."""


class ModelSnapshotStatus(BaseModel):
    """What became of the revision, and the evidence that judges it."""

    model_config = shape()

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Always 1: the spec cannot change."""
    state: Literal["Candidate", "Promoted", "Failed"] = "Candidate"
    """How far it came."""
    failure: SnapshotFailure | None = None
    """Why it failed."""
    promotions: Annotated[tuple[SnapshotPromotion, ...], Field(max_length=20), ATOMIC] = ()
    """When it became stable, newest last."""
    number: Annotated[int, Field(ge=0)] | None = None
    """The latest promotion's number, for the column."""
    promoted_at: Timestamp | None = None
    """The latest promotion's time, for the column."""
    verdict: Text = ""
    """What the evidence says, for the column."""
    step: Annotated[int, Field(ge=0)] = 0
    """Step that the evidence below belongs to."""
    soak_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Observed time at this step."""
    evidence: FreeForm = Field(default_factory=dict)
    """Counters and test state; no contract."""
    cursors: Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(256)] = Field(default_factory=dict)
    """How far each gateway's counters are already in the evidence; no contract."""
    report: Annotated[tuple[SnapshotReport, ...], Field(max_length=21), ATOMIC] = ()
    """What each step of the latest rollout came to, oldest first."""
    image_ids: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=16), LIST_SET] = Field(
        default=(), alias="imageIDs"
    )
    """Image ids seen on its pods."""
    orphaned_at: Timestamp | None = None
    """Since when its ModelDeployment is gone."""
    conditions: Conditions = ()
    """ConfigDrifted, ImageMoved."""


class ModelSnapshot(BaseModel):
    """The record of one revision of a ModelDeployment. Never edited by people."""

    model_config = shape()

    api_version: ApiVersion = "understudy.dev/v1alpha1"
    kind: Literal["ModelSnapshot"] = "ModelSnapshot"
    metadata: ObjectMeta
    spec: Annotated[
        ModelSnapshotSpec,
        Cel("self == oldSelf", "a snapshot cannot be changed: edit the ModelDeployment, which makes another revision"),
        WHOLE,
    ]
    """The revision."""
    status: Annotated[ModelSnapshotStatus | None, WHOLE] = None
    """What became of it."""
