"""What a plan may ask for. The executor is a dumb loop over these; everything that decides is before them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.domain.names import MANAGER_CHILDREN, MANAGER_STATUS
from understudy.plan.memory import Memory
from understudy.plan.replay import Replay


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of a whole object, with preconditions.

    `obj` carries apiVersion, kind, metadata.name and metadata.namespace. With `uid` (and, for writes of
    weights, replicas or phase, `resource_version`) the write fails when the object is another one or has
    changed since it was observed; a `uid` also means: never create. `subresource` is "" or "status"; a status is
    replaced as a whole, whoever owns what is there.
    """

    obj: Mapping[str, Any]
    manager: str = MANAGER_CHILDREN
    subresource: Literal["", "status"] = ""
    uid: str = ""
    resource_version: str = ""
    why: str = ""


def apply_status(
    api_version: str, kind: str, observed: Mapping[str, Any], status: Mapping[str, Any], why: str = "status"
) -> Apply:
    """A write of the whole status of exactly the observed object, in the version that was observed."""
    meta = observed["metadata"]
    return Apply(
        obj={
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "status": status,
        },
        manager=MANAGER_STATUS,
        subresource="status",
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        why=why,
    )


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of exactly the observed object (uid and resourceVersion are preconditions)."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes event on the ModelDeployment; the recorder deduplicates."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


Action = Apply | Delete | Emit


@dataclass(frozen=True, slots=True)
class Prompt:
    """A probe prompt with its expectation; `expect` is the API's object (notEmpty, matches, …)."""

    name: str
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int
    expect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the prober to keep checking one pod: identity first, then the prompts every `interval` seconds.

    `model_id` is what `/v1/models` must show, `root` the path it must be served from ("" = any),
    `max_model_len` the expected context (0 = any), `key` the engine's API key. A prompt that fails on another
    pod of the deployment is sent to a `comparator` at once. Nothing waits for the answer of a pod `at_rest`.
    `server_name` is what its certificate must be for; "" for an engine that speaks plain HTTP.
    """

    pod_uid: str
    address: str
    port: int
    model_id: str
    root: str
    max_model_len: int
    key: str
    interval: float
    prompts: tuple[Prompt, ...]
    comparator: bool = False
    at_rest: bool = False
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and the status that says so.

    `actions` run in order and stop at the first failure (the next pass decides afresh). `status` is the
    ModelDeployment's whole status, or None when the resource is gone; it is written after the actions
    unless `status_first` (the commit of a promotion is that one write). `probes` is the complete set for
    this key: a pod that is not named is no longer probed. `replay` is what some of them are asked beside
    that; with None, what came of it is forgotten. `requeue_after` is in seconds, None = only on an event.
    `memory` is handed back as `Observed.memory` of this key's next pass, whether or not the
    actions succeeded; losing it costs seconds, never correctness. `violated` are the invariants that
    the writes would have broken: they were left out.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    status_first: bool = False
    probes: tuple[Probe, ...] = ()
    replay: Replay | None = None
    requeue_after: float | None = None
    reasons: tuple[str, ...] = ()
    memory: Memory | None = None
    violated: tuple[str, ...] = ()
