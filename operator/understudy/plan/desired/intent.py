"""Which of a user's fields make a revision, and which are only recorded beside it.

Hashed are the fields as they were written: a default that improves with a release changes no hash.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from understudy.api.v1alpha1.model import ModelSpec, Source
from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.plan.desired.references import Reference

_HASHED: Final = frozenset({"engine", "accelerator", "resources", "podTemplate"})


def hashed_intent(spec: ModelDeploymentSpec, model: ModelSpec, references: tuple[Reference, ...]) -> dict[str, Any]:
    """The user's fields that shape the pod, and the content of what it consumes; empty fields are left out.

    Credentials for downloads are not among them: rotating a token restarts nothing.
    """
    engine = {**_filled(_written(spec.engine)), "type": spec.engine.type}
    accelerator = _written(spec.accelerator) if spec.accelerator else {}
    if spec.accelerator and spec.accelerator.resource:
        accelerator["count"] = spec.accelerator.count or 1
    if "products" in accelerator:
        accelerator["products"] = sorted(accelerator["products"])
    resolved = {
        "source": _source(model.source),
        "adapters": [{"name": adapter.name, "source": _source(adapter.source)} for adapter in model.adapters],
        "contextLength": model.context_length,
    }
    return _filled(
        {
            "engine": engine,
            "model": _filled(resolved),
            "accelerator": accelerator,
            "resources": _filled(_written(spec.resources)),
            "podTemplate": _filled(spec.pod_template),
            "references": {f"{r.kind}/{r.name}": r.hash for r in references},
        }
    )


def recorded(spec: ModelDeploymentSpec) -> dict[str, Any]:
    """The user's fields that start no pod, for the revision's story."""
    return {name: value for name, value in _written(spec).items() if name not in _HASHED}


def _source(source: Source) -> dict[str, Any]:
    written = _written(source)
    for block, credential in (("huggingFace", "tokenSecretRef"), ("s3", "secretRef")):
        if block in written:
            written[block] = {key: value for key, value in written[block].items() if key != credential}
    return written


def _written(model: BaseModel) -> dict[str, Any]:
    """What the user wrote, by the names of the manifest."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing: `args: []` is the same as no args."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, ())}
