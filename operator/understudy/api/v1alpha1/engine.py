"""How a revision's pods run: the engine, its environment, its accelerator and resources."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import ATOMIC, LIST_SET, Cel, list_map, max_properties
from understudy.api.v1alpha1.metadata import LocalReference
from understudy.api.v1alpha1.scalars import DataKey, Duration, Label, PositiveQuantity, Quantity, ResourceName
from understudy.api.v1alpha1.shape import shape


class ObjectKeySelector(BaseModel):
    """One key of a ConfigMap or Secret in the same namespace."""

    model_config = shape()

    name: ResourceName
    """Name of the ConfigMap or Secret."""
    key: DataKey
    """Key within it."""
    optional: bool | None = None
    """Start without it when it is missing."""


class FieldSelector(BaseModel):
    """A field of the pod."""

    model_config = shape()

    field_path: Annotated[str, Field(min_length=1, max_length=253)]
    """Such as metadata.name or status.podIP."""
    api_version: Annotated[str, Field(max_length=63)] | None = None
    """Version of the schema that the path is written in; v1 otherwise."""


class ResourceFieldSelector(BaseModel):
    """A resource of a container."""

    model_config = shape()

    container_name: Label | None = None
    """Container; the engine otherwise."""
    resource: Annotated[str, Field(min_length=1, max_length=253)]
    """Such as limits.memory."""
    divisor: Quantity | None = None
    """Unit of the answer."""


class EnvVarSource(BaseModel):
    """Where a variable's value comes from; exactly one of the blocks."""

    model_config = shape(
        Cel(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef), has(self.resourceFieldRef)]"
            ".filter(x, x).size() == 1",
            "write exactly one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef",
        )
    )

    secret_key_ref: ObjectKeySelector | None = None
    """A key of a Secret. A changed Secret does not restart pods; the revision becomes ConfigDrifted."""
    config_map_key_ref: ObjectKeySelector | None = None
    """A key of a ConfigMap. Its content is part of the revision."""
    field_ref: FieldSelector | None = None
    """A field of the pod."""
    resource_field_ref: ResourceFieldSelector | None = None
    """A resource of a container."""


class EnvVar(BaseModel):
    """One environment variable of the engine."""

    model_config = shape(
        Cel("!has(self.value) || !has(self.valueFrom)", "write value or valueFrom, not both"),
        Cel(
            "self.name != 'VLLM_API_KEY'",
            "remove VLLM_API_KEY: Understudy makes the engine's key; clients use access keys of the gateway",
        ),
    )

    name: Annotated[str, Field(pattern="^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=253)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=8192)] | None = None
    """Its value as it stands."""
    value_from: EnvVarSource | None = None
    """Where its value comes from."""


class EnvFromSource(BaseModel):
    """All keys of a ConfigMap or Secret as variables; exactly one of the blocks."""

    model_config = shape(
        Cel("has(self.configMapRef) != has(self.secretRef)", "write exactly one of configMapRef, secretRef")
    )

    prefix: Annotated[str, Field(pattern="^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=253)] | None = None
    """Put before every key."""
    config_map_ref: LocalReference | None = None
    """A ConfigMap. Its content is part of the revision."""
    secret_ref: LocalReference | None = None
    """A Secret."""


# argparse takes abbreviations (--served) and vLLM takes underscores for dashes.
_OWN_FLAGS = "^--(model|model[-_]id|served[-_a-z]*|host|port|api[-_]key)(=.*)?$"
EngineArg = Annotated[
    str,
    Field(max_length=1024),
    Cel(
        f"!self.matches('{_OWN_FLAGS}')",
        "remove --model, --served-model-name, --host, --port and --api-key: Understudy sets them"
        " (the model comes from modelRef, the names from servedNames)",
    ),
]


class EngineTls(BaseModel):
    """TLS between the engine and whoever asks it: gateways and the operator."""

    model_config = shape()

    secret_ref: LocalReference
    """Secret of type kubernetes.io/tls: tls.crt is for the name of each revision's Service, or for all of a namespace
    (`*.<namespace>.svc`), and signed by whom the installation trusts (the chart's engineTls). A renewed one is taken
    while the pods run."""
    require_client_certificate: bool = False
    """The engine answers only whoever shows a certificate that an authority in the Secret's ca.crt has signed. The
    kubelet has none to show: all it then looks at is whether the port is open."""


class Engine(BaseModel):
    """The program that serves the model."""

    model_config = shape(
        Cel(
            "has(self.image) || (has(self.type) && self.type == 'sim')",
            "write image, such as vllm/vllm-openai:v0.33.0; only type: sim has one of its own",
        )
    )

    type: Literal["vllm", "sim"] = "vllm"
    """Which engine; `sim` is the simulated one that comes with Understudy."""
    image: Annotated[str, Field(pattern="^[^\\s]+$", max_length=512)] | None = None
    """Container image, part of the revision as written; a digest is recommended."""
    args: Annotated[tuple[EngineArg, ...], Field(max_length=64), ATOMIC] = ()
    """Arguments, one per item; never interpreted by a shell."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64), list_map("name")] = ()
    """Environment variables."""
    env_from: Annotated[tuple[EnvFromSource, ...], Field(max_length=16), ATOMIC] = ()
    """ConfigMaps and Secrets whose keys become variables."""
    tls: EngineTls | None = None
    """How the engine is spoken to by TLS; plain HTTP without it."""
    startup_timeout: Duration = "30m"
    """How long loading the model may take, from the moment the pod is scheduled."""
    shutdown_timeout: Duration = "120s"
    """How long open requests may take to end when a pod stops."""


class Accelerator(BaseModel):
    """Accelerators of one pod: counted (`resource` and `count`) or claimed (`claimTemplateName`)."""

    model_config = shape(
        Cel(
            "has(self.resource) != has(self.claimTemplateName)",
            "write resource (such as nvidia.com/gpu) with count, or claimTemplateName, not both",
        ),
        Cel(
            "!has(self.claimTemplateName) || !(has(self.count) || has(self.products) || has(self.minMemory))",
            "remove count, products and minMemory: the ResourceClaimTemplate in claimTemplateName says them",
        ),
    )

    resource: (
        Annotated[str, Field(pattern=r"^[a-z0-9][-a-z0-9.]*/[A-Za-z0-9][-A-Za-z0-9._]*$", max_length=253)] | None
    ) = None
    """Extended resource, such as nvidia.com/gpu, amd.com/gpu, nvidia.com/mig-1g.10gb."""
    count: Annotated[int, Field(ge=1, le=64)] | None = None
    """How many per pod, 1 otherwise; becomes --tensor-parallel-size unless args give one."""
    products: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(max_length=16), LIST_SET
    ] = ()
    """Any of these, as in the node label nvidia.com/gpu.product."""
    min_memory: PositiveQuantity | None = None
    """Least memory of one accelerator, compared with the node label nvidia.com/gpu.memory."""
    claim_template_name: ResourceName | None = None
    """ResourceClaimTemplate for dynamic resource allocation."""


ResourceAmounts = Annotated[dict[str, Quantity], max_properties(16)]


class Resources(BaseModel):
    """What the engine's container asks for."""

    model_config = shape()

    requests: ResourceAmounts = Field(default_factory=dict)
    """Guaranteed amounts; quote those with a decimal point."""
    limits: ResourceAmounts = Field(default_factory=dict)
    """Upper bounds."""
