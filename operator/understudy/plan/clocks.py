"""How long something has lasted, immune to jumps of the wall clock.

A deadline is measured from the API server's stamp where there is one, but only the first reading
compares it with our own clock; from then on the monotonic clock counts. A process that was already
looking cannot have missed more than the time since its last pass. What no object has a stamp of is
stamped in the status, so that a restart of the operator neither shortens nor lengthens a deadline.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from understudy.domain.duration import instant, stamp
from understudy.plan.memory import Clock, Memory
from understudy.plan.observed import Now

# Clocks by the beginning of their names whose start is kept in the status.
LASTING: Final = ("blocked:", "drain:", "drop:", "idle", "recalled", "shown")
# A kept start that is off by more than this, in seconds, is another start, or the wall clock has jumped.
_SLACK: Final = 2.0


def since_last_pass(memory: Memory | None, now: Now) -> float | None:
    """Monotonic seconds since this process's previous pass; None in a new process."""
    if memory is None or memory.process != now.process:
        return None
    return max(0.0, now.monotonic - memory.monotonic)


def advance(
    memory: Memory | None, now: Now, stamps: Mapping[str, float | None], began: Mapping[str, float]
) -> dict[str, Clock]:
    """The clocks that are asked for now, each carried on from the previous pass.

    `stamps` gives each clock's start in Unix seconds; another start is another clock. None is for "the
    first pass that asked", unless `began` says since when, as far as is known: then a clock that is not
    running starts from there. A clock that is not asked for is forgotten.
    """
    passed = since_last_pass(memory, now)
    known: Mapping[str, Clock] = memory.clocks if memory is not None and passed is not None else {}
    return {
        name: _one(known.get(name), start, began.get(name) if start is None else start, passed, now.wall)
        for name, start in stamps.items()
    }


def read_starts(status: Mapping[str, Any]) -> dict[str, float]:
    """The starts (Unix seconds) that a ModelDeployment's status keeps; what is not one is left out."""
    starts: dict[str, float] = {}
    for name, text in ((status.get("rollout") or {}).get("since") or {}).items():
        try:
            starts[name] = instant(text)
        except (TypeError, ValueError):
            continue
    return starts


def write_starts(running: Mapping[str, Clock], kept: Mapping[str, float], wall: float) -> dict[str, str]:
    """The starts to keep in the status; one that is kept already stays as it is written."""
    starts: dict[str, str] = {}
    for name, clock in running.items():
        if name.startswith(LASTING):
            # Rounded up: a deadline may be late by a second, never early.
            start = math.ceil(wall - clock.elapsed)
            known = kept.get(name)
            starts[name] = stamp(known if known is not None and abs(known - start) <= _SLACK else start)
    return starts


def _one(old: Clock | None, start: float | None, since: float | None, passed: float | None, wall: float) -> Clock:
    if old is not None and old.stamp == start and passed is not None:
        return Clock(start, old.elapsed + passed)
    age = 0.0 if since is None else max(0.0, wall - since)
    return Clock(start, age if passed is None else min(age, passed))
