"""The API server's own record of who asked for what, and when: the one clock that all figures are read from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

WRITES = ("create", "update", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `came` and `done` are Unix seconds by the API server; bodies only where the policy keeps them."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    came: float
    done: float
    code: int
    uri: str = ""
    request: Any = None
    response: Any = None

    @property
    def is_write(self) -> bool:
        """It changes something, and is not the Lease, which is written every two seconds come what may."""
        return self.verb in WRITES and not self.resource.startswith("leases")


class Audit:
    """Reads the log as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""
        self.calls: list[Call] = []

    def read(self) -> list[Call]:
        """What has come since the last time, also added to `calls`."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            data = self._rest + log.read()
            self._offset = log.tell()
        *lines, self._rest = data.split(b"\n")
        fresh = [call for line in lines if (call := _call(orjson.loads(line))) is not None]
        self.calls.extend(fresh)
        return fresh

    def of(self, user: str, since: float = 0.0, until: float = float("inf")) -> Iterator[Call]:
        """Requests of one user that came in an interval."""
        return (call for call in self.calls if call.user == user and since <= call.came < until)


def writes(calls: Iterable[Call]) -> list[Call]:
    """The writes among them, in the order in which they came."""
    return sorted((call for call in calls if call.is_write), key=lambda call: call.came)


def _call(entry: dict[str, Any]) -> Call | None:
    # A watch is one request when it begins; its end is no other one.
    if (entry["verb"] == "watch") != (entry["stage"] == "ResponseStarted"):
        return None
    about = entry.get("objectRef") or {}
    subresource = about.get("subresource", "")
    return Call(
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource=f"{about.get('resource', entry['requestURI'])}{'/' if subresource else ''}{subresource}",
        namespace=about.get("namespace", ""),
        # Of a creation only the answer knows the name.
        name=about.get("name", ""),
        came=_seconds(entry["requestReceivedTimestamp"]),
        done=_seconds(entry["stageTimestamp"]),
        code=int((entry.get("responseStatus") or {}).get("code", 0)),
        uri=entry["requestURI"],
        request=entry.get("requestObject"),
        response=entry.get("responseObject"),
    )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
