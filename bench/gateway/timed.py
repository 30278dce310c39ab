"""Our gateway, which notes for each change of its routes how long that kept its event loop.

    python -m bench.gateway.timed FILE gateway --api-server …

At its end FILE has [wall, CPU] in seconds for each event of a watch: from the parsed event to the routes that all
requests go by from then on. What the wall clock has beyond CPU time, the scheduler has given to somebody else.
"""

import atexit
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from understudy.cli.main import main
from understudy.gateway import process
from understudy.gateway.follow import Follower
from understudy.gateway.reflect import Kind

Found = TypeVar("Found")
TAKEN: list[tuple[float, float]] = []


class TimedFollower(Follower):
    """Follower, with a clock in its hand."""

    _pending = (0.0, 0.0)

    def _apply(self, kind: Kind, event: dict[str, Any]) -> str:
        version, took = _timed(lambda: super(TimedFollower, self)._apply(kind, event))
        self._pending = (self._pending[0] + took[0], self._pending[1] + took[1])
        return version

    def compile(self) -> None:
        _, took = _timed(super().compile)
        if self._pending != (0.0, 0.0):
            TAKEN.append((self._pending[0] + took[0], self._pending[1] + took[1]))
            self._pending = (0.0, 0.0)


def _timed(action: Callable[[], Found]) -> tuple[Found, tuple[float, float]]:
    wall, own = time.perf_counter(), time.thread_time()
    found = action()
    return found, (time.perf_counter() - wall, time.thread_time() - own)


if __name__ == "__main__":
    vars(process)["Follower"] = TimedFollower
    file = Path(sys.argv.pop(1))
    atexit.register(lambda: file.write_bytes(orjson.dumps(TAKEN)))
    sys.exit(main())
