"""Keeps up with lists of the API server: lists, then watches, whatever becomes of the server.

What was heard last stays true until something else is heard: nothing here forgets because nobody answers.
"""

import asyncio
import logging
import random
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from understudy.gateway import kubeapi

LOG: Final = logging.getLogger(__name__)
_PAGE: Final = "500"
_STALE_SECONDS: Final = 90.0
_WATCH_SECONDS: Final = "300"
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 5.0


class Kind(Protocol):
    """What is done with the objects of one list: `known` are the (namespace, name) that the world has of it."""

    def known(self) -> set[tuple[str, str]]:
        """Objects that the world knows."""

    def put(self, item: dict[str, Any]) -> None:
        """An object as it is now."""

    def gone(self, namespace: str, name: str) -> None:
        """An object that is no more."""


class Reflector:
    """Follows lists of one API server."""

    def __init__(self, server: kubeapi.ApiServer) -> None:
        self._server = server

    async def _follow(self, path: str, query: dict[str, str], kind: Kind) -> None:
        """Follow one list until cancelled."""
        backoff = _FIRST_BACKOFF
        version = ""
        first = True
        while True:
            try:
                if not version:
                    version = await self._list(path, query, kind)
                    self._hears(path)
                    backoff = _FIRST_BACKOFF
                    if first:
                        first = False
                        self._listed()
                async for event in self._watch(path, query, version):
                    self._hears(path)
                    version = self._apply(kind, event) or version
                    backoff = _FIRST_BACKOFF
            except kubeapi.ApiError as error:
                # 410: what happened since is forgotten there; only a new list tells.
                version = "" if error.status in (410, 404, 400) else version
                LOG.log(logging.INFO if error.status == 410 else logging.WARNING, "%s: %s", path, error)
            except OSError as error:
                LOG.warning("%s: %s", path, error or type(error).__name__)
            except (KeyError, TypeError, ValueError, AttributeError):
                # Not an object of its kind: nothing that comes from outside may end the process.
                version = ""
                LOG.exception("%s: an object that cannot be read", path)
            await asyncio.sleep(backoff * (0.5 + random.random()))  # noqa: S311  # jitter
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def _hears(self, path: str) -> None:
        """Something has come of a list."""

    def _listed(self) -> None:
        """A list has come for the first time."""

    def _changed(self) -> None:
        """Objects have come, or are gone."""

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


def _name(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
