"""The one place that reads clocks: a pass reads them once and hands the reading to the planner."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from understudy.plan.observed import Now


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall and monotonic clocks (seconds) of one process, which is named so that readings never mix."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    process: str = field(default_factory=lambda: secrets.token_hex(8))

    def now(self) -> Now:
        """One reading."""
        return Now(wall=self.wall(), monotonic=self.monotonic(), process=self.process)
