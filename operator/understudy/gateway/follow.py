"""Follows the cluster: lists, then watches, and turns what changed into routes within the same turn of the loop.

Whatever the API server does (goes away, forgets, falls silent), the last known world keeps serving.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from understudy.domain.names import API_VERSION, LABEL_ACCESS_KEY, LABEL_DEPLOYMENT, MASTER_KEY_SECRET
from understudy.gateway import kubeapi
from understudy.gateway.objects import SERVICE_LABEL, AccessKeys, Gateways, MasterKey, Slices, Tables
from understudy.gateway.snapshot import dump, write_file
from understudy.gateway.wire.plane import Plane
from understudy.gateway.world import World

if TYPE_CHECKING:
    from understudy.gateway.process import Settings

LOG: Final = logging.getLogger(__name__)
_PAGE: Final = "500"
_STALE_SECONDS: Final = 90.0
_WATCH_SECONDS: Final = "300"
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0
_SAVE_DELAY: Final = 1.0
_EXPIRY_PERIOD: Final = 1.0


class Kind(Protocol):
    """What is done with the objects of one list: `known` are the (namespace, name) that the world has of it."""

    def known(self) -> set[tuple[str, str]]:
        """Objects that the world knows."""

    def put(self, item: dict[str, Any]) -> None:
        """An object as it is now."""

    def gone(self, namespace: str, name: str) -> None:
        """An object that is no more."""


class Follower:
    """Keeps one world up to date from one API server; `changed` is called when there are new routes."""

    def __init__(
        self,
        server: kubeapi.ApiServer,
        world: World,
        plane: Plane,
        settings: "Settings",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._server = server
        self._world = world
        self._plane = plane
        self._settings = settings
        self._routes_changed = changed
        self._unlisted = 0
        self._ready: Callable[[], None] = lambda: None
        self._compiling = False
        self._unsaved = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow until cancelled; `ready` is called once everything has been listed for the first time."""
        self._ready = ready
        followed = self._followed()
        self._unlisted = len(followed)
        async with asyncio.TaskGroup() as tasks:
            for path, query, kind in followed:
                tasks.create_task(self._follow(path, query, kind))
            tasks.create_task(self._expire())
            if self._settings.state_file is not None:
                tasks.create_task(self._save())

    def _followed(self) -> list[tuple[str, dict[str, str], Kind]]:
        world, own = self._world, self._settings.system_namespace
        secrets = f"/api/v1/namespaces/{own}/secrets"
        followed: list[tuple[str, dict[str, str], Kind]] = [
            (secrets, {"labelSelector": f"{LABEL_ACCESS_KEY}=true"}, AccessKeys(world)),
            (secrets, {"fieldSelector": f"metadata.name={MASTER_KEY_SECRET}"}, MasterKey(world)),
        ]
        service = self._settings.gateway_service
        if service:
            slices = f"/apis/discovery.k8s.io/v1/namespaces/{own}/endpointslices"
            followed.append((slices, {"labelSelector": f"{SERVICE_LABEL}={service}"}, Gateways(world)))
        for namespace in self._settings.watch_namespaces or ("",):
            within = f"/namespaces/{namespace}" if namespace else ""
            tables = f"/apis/{API_VERSION}{within}/routingtables"
            slices = f"/apis/discovery.k8s.io/v1{within}/endpointslices"
            followed.append((tables, {}, Tables(world, self._plane.clock, namespace)))
            followed.append((slices, {"labelSelector": LABEL_DEPLOYMENT}, Slices(world, namespace)))
        return followed

    async def _follow(self, path: str, query: dict[str, str], kind: Kind) -> None:
        backoff = _FIRST_BACKOFF
        version = ""
        first = True
        while True:
            try:
                if not version:
                    version = await self._list(path, query, kind)
                    self._plane.heard[path] = self._plane.clock()
                    backoff = _FIRST_BACKOFF
                    if first:
                        first = False
                        self._listed()
                async for event in self._watch(path, query, version):
                    self._plane.heard[path] = self._plane.clock()
                    version = self._apply(kind, event) or version
                    backoff = _FIRST_BACKOFF
            except kubeapi.ApiError as error:
                # 410: what happened since is forgotten there; only a new list tells.
                version = "" if error.status in (410, 404, 400) else version
                LOG.log(logging.INFO if error.status == 410 else logging.WARNING, "%s: %s", path, error)
            except OSError as error:
                LOG.warning("%s: %s", path, error or type(error).__name__)
            except (KeyError, TypeError, ValueError, AttributeError):
                # Not an object of its kind: nothing that comes from outside may end the gateway.
                version = ""
                LOG.exception("%s: an object that cannot be read", path)
            await asyncio.sleep(backoff * (0.5 + random.random()))  # noqa: S311  # jitter
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def _watch(self, path: str, query: dict[str, str], version: str) -> Any:
        question = {**query, "resourceVersion": version, "timeoutSeconds": _WATCH_SECONDS}
        return kubeapi.watch(self._server, path, question, _STALE_SECONDS)

    async def _list(self, path: str, query: dict[str, str], kind: Kind) -> str:
        """List everything, page by page; the version to watch from."""
        gone = kind.known()
        items: list[dict[str, Any]] = []
        question = {**query, "limit": _PAGE}
        while True:
            page = await kubeapi.request(self._server, "GET", f"{path}?{urlencode(question)}")
            items += page.get("items") or ()
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                break
            question["continue"] = metadata["continue"]
        for item in items:
            gone.discard(_name(item))
            kind.put(item)
        for namespace, name in gone:
            kind.gone(namespace, name)
        self._changed()
        return str(metadata.get("resourceVersion", ""))

    def _apply(self, kind: Kind, event: dict[str, Any]) -> str:
        """Take one event; the version that it brings."""
        item = event["object"]
        if event["type"] == "DELETED":
            kind.gone(*_name(item))
            self._changed()
        elif event["type"] != "BOOKMARK":
            kind.put(item)
            self._changed()
        return str(item["metadata"].get("resourceVersion", ""))

    def _listed(self) -> None:
        self._unlisted -= 1
        if not self._unlisted:
            self.compile()
            self._ready()

    def _changed(self) -> None:
        # Events that arrive together are compiled together.
        if not self._compiling:
            self._compiling = True
            asyncio.get_running_loop().call_soon(self.compile)

    def compile(self) -> None:
        """Serve by what is known now."""
        self._compiling = False
        self._world.compile()
        self._plane.rerouted()
        self._routes_changed()
        self._unsaved.set()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_PERIOD)
            if self._world.expire(self._plane.clock()):
                self._changed()

    async def _save(self) -> None:
        """Keep the file up to date, at most once a second, off the loop."""
        path = self._settings.state_file
        while path is not None:
            await self._unsaved.wait()
            await asyncio.sleep(_SAVE_DELAY)
            self._unsaved.clear()
            if self._unlisted:
                # Half a world must not replace a whole one.
                continue
            try:
                await asyncio.to_thread(write_file, path, dump(self._world))
            except OSError as error:
                LOG.warning("cannot keep the snapshot: %s", error)


def _name(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
