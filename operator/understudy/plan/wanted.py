"""What a spec comes to: a revision, or the reason why it cannot become one; and that answer, kept for the next pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """The revision that the spec asks for; `snapshot` is its record, as observed or to be written."""

    revision: str
    model: str
    snapshot: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why the spec cannot become a revision now; `passing` causes are given two minutes to go away."""

    reason: str
    message: str
    passing: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A spec as read and resolved from `inputs`; the same inputs need not be read again.

    Kept only while a rollout is in progress: thousands of deployments at rest would hold much for nothing.
    """

    inputs: tuple[Any, ...]
    spec: ModelDeploymentSpec
    target: Wanted | Blocked
