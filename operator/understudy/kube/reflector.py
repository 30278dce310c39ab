"""List and watch of one kind, kept true through everything that happens to a watch.

```
        ┌──── watch from the beginning: what there is, one by one, trimmed and delivered as it arrives ◄──┐
        ▼                                                                                                 │
   retain(names): what vanished meanwhile is deleted (no ghosts)                    410 Gone, or an event │
        │                                                                           that makes no sense   │
        ▼                                                                                                 │
   what happens, or a watch from the last resourceVersion ── event, bookmark ──► sink, freshness ─────────┤
        ▲                                                                                                 │
        └──────── end of stream, silence, reset: resume, no relist ───────────────────────────────────────┘
```
An API server tells what there is from its own memory and as fast as it is read; pages of a list of a kind at rest it
would read and decode from its database, for three times as long. One that knows no such watch (its gate WatchList is
off) is asked for the pages.

A watch that says nothing for longer than bookmarks may take to come (one a minute) is dropped and
resumed: a server that is being killed keeps old connections open and silent.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Protocol

from understudy.kube.client import KubeClient, Object, Scope, WatchEvent
from understudy.kube.errors import ApiError, Gone, Retry, Terminal
from understudy.kube.trim import trim

log = logging.getLogger(__name__)

SILENCE = 75.0  # seconds; bookmarks come every 60
PAGE = 200  # objects; a dozen kinds are listed at the same time, and what a page takes while it is read stays taken
_MOMENT = 1.0  # seconds by which silence may be noticed late: a timer for each of thousands of events costs more
_WATCH_SECONDS = (240, 360)
_BACKOFF = (0.2, 5.0)  # seconds, first and last


class Sink(Protocol):
    """Where a reflector puts what it learns; called in the event loop, never concurrently for one scope."""

    def retain(self, scope: Scope, names: set[tuple[str, str]]) -> None:
        """The scope holds these objects (namespace, name) and no others."""
        ...

    def upsert(self, scope: Scope, obj: dict[str, Any]) -> None:
        """An object of the scope is new or has changed."""
        ...

    def remove(self, scope: Scope, obj: dict[str, Any]) -> None:
        """An object has left the scope; `obj` is its last state."""
        ...


class Reflector:
    """Keeps a sink equal to one scope of the cluster, for as long as `run` runs."""

    def __init__(
        self, client: KubeClient, scope: Scope, sink: Sink, *, monotonic: Callable[[], float], page_size: int = PAGE
    ) -> None:
        self.scope = scope
        self.synced = asyncio.Event()
        self._client = client
        self._sink = sink
        self._monotonic = monotonic
        self._page_size = page_size
        self._version = ""
        self._pages = False
        self._heard_at = monotonic()
        self._backoff = _BACKOFF[0]

    @property
    def age(self) -> float:
        """Seconds since the API server last said anything about this scope."""
        return self._monotonic() - self._heard_at

    async def run(self) -> None:
        """List and watch until cancelled; no failure of the API server ends it."""
        while True:
            try:
                if self._pages and not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                if self._version or self._pages or not isinstance(error.failure, Terminal):
                    await self._recover(error)
                else:
                    self._ask_for_pages(error.message)
            except TimeoutError:
                if self._version:
                    log.info("watch of %s fell silent; resuming", self._name)
                else:
                    self._ask_for_pages("silence")

    @property
    def _name(self) -> str:
        return f"{self.scope.resource.plural} in {self.scope.namespace or 'all namespaces'}"

    async def _list(self) -> None:
        present: set[tuple[str, str]] = set()
        version, token = await self._take(present, "")
        while token:
            version, token = await self._take(present, token)
        self._complete(present)
        self._heard(version)

    def _complete(self, present: set[tuple[str, str]]) -> None:
        self._sink.retain(self.scope, present)
        self.synced.set()

    def _ask_for_pages(self, why: str) -> None:
        """From now on: the answer to a watch from the beginning was not what there is."""
        log.info("%s cannot be watched from the beginning, and is listed: %s", self._name, why)
        self._pages = True

    async def _take(self, present: set[tuple[str, str]], token: str) -> tuple[str, str]:
        """Deliver one page; its version, and the token of the next one. Of the page nothing stays while that comes."""
        page = await self._client.list_page(self.scope, limit=self._page_size, continue_token=token)
        for item in page.items:
            self._sink.upsert(self.scope, trim(self.scope.resource, item))
            present.add(_name(item))
        return page.resource_version, page.continue_token

    async def _watch(self) -> None:
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - spreads reconnects, no secret
        stream = self._client.watch(self.scope, resource_version=self._version, timeout_seconds=seconds)
        began = self._monotonic()
        # What there is, as far as it has been told; None when all has. Until then nothing can be resumed.
        present = None if self._version else set[tuple[str, str]]()
        now = asyncio.get_running_loop().time
        async with aclosing(stream), asyncio.timeout(SILENCE) as silence:
            async for event in stream:
                if now() + SILENCE - (silence.when() or 0.0) > _MOMENT:
                    silence.reschedule(now() + SILENCE)
                if event.type != "BOOKMARK":
                    self._deliver(event.type, event.object)
                if present is not None:
                    present = self._told(present, event)
                self._heard(event.object["metadata"]["resourceVersion"] if present is None else "")
        # A server under load closes fresh watches by plain end of stream; do not answer with a storm.
        if self._monotonic() - began < 1.0:
            await self._pause()

    def _told(self, present: set[tuple[str, str]], event: WatchEvent) -> set[tuple[str, str]] | None:
        """What is known to be there after this event of a beginning; None if that was its end."""
        if event.type == "BOOKMARK":
            if not event.ends_beginning:
                return present
            self._complete(present)
            return None
        (present.discard if event.type == "DELETED" else present.add)(_name(event.object))
        return present

    def _deliver(self, kind: str, obj: Object) -> None:
        trimmed = trim(self.scope.resource, obj)
        if kind == "DELETED":
            self._sink.remove(self.scope, trimmed)
        else:
            self._sink.upsert(self.scope, trimmed)

    def _heard(self, version: str) -> None:
        self._version = version
        self._heard_at = self._monotonic()
        self._backoff = _BACKOFF[0]

    async def _recover(self, error: ApiError) -> None:
        if isinstance(error.failure, Gone):
            log.info("watch of %s is too old; listing again", self._name)
            if self._version:
                # A watch has been answered, so the server is there. A list that is gone between its pages waits longer.
                self._backoff = _BACKOFF[0]
            self._version = ""
        elif not isinstance(error.failure, Retry):
            log.warning("cannot read %s: %s", self._name, error)
            self._version = ""
        else:
            log.info("reading %s: %s", self._name, error)
        await self._pause(error.failure.after if isinstance(error.failure, Retry) and error.status == 429 else 0.0)

    async def _pause(self, at_least: float = 0.0) -> None:
        wait = max(self._backoff, at_least)
        self._backoff = min(self._backoff * 2, _BACKOFF[1])
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
