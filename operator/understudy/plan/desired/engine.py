"""What engine adapters get and give: the engine-specific part of a pod."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.api.v1alpha1.engine import Engine
from understudy.api.v1alpha1.model import ModelSpec
from understudy.plan.desired.accelerator import Scheduling
from understudy.plan.desired.refusal import Refusal

# How long an engine that is told to end goes on with what it has; both engines have it.
SHUTDOWN: Final = "--shutdown-timeout"


@dataclass(frozen=True, slots=True)
class EngineInput:
    """Everything an adapter may look at. `model_id` is the internal served name `<deployment>-<hash8>`."""

    engine: Engine
    model: ModelSpec
    scheduling: Scheduling
    model_id: str
    image: str
    shutdown_seconds: int


@dataclass(frozen=True, slots=True)
class EnginePart:
    """An adapter's answer. `root` and `max_model_len` are what the pod must say of itself ("" and 0: anything)."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    root: str
    max_model_len: int
    env: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    init_containers: tuple[Mapping[str, Any], ...] = field(default=())


Adapter = Callable[[EngineInput], EnginePart | Refusal]
