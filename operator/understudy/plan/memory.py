"""What one pass of the planner tells the next one of the same process.

The planner is pure, so whatever it would like to remember between two passes is a value that the
engine hands back. Nothing here is needed for correctness: a new process starts with None and takes
up the evidence from the snapshot's status, at most five seconds behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from understudy.api.v1alpha1.rollout import Metric
from understudy.plan.counts import Counts, Tally
from understudy.plan.load import Glance
from understudy.plan.sequential import Comparison
from understudy.plan.wanted import Reading

# Steps that have no weight of their own, as tags and reports name them.
SHADOW: Final = "shadow"
WATCH: Final = "watch"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one gateway process's counters are in the evidence: attempts, samples by metric or rung, pairs."""

    start_id: str
    counts: Mapping[str, Counts] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Counts]] = field(default_factory=dict)
    pairs: Mapping[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gateways have counted since one weight of one rollout was programmed.

    `tag` names the rollout, phase and weight that it belongs to; evidence under another tag never
    counts. `lasted` is seconds since the step began; `counted` is False until the weight was
    programmed for the first time; `soak` is the seconds that count as observed, `held` whether the
    latest pass could begin such a second. `disturbed` lasts from the moment when somebody changed a child
    until all pods are back: nothing counts meanwhile. `subject` is the revision on trial, `other` its comparator; in
    Shadow both are halves of the same pairs.
    """

    tag: str
    lasted: float = 0.0
    counted: bool = False
    soak: float = 0.0
    held: bool = False
    disturbed: bool = False
    subject: Counts = (0, 0)
    other: Counts = (0, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """A slice of the sliding window on which the error ceiling is judged; `start` is monotonic seconds."""

    start: float
    subject: Counts
    other: Counts


@dataclass(frozen=True, slots=True)
class Clock:
    """Observed seconds since `stamp` (Unix seconds), or since the clock was first asked for if that is None."""

    stamp: float | None
    elapsed: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything that one pass leaves to the next; only read back by the same `process`.

    `monotonic` is the time of the pass, `persisted` that of the last one that wrote evidence into the
    snapshot, `told` that of the last one that changed the status's sentences. Cursors, window, comparisons and
    tallies belong to the trial named `trial`.
    """

    process: str
    monotonic: float
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    trial: str = ""
    evidence: Evidence | None = None
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    window: tuple[Block, ...] = ()
    comparisons: Mapping[Metric, Comparison] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    glances: tuple[Glance, ...] = ()
    persisted: float = float("-inf")
    told: float = float("-inf")
    reading: Reading | None = None
