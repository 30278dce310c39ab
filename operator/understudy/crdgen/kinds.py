"""The five kinds with what the API server must know about each beside its schema."""

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from understudy.api.v1alpha1.guardrail import Guardrail
from understudy.api.v1alpha1.model import Model
from understudy.api.v1alpha1.modeldeployment import ModelDeployment
from understudy.api.v1alpha1.modelsnapshot import ModelSnapshot
from understudy.api.v1alpha1.routingtable import RoutingTable


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`: one path; `wide` columns show with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and its names; `scale` means the scale subresource over replicas and selector."""

    model: type[BaseModel]
    plural: str
    short: str
    columns: tuple[Column, ...]
    scale: bool = False
    status: bool = True

    @property
    def name(self) -> str:
        """The kind's name, which is the model's."""
        return self.model.__name__


def condition(kind: str, field: str = "status") -> str:
    """Path of one condition's field."""
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")
_READY: Final = Column("Ready", condition("Ready"))
_REASON: Final = Column("Reason", condition("Ready", "reason"))

KINDS: Final = (
    Kind(
        Guardrail,
        "guardrails",
        "guard",
        (
            Column("Ready", condition("Ready")),
            Column("Mode", ".spec.mode"),
            Column("Audience", ".spec.audience"),
            Column("Failure", ".spec.failurePolicy"),
            Column("Enforcing", condition("Enforcing")),
            _REASON,
            Column("Policy", ".status.policyHash", wide=True),
            _AGE,
        ),
    ),
    Kind(
        Model,
        "models",
        "umodel",
        (
            _READY,
            _REASON,
            Column("Revision", ".status.resolved.revision"),
            Column("Context", ".status.resolved.contextLength", "integer"),
            Column("Used By", ".status.usedBy", wide=True),
            _AGE,
        ),
    ),
    Kind(
        ModelDeployment,
        "modeldeployments",
        "mdep",
        (
            _READY,
            Column("Phase", ".status.phase"),
            Column("Stable", ".status.stable"),
            Column("Candidate", ".status.candidate"),
            Column("Weight", ".status.weightText", description="The candidate's share of conversations"),
            Column("Pods", ".status.readyText", description="Ready pods of those wanted"),
            _REASON,
            Column("URL", ".status.url", wide=True),
            _AGE,
        ),
        scale=True,
    ),
    Kind(
        ModelSnapshot,
        "modelsnapshots",
        "msnap",
        (
            Column("Deployment", ".spec.deployment"),
            Column("Number", ".status.number", "integer"),
            Column("Revision", ".spec.revision"),
            Column("Model", ".spec.model.name"),
            Column("State", ".status.state"),
            Column("Promoted", ".status.promotedAt", "date"),
            Column("Verdict", ".status.verdict"),
            _AGE,
        ),
    ),
    Kind(
        RoutingTable,
        "routingtables",
        "rtable",
        (
            Column("Names", ".spec.servedNames"),
            Column("Revisions", ".spec.variants[*].revision"),
            Column("Weights", ".spec.variants[*].weight"),
            Column("Epoch", ".spec.epoch", "integer"),
            Column("Retired", ".spec.retired", "boolean", wide=True),
            _AGE,
        ),
        status=False,
    ),
)
