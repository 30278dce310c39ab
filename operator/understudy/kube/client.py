"""The few calls on the API server that the operator makes, on plain dicts.

A protocol, so that the engine runs against the official client and against an in-memory server with
the same words. Every call raises `ApiError` and nothing else.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from understudy.kube.resources import Resource

Object = Mapping[str, Any]

_BEGINNING_ENDS: Final = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a kind to list and watch; an empty namespace means all of them."""

    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `continue_token` is empty on the last one."""

    items: tuple[Object, ...]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch; a BOOKMARK carries only `metadata.resourceVersion`, and whether it ends the beginning."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object

    @property
    def ends_beginning(self) -> bool:
        """All that there was when the watch began has been told."""
        return (self.object["metadata"].get("annotations") or {}).get(_BEGINNING_ENDS) == "true"


class KubeClient(Protocol):
    """Calls take at most ten seconds each, watches excepted."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object."""
        ...

    async def list_page(self, scope: Scope, *, limit: int = 500, continue_token: str = "") -> Page:
        """Read one page of a collection, at most `limit` objects."""
        ...

    def watch(self, scope: Scope, *, resource_version: str, timeout_seconds: int) -> AsyncGenerator[WatchEvent, None]:
        """Stream what happened after `resource_version`.

        Without one, what there is comes first, as ADDED, and a BOOKMARK that `ends_beginning` after it; a server that
        knows no such watch answers ApiError(Terminal).

        Ends without an error when the server closes the stream, at the latest after
        `timeout_seconds`; raises ApiError(Gone) when the version is too old.
        """
        ...

    async def apply(self, resource: Resource, obj: Object, *, manager: str, dry_run: bool = False) -> Object:
        """Server-side apply with force; returns the object as stored, or with `dry_run` as it would be.

        uid and resourceVersion in the object's metadata are conditions.
        """
        ...

    async def replace_status(self, resource: Resource, obj: Object, *, manager: str) -> Object:
        """Make an object's status what the argument says, whoever owns what is there; never creates.

        uid and resourceVersion in the object's metadata are conditions.
        """
        ...

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Create; Conflict if it exists. With `dry_run` nothing is stored, and unknown fields are refused."""
        ...

    async def replace(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Replace the object whose resourceVersion the argument carries; `dry_run` as for `create`."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete in the background, on condition of uid and resourceVersion where given."""
        ...

    async def plurals(self, api_version: str) -> frozenset[str]:
        """Names of the collections that the API server serves in a group version; empty if it does not know it."""
        ...

    async def close(self) -> None:
        """Give back the connections."""
        ...
