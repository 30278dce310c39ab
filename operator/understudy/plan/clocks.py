"""How long something has lasted, immune to jumps of the wall clock.

A deadline is measured from the API server's stamp where there is one, but only the first reading
compares it with our own clock; from then on the monotonic clock counts. A process that was already
looking cannot have missed more than the time since its last pass.
"""

from collections.abc import Mapping

from understudy.plan.memory import Clock, Memory
from understudy.plan.observed import Now


def since_last_pass(memory: Memory | None, now: Now) -> float | None:
    """Monotonic seconds since this process's previous pass; None in a new process."""
    if memory is None or memory.process != now.process:
        return None
    return max(0.0, now.monotonic - memory.monotonic)


def advance(memory: Memory | None, now: Now, stamps: Mapping[str, float | None]) -> dict[str, Clock]:
    """The clocks that are asked for now, each carried on from the previous pass.

    `stamps` gives each clock's start in Unix seconds, None for "the first pass that asked". A clock
    that is not asked for is forgotten, and starts anew when asked for again.
    """
    passed = since_last_pass(memory, now)
    known: Mapping[str, Clock] = memory.clocks if memory is not None and passed is not None else {}
    return {name: _one(known.get(name), start, passed, now.wall) for name, start in stamps.items()}


def _one(old: Clock | None, start: float | None, passed: float | None, wall: float) -> Clock:
    if old is not None and old.stamp == start and passed is not None:
        return Clock(start, old.elapsed + passed)
    age = 0.0 if start is None else max(0.0, wall - start)
    return Clock(start, age if passed is None else min(age, passed))
