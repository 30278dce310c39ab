"""Kubernetes events, deduplicated and slowed down: a plan may say the same thing every second.

A repeated event raises the count of the one object it already has, at most once a minute. Writing is
in the background: an event that is lost is a pity, a pass that waits for one is a fault.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from understudy.domain.names import MANAGER_CHILDREN
from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError
from understudy.kube.resources import EVENT
from understudy.plan.actions import Emit
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

_REPEAT_AFTER = 60.0  # seconds between two writes of the same event
_FORGET_AFTER = 600.0  # seconds of silence after which the same event counts from one again
_REMEMBERED = 4096
_WAITING = 512
_BURST = 20  # events per object, then one in fifteen seconds
_REFILL = 15.0
_MAX_MESSAGE = 1000  # the API server refuses more than 1,024 characters


@dataclass(slots=True)
class _Told:
    count: int
    first: float
    last: float
    written: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class EventRecorder:
    """Records events on objects; `run` writes them."""

    def __init__(
        self,
        client: KubeClient,
        instance: str,
        *,
        wall: Callable[[], float],
        metrics: OperatorMetrics,
    ) -> None:
        """`instance` names this process in the events."""
        self._client = client
        self._instance = instance
        self._wall = wall
        self._metrics = metrics
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)

    def record(self, about: Object, emit: Emit) -> None:
        """Say it, unless it was just said, or too much is being said about this object."""
        now = self._wall()
        uid = about["metadata"].get("uid", "")
        name = hashlib.sha256(f"{uid}\x00{emit.type}\x00{emit.reason}\x00{emit.message}".encode()).hexdigest()[:16]
        told = self._told.get(name)
        if told is None or now - told.last > _FORGET_AFTER:
            told = self._told[name] = _Told(0, now, now, float("-inf"))
        told.count += 1
        told.last = now
        self._told.move_to_end(name)
        if now - told.written < _REPEAT_AFTER:
            self._metrics.events.labels("repeated").inc()
        elif self._waiting.full() or not self._allowed(uid, now):
            self._metrics.events.labels("dropped").inc()
        else:
            told.written = now
            self._waiting.put_nowait(self._event(about, emit, name, told))
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    async def run(self) -> None:
        """Write what was recorded, until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._client.apply(EVENT, event, manager=MANAGER_CHILDREN)
                self._metrics.events.labels("written").inc()
            except ApiError as error:
                self._metrics.events.labels("failed").inc()
                log.info("cannot write an event: %s", error)

    def _allowed(self, uid: str, now: float) -> bool:
        bucket = self._buckets.setdefault(uid, _Bucket(_BURST, now))
        self._buckets.move_to_end(uid)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) / _REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _event(self, about: Object, emit: Emit, name: str, told: _Told) -> dict[str, Any]:
        meta = about["metadata"]
        namespace = meta.get("namespace", "default")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{name}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": meta.get("namespace", ""),
                "name": meta["name"],
                "uid": meta.get("uid", ""),
            },
            "type": emit.type,
            "reason": emit.reason,
            "message": emit.message[:_MAX_MESSAGE],
            "count": told.count,
            "firstTimestamp": _stamp(told.first),
            "lastTimestamp": _stamp(told.last),
            "source": {"component": "understudy", "host": self._instance},
            "reportingComponent": "understudy.dev/operator",
            "reportingInstance": self._instance,
        }


def _stamp(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
