"""From a user's spec to a revision: its hash, its pod template, and what its pods must say of themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from understudy.api.v1alpha1.model import Model, ModelSpec
from understudy.api.v1alpha1.modeldeployment import ModelDeployment, ModelDeploymentSpec
from understudy.domain.names import child_name
from understudy.domain.revision import revision_hash, short_revision
from understudy.plan.desired import pod_template
from understudy.plan.desired.accelerator import schedule
from understudy.plan.desired.engine import Adapter, EngineInput
from understudy.plan.desired.intent import hashed_intent, recorded
from understudy.plan.desired.pod import API_KEY_VARIABLE, engine_pod, times
from understudy.plan.desired.references import Reference, ReferenceName, Use, consumed, copy_name, renamed, uses
from understudy.plan.desired.refusal import Missing, Refusal
from understudy.plan.desired.sim import sim
from understudy.plan.desired.vllm import vllm
from understudy.plan.observed import Object, Settings

Kind = TypeVar("Kind", bound=BaseModel)
ADAPTERS: Final[Mapping[str, Adapter]] = {"vllm": vllm, "sim": sim}


@dataclass(frozen=True, slots=True)
class Identity:
    """What `/v1/models` of a pod must show; `root` "" and `max_model_len` 0 mean anything."""

    model_id: str
    root: str
    max_model_len: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A pod template, what its pods must say of themselves, and the seconds that their start may take."""

    pod: dict[str, Any]
    identity: Identity
    start_deadline: float


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a ModelDeployment, rendered.

    `revision` is 8 hexadecimal digits, `hash` all 64 of them under canonical form `hash_version`.
    `template` is a pod template; it is recorded in the snapshot and applied from there for life.
    `start_deadline` is in seconds from PodScheduled.
    """

    deployment: str
    namespace: str
    revision: str
    hash: str
    hash_version: int
    model: str
    model_spec: Mapping[str, Any]
    intent: Mapping[str, Any]
    recorded: Mapping[str, Any]
    template: Mapping[str, Any]
    references: tuple[Reference, ...]
    identity: Identity
    start_deadline: float


@dataclass(frozen=True, slots=True)
class Asked:
    """The revision that a ModelDeployment asks for, as far as it takes to know it by its hash."""

    deployment: ModelDeployment
    model: Model
    references: tuple[Reference, ...]
    intent: Mapping[str, Any]
    hash: str
    hash_version: int
    rendered: Rendered

    @property
    def revision(self) -> str:
        """Its 8 hexadecimal digits."""
        return short_revision(self.hash)


def asked_revision(
    deployment: Object,
    model: Object,
    references: Mapping[ReferenceName, str | None],
    settings: Settings,
    snapshots: Sequence[Object] = (),
) -> Asked | Refusal | Missing:
    """The revision that a ModelDeployment asks for, or why there is none.

    `references` maps each consumed (kind, name) to the SHA-256 of its content, None when it does not
    exist. A revision that is recorded among `snapshots`, under whatever hash version, keeps its name,
    so that a new operator with a new canonical form restarts nothing.
    """
    parsed = _parsed(ModelDeployment, deployment)
    if isinstance(parsed, Refusal):
        return parsed
    weights = _parsed(Model, model)
    if isinstance(weights, Refusal):
        return weights
    found = _found(parsed.spec, references)
    if isinstance(found, Missing):
        return found
    intent = hashed_intent(parsed.spec, weights.spec, found)
    version, full = _known(intent, snapshots, settings.hash_version)
    name, namespace = parsed.metadata.name, parsed.metadata.namespace
    template = _template(parsed.spec, weights.spec, name, short_revision(full), namespace, settings)
    if isinstance(template, Refusal):
        return template
    return Asked(parsed, weights, found, intent, full, version, template)


def render_revision(asked: Asked) -> Revision:
    """The whole of it, to be recorded. One that is recorded already need not be rendered again."""
    spec, name = asked.deployment.spec, asked.deployment.metadata.name
    copies = {r.name: copy_name(name, asked.revision, r.name) for r in asked.references if r.kind == "ConfigMap"}
    return Revision(
        deployment=name,
        namespace=asked.deployment.metadata.namespace,
        revision=asked.revision,
        hash=asked.hash,
        hash_version=asked.hash_version,
        model=spec.model_ref.name,
        model_spec=asked.model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)["spec"],
        intent=asked.intent,
        recorded=recorded(spec),
        template=renamed(asked.rendered.pod, lambda configmap: copies[configmap]),
        references=tuple(
            Reference(r.kind, r.name, r.hash, copies[r.name] if r.kind == "ConfigMap" else "") for r in asked.references
        ),
        identity=asked.rendered.identity,
        start_deadline=asked.rendered.start_deadline,
    )


def _template(
    spec: ModelDeploymentSpec, model: ModelSpec, name: str, revision: str, namespace: str, settings: Settings
) -> Rendered | Refusal:
    image = spec.engine.image or (settings.sim_image if spec.engine.type == "sim" else "")
    if not image:
        return Refusal("spec.engine.image", "is missing", "write the engine's image, such as vllm/vllm-openai:v0.33.0")
    if any(variable.name == API_KEY_VARIABLE for variable in spec.engine.env):
        return Refusal("spec.engine.env", f"sets {API_KEY_VARIABLE}", "remove it: Understudy makes the engine's key")
    if spec.engine.tls is not None and not settings.engine_tls:
        return Refusal(
            "spec.engine.tls",
            "nobody could speak to its pods: this installation trusts no authority for engines",
            "remove it, or have the chart's engineTls.secretName set",
        )
    privileged = namespace in settings.privileged_namespaces
    limits = times(spec.engine, settings.prestop_seconds)
    if isinstance(limits, Refusal):
        return limits
    if refusal := pod_template.refused(spec.pod_template, namespace, privileged=privileged, grace=limits.grace):
        return refusal
    scheduling = schedule(spec.accelerator)
    if isinstance(scheduling, Refusal):
        return scheduling
    model_id = child_name(name, revision)
    part = ADAPTERS[spec.engine.type](EngineInput(spec.engine, model, scheduling, model_id, image, limits.shutdown))
    if isinstance(part, Refusal):
        return part
    pod = engine_pod(name, revision, image, spec.engine, spec.resources, scheduling, part, limits)
    merged = pod_template.merged(pod, spec.pod_template, privileged=privileged)
    return Rendered(merged, Identity(model_id, part.root, part.max_model_len), limits.start_deadline)


def _found(
    spec: ModelDeploymentSpec, references: Mapping[ReferenceName, str | None]
) -> tuple[Reference, ...] | Missing:
    wanted = consumed(_uses(spec))
    needed = [key for key, optional in wanted.items() if not optional]
    if spec.engine.tls is not None:
        # Without it the pods would not start; but its content is none of the revision's: it is renewed while they run.
        needed.append(("Secret", spec.engine.tls.secret_ref.name))
    missing = tuple(dict.fromkeys(key for key in needed if references.get(key) is None))
    if missing:
        return Missing(missing)
    return tuple(Reference(kind, name, references.get((kind, name)) or "") for kind, name in sorted(wanted))


def _uses(spec: ModelDeploymentSpec) -> Iterator[Use]:
    engine = spec.engine.model_dump(mode="json", by_alias=True, exclude_none=True)
    containers = [{"env": engine["env"], "envFrom": engine["envFrom"]}, *_mappings(spec.pod_template, "initContainers")]
    return uses(containers, _mappings(spec.pod_template, "volumes"))


def _mappings(overrides: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = overrides.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _known(intent: Mapping[str, Any], snapshots: Sequence[Object], version: int) -> tuple[int, str]:
    """Hash version and hash of an intent: those of the snapshot that records it, else the current version's."""
    for snapshot in snapshots:
        spec = snapshot["spec"]
        if revision_hash(intent, spec["hashVersion"]) == spec["hash"]:
            return spec["hashVersion"], spec["hash"]
    return version, revision_hash(intent, version)


def _parsed(kind: type[Kind], obj: Object) -> Kind | Refusal:
    try:
        return kind.model_validate(obj)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        where = path if kind is ModelDeployment else f"Model {path}"
        return Refusal(where, first["msg"], f"see the schema: kubectl explain {kind.__name__.lower()}.{path}")
