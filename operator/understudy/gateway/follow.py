"""Follows the cluster, and turns what changed into routes within the same turn of the loop.

Whatever the API server does (goes away, forgets, falls silent), the last known world keeps serving.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from understudy.domain.names import API_VERSION, LABEL_ACCESS_KEY, LABEL_DEPLOYMENT, MASTER_KEY_SECRET
from understudy.gateway import kubeapi
from understudy.gateway.objects import SERVICE_LABEL, AccessKeys, Gateways, MasterKey, Slices, Tables
from understudy.gateway.reflect import Kind, Reflector
from understudy.gateway.snapshot import dump, write_file
from understudy.gateway.wire.plane import Plane
from understudy.gateway.world import World

if TYPE_CHECKING:
    from understudy.gateway.process import Settings

LOG: Final = logging.getLogger(__name__)
_SAVE_DELAY: Final = 1.0
_EXPIRY_PERIOD: Final = 1.0


class Follower(Reflector):
    """Keeps one world up to date from one API server; `changed` is called when there are new routes."""

    def __init__(
        self,
        server: kubeapi.ApiServer,
        world: World,
        plane: Plane,
        settings: "Settings",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(server)
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

    def _hears(self, path: str) -> None:
        self._plane.heard[path] = self._plane.clock()

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
