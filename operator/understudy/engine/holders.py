"""Who holds which accelerators: counted from the pods of everybody, when a rollout looks for places.

Nothing is watched for it: pods of others are many, change all the time, and matter for one sentence of a rollout that
waits. The nodes that offer the resource are asked for their pods, by node, which the API server has an index for.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from understudy.domain.key import Key
from understudy.domain.names import LABEL_REVISION
from understudy.engine.cache import Cache
from understudy.kube.client import KubeClient, Object, Scope
from understudy.kube.errors import ApiError
from understudy.kube.resources import MODEL_DEPLOYMENT, NODE, POD
from understudy.plan.fit import pieces, wanted_by

log = logging.getLogger(__name__)

FRESH: Final = 15.0  # seconds that an answer is good for
# On more nodes than this the question would cost more than the sentence is worth.
MAX_NODES: Final = 200
_TOGETHER: Final = 8

Taken = Mapping[str, Mapping[str, int]]


@dataclass(slots=True)
class Holders:
    """Asks, and remembers the answer for a while for all deployments alike. Off without nodes in the cache."""

    client: KubeClient
    cache: Cache
    monotonic: Callable[[], float]
    _known: dict[str, tuple[float, Taken | None]] = field(default_factory=dict)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, key: Key) -> Taken | None:
        """Accelerators held on each node that has some; None if nobody needs to know, or it cannot be known."""
        if not self.cache.any(NODE):
            return None
        deployment = self.cache.get(MODEL_DEPLOYMENT, key.namespace, key.name)
        resource = resource_of(deployment)
        if not resource or deployment is None or not self._looks_for_places(key, deployment):
            return None
        async with self._asking:
            at, found = self._known.get(resource, (float("-inf"), None))
            if self.monotonic() - at >= FRESH:
                found = await self._ask(resource)
                self._known[resource] = (self.monotonic(), found)
        return found

    def _looks_for_places(self, key: Key, deployment: Object) -> bool:
        status = deployment.get("status") or {}
        candidate = status.get("candidate")
        if not candidate or status.get("phase") not in ("Preparing", "Shadow", "Canary"):
            return False
        pods = [p for p in self.cache.children(POD, key) if p["metadata"]["labels"].get(LABEL_REVISION) == candidate]
        return not pods or not all(pod["spec"].get("nodeName") for pod in pods)

    async def _ask(self, resource: str) -> Taken | None:
        try:
            return await taken(self.client, self.cache.all(NODE), resource)
        except ApiError as error:
            log.info("who holds %s is not known: %s", resource, error)
            return None


def resource_of(deployment: Object | None) -> str:
    """The accelerator that nodes count and the deployment asks for; "" if there is none."""
    accelerator = ((deployment or {}).get("spec") or {}).get("accelerator") or {}
    return str(accelerator.get("resource") or "")


async def taken(client: KubeClient, nodes: Iterable[Object], resource: str) -> Taken | None:
    """Accelerators that pods hold on the nodes that offer `resource`; None if there are none, or too many. ApiError."""
    offering = [str(n["metadata"]["name"]) for n in nodes if _offers(n, resource)]
    if not 0 < len(offering) <= MAX_NODES:
        return None
    found: dict[str, Mapping[str, int]] = {}
    for start in range(0, len(offering), _TOGETHER):
        some = offering[start : start + _TOGETHER]
        held = await asyncio.gather(*(_held(client, node) for node in some))
        found.update(zip(some, held, strict=True))
    return found


def _offers(node: Object, resource: str) -> bool:
    return pieces(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0)) > 0


async def _held(client: KubeClient, node: str) -> dict[str, int]:
    selector = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    total: dict[str, int] = {}
    token = ""
    while True:
        page = await client.list_page(Scope(POD, field_selector=selector), continue_token=token)
        _add(total, page.items)
        token = page.continue_token
        if not token:
            return total


def _add(total: dict[str, int], pods: Sequence[Object]) -> None:
    for pod in pods:
        for resource, count in wanted_by(pod).items():
            total[resource] = total.get(resource, 0) + count
