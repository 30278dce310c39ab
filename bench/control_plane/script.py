"""What the operator writes for one deployment, word for word, and a bare client that writes the same for many.

The first is read from the audit log of a rehearsal. In the second nobody decides, watches or waits: it shows what the
API server takes for these writes.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bench.control_plane.api import APPLY, JSON_PATCH, Api, Object, RefusedError
from bench.control_plane.audit import Call, writes
from bench.control_plane.servers import REHEARSED

NAME = "zz-name-zz0"  # as long as the names of the others
_UIDS = re.compile(r'"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')


@dataclass(frozen=True, slots=True)
class Line:
    """One patch: its path and body as rehearsed, and the uid that the rehearsal's answer gave the object."""

    content_type: str
    path: str
    body: str
    uid: str
    about: str

    def spoken(self, namespace: str, name: str, uids: dict[str, str]) -> tuple[str, bytes]:
        """Path and body for another deployment."""
        body = _UIDS.sub(lambda found: f'"{uids.get(found[1], found[1])}"', self.body)
        path = self.path.replace(REHEARSED, namespace).replace(NAME, name)
        return path, body.replace(REHEARSED, namespace).replace(NAME, name).encode()


def lines(calls: Sequence[Call]) -> list[Line]:
    """The script of the rehearsal's writes; up to the first promotion they are patches, all of them."""
    return [_line(call) for call in writes(calls) if call.namespace == REHEARSED]


class Player:
    """Writes scripts for many deployments, `workers` at a time, each deployment's lines in order."""

    def __init__(self, api: Api, rehearsed_uid: str, workers: int) -> None:
        self._api, self._rehearsed, self._workers = api, rehearsed_uid, workers
        self._uids: dict[tuple[str, str], dict[str, str]] = {}

    async def play(self, script: Sequence[Line], uids: dict[tuple[str, str], str]) -> None:
        """Write the script for every deployment in `uids` (namespace and name, to the ModelDeployment's uid)."""
        waiting = iter(uids.items())

        async def work() -> None:
            for (namespace, name), uid in waiting:
                known = self._uids.setdefault((namespace, name), {self._rehearsed: uid})
                for line in script:
                    path, body = line.spoken(namespace, name, known)
                    stored = await self._patch(path, body, line.content_type)
                    known[line.uid] = (stored.get("metadata") or {}).get("uid", "")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(work())

    async def _patch(self, path: str, body: bytes, content_type: str) -> Object:
        """Again and again where the server is only too busy, as the operator does."""
        while True:
            try:
                return await self._api.call("PATCH", path, body, content_type)
            except RefusedError as error:
                if not error.passing:
                    raise
                await asyncio.sleep(1)


def _line(call: Call) -> Line:
    """A write without the resourceVersion that it was bound to: in another deployment it is another one."""
    uid = ((call.response or {}).get("metadata") or {}).get("uid", "")
    if isinstance(call.request, list):
        body: Any = [step for step in call.request if step["path"] != "/metadata/resourceVersion"]
        content_type = JSON_PATCH
    else:
        meta = {key: value for key, value in call.request["metadata"].items() if key != "resourceVersion"}
        body, content_type = {**call.request, "metadata": meta}, APPLY
    return Line(content_type, call.uri, orjson.dumps(body).decode(), uid, f"{call.verb} {call.resource}")
