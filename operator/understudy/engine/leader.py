"""Leader election on a Lease: at most one process works, and each term has a number.

The number (the Lease's transitions) goes into everything that must outlive a deposed leader's late
write: a routing table with a lower epoch is refused by the gateways. Losing the Lease is harmless by
design (every write carries what was observed), so a short lease is safe: takeover comes first.

Time is monotonic and local: another process's clock is never read. A candidate counts a lease as
expired when it has not seen the record change for the lease's own duration, a minute at most.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError, Conflict, NotFound
from understudy.kube.resources import LEASE

log = logging.getLogger(__name__)

_LAST_EPOCH = 2**31 - 1  # of a Lease; a table may carry more
_LONGEST_CLAIM = 60.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds: a lease lives for `duration`, is renewed every `renew`, and given up after `deadline` without renewal.

    `deadline` below `duration` by more than one call's jitter keeps two terms from overlapping;
    `call` bounds each request, so that a stuck connection costs one try and not the term.
    """

    duration: float = 10.0
    renew: float = 2.0
    deadline: float = 8.0
    call: float = 4.0


class Elector:
    """Takes part in the election until cancelled."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        epoch_floor: Callable[[], int],
        times: LeaseTimes = LeaseTimes(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`epoch_floor` is the highest epoch that anything in the cluster carries: a Lease that was
        deleted and made again must not start a term below it.
        """
        self._client = client
        self._namespace, self._name, self._identity = namespace, name, identity
        self._epoch_floor = epoch_floor
        self._times = times
        self._monotonic = monotonic
        self._seen: tuple[str, str] = ("", "")  # holder and renewal stamp as last read
        self._seen_at = -1e9
        self._renewed_at = 0.0
        self._held: Object | None = None  # the Lease as our last write left it
        self.epoch = 0
        self.leading = False

    async def acquire(self) -> int:
        """Wait for the term to be ours; its epoch."""
        while True:
            began = self._monotonic()
            try:
                async with asyncio.timeout(self._times.call):
                    lease = await self._take_or_create()
                if lease is not None:
                    self.epoch, self.leading, self._renewed_at = _transitions(lease), True, began
                    log.info("leading as %s, epoch %d", self._identity, self.epoch)
                    return self.epoch
            except (ApiError, TimeoutError) as error:
                log.info("cannot read or take the lease: %s", _words(error))
            await asyncio.sleep(self._times.renew * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

    async def hold(self) -> str:
        """Renew until the term is lost; why it was lost."""
        why = await self._renew_until_lost()
        self.leading = False
        return why

    async def _renew_until_lost(self) -> str:
        renewed_at = began = self._renewed_at
        while True:
            await asyncio.sleep(max(0.0, began + self._times.renew - self._monotonic()))
            began = self._monotonic()
            left = renewed_at + self._times.deadline - began
            if left <= 0:
                return f"could not renew the lease for {self._times.deadline:g} s"
            try:
                async with asyncio.timeout(min(self._times.call, left)):
                    lease = await self._write(self._renew)
                if lease is None:
                    return "another process holds the lease"
                renewed_at = began
            except (ApiError, TimeoutError) as error:
                if isinstance(error, ApiError) and isinstance(error.failure, NotFound):
                    return "the lease was deleted"
                log.warning("cannot renew the lease: %s", _words(error))

    async def release(self) -> None:
        """Give the term back so that a standby need not wait for it to expire; failing to is harmless."""
        try:
            async with asyncio.timeout(self._times.call):
                await self._write(self._give_back)
        except (ApiError, TimeoutError) as error:
            log.warning("cannot release the lease: %s", _words(error))

    async def _write(self, change: Callable[[Object], dict[str, Any] | None]) -> Object | None:
        """Read the Lease and write what `change` makes of it; None when it is not ours to write.

        While nobody else writes it, our own last write says how it reads: half the calls, which is
        what keeps the term when the API server is slow.
        """
        known, self._held = self._held, None
        if known is not None:
            try:
                return await self._replace(known, change)
            except ApiError as error:
                if not isinstance(error.failure, Conflict):
                    raise
        lease = await self._client.get(LEASE, self._namespace, self._name)
        self._note(lease)
        return await self._replace(lease, change)

    async def _replace(self, lease: Object, change: Callable[[Object], dict[str, Any] | None]) -> Object | None:
        spec = change(lease)
        if spec is None:
            return None
        self._held = await self._client.replace(LEASE, {**lease, "spec": spec})
        return self._held

    async def _take_or_create(self) -> Object | None:
        try:
            return await self._write(self._take)
        except ApiError as error:
            if not isinstance(error.failure, NotFound):
                raise
        self._held = await self._client.create(LEASE, self._new())
        return self._held

    def _note(self, lease: Object) -> None:
        spec = lease.get("spec") or {}
        seen = (str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or ""))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._monotonic()

    def _take(self, lease: Object) -> dict[str, Any] | None:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        # Whoever leads renews often: a Lease that claims to last for years was not written by an operator.
        lasts = min(float(spec.get("leaseDurationSeconds") or self._times.duration), _LONGEST_CLAIM)
        if holder and self._monotonic() - self._seen_at < lasts:
            return None
        stamp = _stamp()
        return {**self._term(stamp), "acquireTime": stamp, "leaseTransitions": self._next_epoch(_transitions(lease))}

    def _renew(self, lease: Object) -> dict[str, Any] | None:
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") != self._identity or _transitions(lease) != self.epoch:
            return None
        return {**spec, **self._term(_stamp())}

    def _give_back(self, lease: Object) -> dict[str, Any] | None:
        spec = self._renew(lease)
        return spec and {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}

    def _new(self) -> dict[str, Any]:
        stamp = _stamp()
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {**self._term(stamp), "acquireTime": stamp, "leaseTransitions": self._next_epoch(0)},
        }

    def _term(self, stamp: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "renewTime": stamp,
        }

    def _next_epoch(self, current: int) -> int:
        # Above the last one the API server takes no Lease, and nobody could ever lead again.
        return min(max(current, self._epoch_floor()) + 1, _LAST_EPOCH)


def _words(error: Exception) -> str:
    return str(error) or "no answer in time"


def _transitions(lease: Object) -> int:
    return int((lease.get("spec") or {}).get("leaseTransitions") or 0)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
