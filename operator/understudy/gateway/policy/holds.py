"""How much of answers Guardrails hold back, and for how long, by deployment: two histograms for metrics.

Written once for each answer, when it has ended: on its way nobody looks at a clock for this, but at its beginning and
its end.
"""

from bisect import bisect_left
from collections.abc import Container, Iterable
from typing import Final

from understudy.telemetry.beside import HELD_BOUNDS, HELD_CHARACTERS, HELD_FOR, HELD_FOR_BOUNDS, SUM

WORDS: Final = ("first", "last")
"""Of which word of an answer the time is told."""


class _Counted:
    """A histogram: how many by bucket, and the sum of all."""

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    def told(self, kind: str) -> dict[str, float]:
        # Buckets that have nothing need not be told by each worker four times a second.
        return {
            **{f"{kind} {place}": float(count) for place, count in enumerate(self.buckets) if count},
            f"{kind} {SUM}": self.total,
        }


class Holds:
    """Those of one worker."""

    __slots__ = ("_characters", "_seconds")

    def __init__(self) -> None:
        self._characters: dict[str, _Counted] = {}
        self._seconds: dict[str, tuple[_Counted, ...]] = {}

    def text(self, deployment: str, held: Iterable[int]) -> None:
        """Of each text of an answer, the most characters that were held back at once."""
        counted = self._characters.setdefault(deployment, _Counted(HELD_BOUNDS))
        for characters in held:
            counted.add(characters)

    def stream(self, deployment: str, *seconds: float) -> None:
        """For how long each of WORDS of a stream was held back: its first, and its last."""
        known = self._seconds.setdefault(deployment, tuple(_Counted(HELD_FOR_BOUNDS) for _ in WORDS))
        for counted, value in zip(known, seconds, strict=True):
            counted.add(value)

    def keep(self, deployments: Container[str]) -> None:
        """Forget all others."""
        self._characters = {name: each for name, each in self._characters.items() if name in deployments}
        self._seconds = {name: each for name, each in self._seconds.items() if name in deployments}

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show. No deployment's name has a space."""
        characters: dict[str, float] = {}
        for name, counted in self._characters.items():
            characters.update(counted.told(name))
        seconds: dict[str, float] = {}
        for name, several in self._seconds.items():
            for word, counted in zip(WORDS, several, strict=True):
                seconds.update(counted.told(f"{name} {word}"))
        return {
            HELD_CHARACTERS: ("The most characters of a text of an answer that were held back at once", characters),
            HELD_FOR: ("For how long Guardrails held back the first and the last word of a stream", seconds),
        }
