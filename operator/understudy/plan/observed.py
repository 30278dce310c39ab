"""Everything a plan may look at, as one immutable value.

The engine gathers it from the cache, the gateway polls and the probes; the planner never asks for more.
Kubernetes objects are plain dicts, trimmed by the reflector (no managedFields but for a foreign-manager mark).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.domain.key import Key
from understudy.domain.names import engine_key, kept_key_field
from understudy.domain.state import GatewayState
from understudy.plan.memory import Memory
from understudy.plan.replay import ReplayReport

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of the clocks.

    `wall` is Unix seconds, `monotonic` is seconds that only compare within one `process` (a random
    id): the difference of monotonic readings of two processes means nothing.
    """

    wall: float
    monotonic: float
    process: str


@dataclass(frozen=True, slots=True)
class GatewayPod:
    """A gateway pod that is neither Succeeded nor Failed; NotReady and Terminating ones included.

    `state` is its latest `/state` answer, `age` the seconds since that answer (infinite without one); `ready` is
    whether the kubelet takes it to be.
    """

    uid: str
    name: str
    state: GatewayState | None
    age: float
    ready: bool = True


@dataclass(frozen=True, slots=True)
class PromptResult:
    """One run of one probe prompt: `at` is Now.monotonic at its end, `message` says what was wrong.

    After a failure, `other_ok` is whether the comparator passed the same prompt, sent at once; None without one.
    """

    name: str
    ok: bool
    at: float
    message: str = ""
    other_ok: bool | None = None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the operator's own requests to one pod found.

    `identity` is "" until known, "ok", or a sentence that says what differs; `completed_at` is
    Now.monotonic of the last completion that succeeded; `recent` is the last five runs, oldest first,
    of each prompt. `no_tls` says why TLS with it comes to nothing, in words that follow its name; "" if it does not.
    """

    pod_uid: str
    identity: str = ""
    completed_at: float | None = None
    recent: tuple[PromptResult, ...] = ()
    no_tls: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The installation's own settings, from the operator's command line.

    `kept_keys` are the engine keys that do not follow from `master_key`, by `kept_key_field`. With
    `engine_policies` a NetworkPolicy for each deployment lets only gateways and the operator reach its pods.
    `engine_tls`: operator and gateways have an authority to trust, so that engines may speak TLS.
    """

    system_namespace: str = "understudy-system"
    gateway_url: str = ""
    cluster_wide: bool = True
    poll_interval: float = 1.0
    master_key: bytes = b""
    kept_keys: Mapping[str, str] = field(default_factory=dict)
    sim_image: str = ""
    privileged_namespaces: tuple[str, ...] = ()
    engine_policies: bool = False
    engine_tls: bool = False
    # Builder defaults: a changed one must reach new revisions only, never restart an old one.
    hash_version: int = 1
    prestop_seconds: int = 5

    def kept_key(self, namespace: str, deployment: str, revision: str) -> str:
        """The key that a revision has although another one would be derived for it now; "" if there is none."""
        return self.kept_keys.get(kept_key_field(namespace, deployment, revision), "")

    def engine_key(self, namespace: str, deployment: str, revision: str) -> str:
        """The API key of a revision's engine, for the life of the revision."""
        kept = self.kept_key(namespace, deployment, revision)
        return kept or engine_key(self.master_key, namespace, deployment, revision)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as one ModelDeployment's plan sees it.

    `deployment` is None once the resource is gone. `pools`, `services` are by revision (8 hex).
    `references` maps (kind, name) of each ConfigMap or Secret in the namespace that the spec or a
    snapshot names to the SHA-256 of its content, None when it does not exist. `name_holders` maps each
    served name that another deployment holds to that deployment. `taken` are the accelerators that pods of anybody
    hold on each node that has some, by resource; None if that is not known, or nobody needs to know.
    """

    key: Key
    now: Now
    epoch: int
    deployment: Object | None
    model: Object | None = None
    snapshots: tuple[Object, ...] = ()
    table: Object | None = None
    policy: Object | None = None
    pools: Mapping[str, Object] = field(default_factory=dict)
    services: Mapping[str, Object] = field(default_factory=dict)
    engine_keys: Mapping[str, Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] = ()
    taken: Mapping[str, Mapping[str, int]] | None = None
    references: Mapping[tuple[Literal["ConfigMap", "Secret"], str], str | None] = field(default_factory=dict)
    configmaps: Mapping[str, Object] = field(default_factory=dict)
    guardrails: tuple[Object, ...] = ()
    name_holders: Mapping[str, Key] = field(default_factory=dict)
    gateways: tuple[GatewayPod, ...] = ()
    probes: Mapping[str, ProbeReport] = field(default_factory=dict)
    # What the replay of the previous plan (`Plan.replay`) has come to so far; None if there is none.
    replay: ReplayReport | None = None
    settings: Settings = Settings()
    # What the previous plan of this key asked to be told again (`Plan.memory`); None in a new process.
    memory: Memory | None = None
    # What the API server said to an action of the previous plan that it will refuse for ever (an unknown
    # field in podTemplate, a namespace that is going away); "" if nothing. The status is written even so.
    refused: str = ""
