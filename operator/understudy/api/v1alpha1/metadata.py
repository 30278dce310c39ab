"""What every kind has around its spec: object metadata, references, conditions."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import list_map
from understudy.api.v1alpha1.scalars import DataKey, ResourceName, Timestamp
from understudy.api.v1alpha1.shape import shape

ApiVersion = Literal["understudy.dev/v1alpha1"]


class ObjectMeta(BaseModel):
    """The fields of `metadata` that Understudy reads; the API server owns the schema."""

    model_config = shape()

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[dict[str, Any], ...] = ()


class LocalReference(BaseModel):
    """An object in the same namespace."""

    model_config = shape()

    name: ResourceName
    """Its name."""


class KeyReference(BaseModel):
    """One key of a Secret in the same namespace."""

    model_config = shape()

    name: ResourceName
    """Name of the Secret."""
    key: DataKey = "token"
    """Key within it."""


class Condition(BaseModel):
    """One aspect of the object's state, as metav1.Condition."""

    model_config = shape()

    type: Annotated[str, Field(pattern="^[A-Za-z]([A-Za-z0-9]*[A-Za-z0-9])?$", max_length=64)]
    """Which aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", min_length=1, max_length=128)]
    """Why, as one word for machines."""
    message: Annotated[str, Field(max_length=8192)] = ""
    """Why, as a sentence for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this judges."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), list_map("type")]


def _waiting(kind: str, status: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": "Pending",
        "message": "Waiting for the operator",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }


# kstatus is right before the first pass: not ready, work under way, no generation observed.
# The operator must write both types in every status, or the API server's default stays.
UNOBSERVED: Final[dict[str, Any]] = {
    "observedGeneration": 0,
    "conditions": [_waiting("Ready", "Unknown"), _waiting("Reconciling", "True")],
}
