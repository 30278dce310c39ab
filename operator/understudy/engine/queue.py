"""The work queue, with the semantics every Kubernetes controller relies on.

- A key waits at most once, however often it is added.
- At most one worker holds a key; a key added meanwhile is handed out again when that worker is done.
- A delayed add fires at the earliest of the times asked for; an add that fires now cancels it.
- Failures are re-added after a delay that doubles per key until `forget`.

Everything runs in one event loop: no locks, and time is the loop's, so tests run in virtual time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from understudy.telemetry.operator import OperatorMetrics

K = TypeVar("K", bound=Hashable)

_RETRY_FIRST = 0.05
_RETRY_LAST = 60.0


class ShutDownError(Exception):
    """The queue gives out no more keys."""


class WorkQueue(Generic[K]):
    """Keys that want attention, each at most once."""

    def __init__(self, metrics: OperatorMetrics) -> None:
        self._metrics = metrics
        self._ready: deque[K] = deque()
        self._added_at: dict[K, float] = {}  # waiting, whether in `_ready` or behind its own worker
        self._held: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._given = 0
        self._released = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Ask for a worker as soon as there is one."""
        if self._closed:
            return
        self._cancel_timer(key)
        if key in self._added_at:
            return
        self._metrics.queue_adds.inc()
        self._added_at[key] = _now()
        if key not in self._held:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a worker in `seconds`, or earlier if an earlier time was asked for already."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = _now() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._fire, key)

    def add_rate_limited(self, key: K, at_least: float = 0.0) -> None:
        """Ask again after a failure: 50 ms, doubling up to a minute, and never before `at_least` seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._metrics.queue_retries.inc()
        self.add_after(key, max(min(_RETRY_FIRST * 2 ** min(failures, 20), _RETRY_LAST), at_least))

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts with the shortest delay again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, once there is one; the caller must hand it back by `done`. Raises ShutDownError."""
        while not self._ready:
            if self._closed:
                raise ShutDownError
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif self._ready:
                    self._wake_one()  # this waiter was woken, then cancelled: pass it on
                raise
        if self._closed:
            raise ShutDownError
        key = self._ready.popleft()
        self._metrics.queue_depth.set(len(self._ready))
        self._metrics.queue_wait.observe(_now() - self._added_at.pop(key))
        self._held.add(key)
        self._given += 1
        return key

    def done(self, key: K) -> None:
        """The worker that got the key has finished with it."""
        self._held.discard(key)
        self._released.set()
        if key in self._added_at and not self._closed:
            self._push(key)

    def shut_down(self) -> None:
        """Give out no more keys; workers that wait end with ShutDownError."""
        self._closed = True
        for key in list(self._timers):
            self._cancel_timer(key)
        while self._waiters:
            self._wake_one()

    async def caught_up(self) -> None:
        """Wait until every key that waits for a worker now has been given to one."""
        last = self._given + len(self._ready)
        while self._given < last:
            self._released.clear()
            await self._released.wait()

    async def idle(self) -> None:
        """Wait until no worker holds a key; meant for after `shut_down`."""
        while self._held:
            self._released.clear()
            await self._released.wait()

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._metrics.queue_depth.set(len(self._ready))
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()


def from_other_thread(loop: asyncio.AbstractEventLoop, queue: WorkQueue[K]) -> Callable[[K], None]:
    """An `add` that other threads may call; after the loop is closed it does nothing."""

    def add(key: K) -> None:
        try:
            loop.call_soon_threadsafe(queue.add, key)
        except RuntimeError:
            if not loop.is_closed():
                raise

    return add
