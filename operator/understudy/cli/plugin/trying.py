"""What the API server would make of an object of the files: asked by dry run, nothing is stored."""

from dataclasses import dataclass
from typing import Any, Final

from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.manifests import Manifests
from understudy.cli.plugin.merging import merged
from understudy.kube.client import Object
from understudy.kube.errors import ApiError, NotFound, Terminal
from understudy.kube.resources import Resource

_MANAGER: Final = "kubectl"  # of `kubectl apply --server-side`


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
            return Tried(
                live, _named(body), note=f"the API server was not asked whether it takes this: {error.message}"
            )
        if isinstance(error.failure, NotFound) and reader.namespace in files.namespaces:
            return Tried(live, _named(body), note=f"namespace {reader.namespace} does not exist yet; the files make it")
        if isinstance(error.failure, NotFound) and live is None:
            return Tried(live, _named(body), refusal=error.message)
        raise
    return Tried(live, _named(stored))


def _named(obj: Object) -> dict[str, Any]:
    """With what only stored objects have, for one that is not."""
    meta = {"uid": "not-stored", "resourceVersion": "0", "generation": 1, **obj["metadata"]}
    return {**obj, "metadata": meta}
