"""What metrics show of a deployment beside what `/state` says of it: nobody judges a rollout by this.

Values without Prometheus in them, so that whoever counts need not know how it is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Requests as clients see them, by deployment and status, and how long they took: by deployment and place of the bucket,
# with the seconds of all under SUM. The bounds are upper ones in seconds; the last bucket is +Inf.
REQUESTS: Final = "understudy_requests_total"
LATENCY: Final = "understudy_e2e_request_latency_seconds"
SUM: Final = "sum"
LATENCY_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
# What Guardrails hold back: of each text of an answer the most characters at once, by deployment; and the first and the
# last word of a stream, by deployment and which of them. Told as LATENCY is.
HELD_CHARACTERS: Final = "understudy_guard_held_characters"
HELD_BOUNDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0)
HELD_FOR: Final = "understudy_guard_held_seconds"
HELD_FOR_BOUNDS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Histograms that are told so, with their labels and the upper bounds of their buckets.
HISTOGRAMS: Final[Mapping[str, tuple[tuple[str, ...], tuple[float, ...]]]] = {
    LATENCY: (("deployment",), LATENCY_BOUNDS),
    HELD_CHARACTERS: (("deployment",), HELD_BOUNDS),
    HELD_FOR: (("deployment", "kind"), HELD_FOR_BOUNDS),
}
# Upper bounds in seconds of waits for an endpoint; the last bucket is +Inf.
WAIT_BOUNDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class BesideRevision:
    """One revision: seconds behind the buckets, waits for an endpoint by bucket, ejections, endpoints by breaker."""

    ttft_sum: float = 0.0
    itl_sum: float = 0.0
    waits: tuple[int, ...] = (0,) * (len(WAIT_BOUNDS) + 1)
    waits_sum: float = 0.0
    ejections: int = 0
    breakers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """One deployment: when the table that it is served by was taken (seconds since 1970; 0 without one), and more."""

    table_taken: float = 0.0
    revisions: Mapping[str, BesideRevision] = field(default_factory=dict)
