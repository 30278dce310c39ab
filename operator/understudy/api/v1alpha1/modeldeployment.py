"""ModelDeployment: a model served under a name, and how its revisions follow each other."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.deploymentstatus import ModelDeploymentStatus
from understudy.api.v1alpha1.engine import Accelerator, Engine, Resources
from understudy.api.v1alpha1.markers import (
    LIST_SET,
    PRESERVE_UNKNOWN,
    STORED_DEFAULT,
    WHOLE,
    Cel,
    list_map,
    max_properties,
    stored_as,
)
from understudy.api.v1alpha1.metadata import UNOBSERVED, ApiVersion, LocalReference, ObjectMeta
from understudy.api.v1alpha1.probes import Probes
from understudy.api.v1alpha1.rollout import Rollout
from understudy.api.v1alpha1.scalars import ServedName
from understudy.api.v1alpha1.serving import Api, Fallback, Logging, Pricing, Queue, Session, Timeouts
from understudy.api.v1alpha1.shape import shape


class Snapshots(BaseModel):
    """How many records of old revisions are kept."""

    model_config = shape()

    keep: Annotated[int, Field(ge=2, le=100)] = 10
    """So many; the annotation understudy.dev/keep on a ModelSnapshot pins it beyond that."""


class ModelDeploymentSpec(BaseModel):
    """A model, the engine that serves it, and how a new revision takes over."""

    model_config = shape()

    model_ref: LocalReference
    """The Model that is served."""
    served_names: Annotated[tuple[ServedName, ...], Field(max_length=16), LIST_SET] = ()
    """Names that clients put in `model`; metadata.name otherwise. `<namespace>/<name>` always works."""
    replicas: Annotated[int, Field(ge=0, le=1000), STORED_DEFAULT] = 1
    """Pods of the stable revision."""
    engine: Engine
    """The program that serves the model."""
    accelerator: Accelerator | None = None
    """Accelerators of one pod; none means CPU."""
    resources: Resources = Resources()
    """What the engine's container asks for."""
    pod_template: Annotated[dict[str, Any], PRESERVE_UNKNOWN, max_properties(32)] = Field(default_factory=dict)
    """Parts of the pod that Understudy does not set itself: nodeSelector, tolerations, affinity,
    topologySpreadConstraints, priorityClassName, runtimeClassName, imagePullSecrets, serviceAccountName,
    volumes, volumeMounts, initContainers, labels, annotations."""
    probes: Probes = Probes()
    """How pods are checked."""
    rollout: Rollout = Rollout()
    """How a new revision takes over."""
    snapshots: Snapshots = Snapshots()
    """How many records of old revisions are kept."""
    guardrail_refs: Annotated[tuple[LocalReference, ...], Field(max_length=8), list_map("name")] = ()
    """Guardrails, beside every one whose selector matches."""
    api: Api = Api()
    """What clients may send beside the usual fields."""
    session: Session = Session()
    """How requests of one conversation are recognised."""
    fallback: Annotated[tuple[Fallback, ...], Field(max_length=8), list_map("name")] = ()
    """Served names that take over when this deployment cannot serve, in this order."""
    queue: Queue = Queue()
    """Requests that wait for a free pod."""
    timeouts: Timeouts = Timeouts()
    """Limits of one request."""
    pricing: Pricing | None = None
    """What requests cost; keys with a budget in money need it."""
    logging: Logging = Logging()
    """What is kept of requests."""


class ModelDeployment(BaseModel):
    """A model served under a name; an edit is rehearsed, rolled out by steps and taken back if it is worse."""

    model_config = shape(
        Cel(
            "self.metadata.name.size() <= 48 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: write at most 48 lower case letters, digits and dashes, beginning with a letter"
            " (it becomes a Service name with the revision's hash)",
        )
    )

    api_version: ApiVersion = "understudy.dev/v1alpha1"
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    metadata: ObjectMeta
    spec: ModelDeploymentSpec
    """What is wanted."""
    status: Annotated[ModelDeploymentStatus | None, stored_as(UNOBSERVED), WHOLE] = None
    """What is."""
