"""Requests as clients see them, by the deployment that they asked for: how each ended, and how long it took.

Written once for each request on the hot path: a list and two numbers for each deployment, kept from the first one on.
"""

from bisect import bisect_left
from collections.abc import Container
from typing import Final

from understudy.telemetry.beside import LATENCY, LATENCY_BOUNDS, REQUESTS, SUM

# Of requests that came to no deployment: without a key, for a model that there is not, with a wrong field.
UNKNOWN: Final = "unknown"


class _Asked:
    """What became of the requests for one deployment: how many ended by status, and took how long by bucket."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}


class Clients:
    """Requests of all clients of one worker."""

    __slots__ = ("_asked", "_unknown")

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}
        self._unknown: dict[int, int] = {}

    def over(self, deployment: str, status: int, seconds: float) -> None:
        """A request for `deployment` has ended after so many seconds; of an answer that broke off, `status` is 200."""
        asked = self._asked.get(deployment)
        if asked is None:
            asked = self._asked[deployment] = _Asked()
        asked.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        asked.seconds += seconds
        statuses = asked.statuses
        statuses[status] = statuses.get(status, 0) + 1

    def refused(self, status: int) -> None:
        """A request that came to no deployment was refused."""
        self._unknown[status] = self._unknown.get(status, 0) + 1

    def keep(self, deployments: Container[str]) -> None:
        """Forget all others."""
        for gone in [name for name in self._asked if name not in deployments]:
            del self._asked[gone]

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show. No deployment's name has a space."""
        requests: dict[str, float] = {f"{UNKNOWN} {status}": count for status, count in self._unknown.items()}
        latency: dict[str, float] = {}
        for name, asked in self._asked.items():
            requests.update({f"{name} {status}": count for status, count in asked.statuses.items()})
            # Buckets that have nothing need not be told by each worker four times a second.
            latency.update({f"{name} {place}": count for place, count in enumerate(asked.buckets) if count})
            latency[f"{name} {SUM}"] = asked.seconds
        return {
            REQUESTS: ("Requests by what clients were answered", requests),
            LATENCY: ("From a whole request to the end of its answer, as clients see it", latency),
        }
