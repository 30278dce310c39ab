"""Model: weights, where they come from, and what they are for."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from understudy.api.v1alpha1.markers import LIST_SET, WHOLE, Cel, list_map, stored_as
from understudy.api.v1alpha1.metadata import (
    UNOBSERVED,
    ApiVersion,
    Conditions,
    KeyReference,
    LocalReference,
    ObjectMeta,
)
from understudy.api.v1alpha1.scalars import AbsolutePath, Label, ResourceName, Text
from understudy.api.v1alpha1.shape import shape


class HuggingFaceSource(BaseModel):
    """Weights in a Hugging Face repository."""

    model_config = shape()

    repo: Annotated[str, Field(pattern="^[A-Za-z0-9][-A-Za-z0-9._]*(/[-A-Za-z0-9._]+)?$", max_length=193)]
    """Repository, such as Qwen/Qwen3-8B. Cannot be changed."""
    revision: Annotated[str, Field(pattern="^[A-Za-z0-9][-A-Za-z0-9._/]*$", max_length=128)]
    """Commit (or tag). An edit is a new target for every deployment that refers to this Model."""
    token_secret_ref: KeyReference | None = None
    """Secret with the token for gated repositories."""


class PvcSource(BaseModel):
    """Weights on a PersistentVolumeClaim."""

    model_config = shape()

    claim_name: ResourceName
    """Claim in the same namespace. Cannot be changed."""
    path: Annotated[str, Field(pattern="^[^/]", max_length=1024)] | None = None
    """Folder within the volume, relative; its root otherwise. Cannot be changed."""


class ImageSource(BaseModel):
    """Weights in an OCI image, mounted as a volume (Kubernetes 1.35)."""

    model_config = shape()

    reference: Annotated[str, Field(min_length=1, max_length=512)]
    """Image; a digest is recommended. An edit is a new target for every deployment that refers to this Model."""
    path: AbsolutePath | None = None
    """Folder within the image; its root otherwise. Cannot be changed."""


class S3Source(BaseModel):
    """Weights in an S3 bucket."""

    model_config = shape()

    uri: Annotated[str, Field(pattern="^s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9](/.*)?$", max_length=1024)]
    """Bucket and path. Cannot be changed."""
    endpoint: Annotated[str, Field(pattern="^https?://", max_length=512)] | None = None
    """Address of a store that is not Amazon's."""
    secret_ref: LocalReference | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""


_ONE_SOURCE = Cel(
    "[has(self.huggingFace), has(self.pvc), has(self.image), has(self.enginePath), has(self.s3)]"
    ".filter(x, x).size() == 1",
    "write exactly one of huggingFace, pvc, image, enginePath, s3",
)


class Source(BaseModel):
    """Where weights are; exactly one of the blocks."""

    model_config = shape(_ONE_SOURCE)

    hugging_face: HuggingFaceSource | None = None
    """A Hugging Face repository."""
    pvc: PvcSource | None = None
    """A PersistentVolumeClaim in the same namespace."""
    image: ImageSource | None = None
    """An OCI image."""
    engine_path: AbsolutePath | None = None
    """A path that is already inside the engine image."""
    s3: S3Source | None = None
    """An S3 bucket."""


def _fixed(block: str, field: str) -> Cel:
    path = f"{block}.{field}"
    same = f"has(self.{path}) == has(oldSelf.{path}) && (!has(self.{path}) || self.{path} == oldSelf.{path})"
    return Cel(
        f"!has(self.{block}) || !has(oldSelf.{block}) || ({same})",
        f"{path} cannot be changed: make another Model and refer to it",
    )


# Rules of the field, not of the class: an adapter's source may change, and transition rules are
# not allowed inside lists.
_SOURCE_STAYS = (
    Cel(
        "has(self.huggingFace) == has(oldSelf.huggingFace) && has(self.pvc) == has(oldSelf.pvc)"
        " && has(self.image) == has(oldSelf.image) && has(self.enginePath) == has(oldSelf.enginePath)"
        " && has(self.s3) == has(oldSelf.s3)",
        "the kind of source cannot be changed: make another Model and refer to it",
    ),
    _fixed("huggingFace", "repo"),
    _fixed("pvc", "claimName"),
    _fixed("pvc", "path"),
    _fixed("image", "path"),
    _fixed("s3", "uri"),
    Cel(
        "!has(self.enginePath) || !has(oldSelf.enginePath) || self.enginePath == oldSelf.enginePath",
        "enginePath cannot be changed: make another Model and refer to it",
    ),
)


class Adapter(BaseModel):
    """A LoRA adapter that is loaded beside the weights."""

    model_config = shape()

    name: Label
    """Clients ask for it as `<served name>:<adapter>`."""
    source: Source
    """Where its weights are."""


class ModelSpec(BaseModel):
    """Weights, and what they are for."""

    model_config = shape()

    source: Annotated[Source, *_SOURCE_STAYS]
    """Where the weights are."""
    tasks: Annotated[tuple[Label, ...], Field(max_length=16), LIST_SET] = ()
    """What the model is for, such as chat or story."""
    context_length: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Longest prompt and answer together, in tokens; read from the weights' configuration otherwise."""
    adapters: Annotated[tuple[Adapter, ...], Field(max_length=16), list_map("name")] = ()
    """LoRA adapters. An edit is a new target for every deployment that refers to this Model."""


class ResolvedModel(BaseModel):
    """What the weights turned out to be."""

    model_config = shape()

    revision: Text | None = None
    """Commit, digest or version."""
    digest: Text | None = None
    """Content hash, where the source knows one."""
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    """Size of the weights in bytes."""
    parameters: Annotated[int, Field(ge=0)] | None = None
    """Number of parameters."""
    context_length: Annotated[int, Field(ge=0)] | None = None
    """Longest context in tokens."""
    dtype: Annotated[str, Field(max_length=32)] | None = None
    """Type of the weights."""


class ModelStatus(BaseModel):
    """What is known about the weights."""

    model_config = shape()

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status judges."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled."""
    resolved: ResolvedModel | None = None
    """What the weights turned out to be."""
    used_by: Annotated[tuple[ResourceName, ...], Field(max_length=100), LIST_SET] = ()
    """ModelDeployments that refer to it."""


class Model(BaseModel):
    """Weights of a language model: where they come from and what they are for."""

    model_config = shape()

    api_version: ApiVersion = "understudy.dev/v1alpha1"
    kind: Literal["Model"] = "Model"
    metadata: ObjectMeta
    spec: ModelSpec
    """What is wanted."""
    status: Annotated[ModelStatus | None, stored_as(UNOBSERVED), WHOLE] = None
    """What is."""
