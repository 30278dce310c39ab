"""What the API server would make of an object of the files: asked by dry run, nothing is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from understudy.api.v1alpha1.guardrail import Guardrail
from understudy.api.v1alpha1.model import Model
from understudy.api.v1alpha1.modeldeployment import ModelDeployment
from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.manifests import Manifests
from understudy.cli.plugin.merging import merged
from understudy.kube.client import Object
from understudy.kube.errors import ApiError, NotFound, Terminal
from understudy.kube.resources import GUARDRAIL, MODEL, MODEL_DEPLOYMENT, Resource

_MANAGER: Final = "kubectl"  # of `kubectl apply --server-side`
_SHAPES: Final[Mapping[Resource, type[BaseModel]]] = {
    MODEL_DEPLOYMENT: ModelDeployment,
    MODEL: Model,
    GUARDRAIL: Guardrail,
}


@dataclass(frozen=True, slots=True)
class Tried:
    """`live` is what is stored now, `result` what would be, `refusal` why not ("" = it would)."""

    live: Object | None
    result: Object
    refusal: str = ""
    note: str = ""


async def tried(reader: Reader, resource: Resource, wanted: Object, files: Manifests, *, server_side: bool) -> Tried:
    """The object as an apply would store it. Without the right to apply it, as far as can be told without asking."""
    live = await reader.found(resource, wanted["metadata"]["name"])
    body = merged(live, wanted) if live is not None else {k: v for k, v in wanted.items() if k != "status"}
    try:
        if server_side:
            stored = await reader.client.apply(resource, wanted, manager=_MANAGER, dry_run=True)
        elif live is None:
            stored = await reader.client.create(resource, body, dry_run=True)
        else:
            stored = await reader.client.replace(resource, body, dry_run=True)
    except ApiError as error:
        if isinstance(error.failure, Terminal):
            return Tried(live, _named(body), refusal=error.message)
        if error.status == 403:
            note = f"the API server was not asked whether it takes this: {error.message}"
            return Tried(live, _named(body), _misshapen(resource, body), note)
        if isinstance(error.failure, NotFound) and reader.namespace in files.namespaces:
            note = f"namespace {reader.namespace} does not exist yet; the files make it"
            return Tried(live, _named(body), _misshapen(resource, body), note)
        if isinstance(error.failure, NotFound) and live is None:
            return Tried(live, _named(body), refusal=error.message)
        raise
    return Tried(live, _named(stored))


def _misshapen(resource: Resource, obj: Object) -> str:
    """What is wrong with an object that no API server has looked at, as far as its shape says; "" if nothing is."""
    try:
        _SHAPES[resource].model_validate(obj)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return ""


def _named(obj: Object) -> dict[str, Any]:
    """With what only stored objects have, for one that is not."""
    meta = {"uid": "not-stored", "resourceVersion": "0", "generation": 1, **obj["metadata"]}
    return {**obj, "metadata": meta}
