"""The API server as plainly as Python can speak to it: what the operator's own client is compared with."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

Object = dict[str, Any]
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
JSON_PATCH = "application/json-patch+json"


class RefusedError(Exception):
    """The API server does not want it, or not `passing`; the message says what was asked and what it said."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.passing = status == 429 or status >= 500


class Api:
    """Requests on plain dicts as one user; an answer outside 200 to 299 raises RefusedError with its words."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext | bool, connections: int) -> None:
        self._url, self._token, self._context = url, token, context
        self._gate = asyncio.Semaphore(connections)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        headers = {"Authorization": f"Bearer {self._token}"}
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def trust(self, context: ssl.SSLContext | bool) -> None:
        """Check the server by another certificate from now on."""
        self._context = context

    async def get(self, path: str) -> Object:
        """Read; text that is no JSON comes back under the name `text`."""
        return await self.call("GET", path)

    async def create(self, path: str, obj: Object) -> Object:
        """Create in a collection."""
        return await self.call("POST", path, orjson.dumps(obj))

    async def merge(self, path: str, patch: Object) -> Object:
        """Merge patch."""
        return await self.call("PATCH", path, orjson.dumps(patch), MERGE)

    async def delete(self, path: str) -> Object:
        """Delete at once; fine when it is gone."""
        return await self.call("DELETE", path, orjson.dumps({"gracePeriodSeconds": 0}), also=404)

    async def call(
        self, method: str, path: str, body: bytes | None = None, content_type: str = JSON, also: int = 0
    ) -> Object:
        """One request, one of at most `connections` at a time."""
        headers = {"Content-Type": content_type, "Accept": JSON}
        async with (
            self._gate,
            self._session.request(method, self._url + path, data=body, headers=headers, ssl=self._context) as answer,
        ):
            data = await answer.read()
            if answer.status >= 300 and answer.status != also:
                raise RefusedError(
                    f"{method} {path}: {answer.status} {data[:500].decode(errors='replace')}", answer.status
                )
        try:
            parsed: Object = orjson.loads(data)
        except orjson.JSONDecodeError:
            parsed = {"text": data.decode()}
        return parsed

    async def follow(self, path: str, selector: str = "") -> AsyncIterator[tuple[str, Object]]:
        """Every object of a collection, then every event, for ever: (ADDED, MODIFIED or DELETED, object)."""
        version, token = "", ""
        while True:
            if not version:
                page = await self.get(f"{path}?labelSelector={selector}&limit=500&continue={token}")
                for item in page["items"]:
                    yield "ADDED", item
                token = page["metadata"].get("continue") or ""
                version = "" if token else page["metadata"]["resourceVersion"]
                continue
            async for event in self._watch(f"{path}?labelSelector={selector}&watch=1&resourceVersion={version}"):
                # Too old for a server that has only just begun to watch this kind: list again.
                version = event["object"]["metadata"].get("resourceVersion", "")
                if event["type"] != "ERROR":
                    yield event["type"], event["object"]

    async def _watch(self, path: str) -> AsyncIterator[Object]:
        async with self._session.get(self._url + path, ssl=self._context, read_bufsize=2**22) as answer:
            if answer.status == 429:  # a kind that is new has to be read first
                await asyncio.sleep(0.2)
                return
            if answer.status >= 300:
                raise RefusedError(f"GET {path}: {answer.status}", answer.status)
            async for line in answer.content:
                event: Object = orjson.loads(line)
                yield event


def client_context(authority: Path) -> ssl.SSLContext | bool:
    """Trust in the certificate that the API server made for itself; none while there is none."""
    return ssl.create_default_context(cafile=str(authority)) if authority.exists() else True
