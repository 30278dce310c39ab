"""What part of the mutants was caught, with its uncertainty where only some were judged, and which were not."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.mutation.judge import ENDLESS, UNREACHED, Verdict

ROOT = Path(__file__).resolve().parents[2]
# Two-sided 95 % of a normal distribution.
Z = 1.96


class Score:
    """`among` is how many mutants there are; those of `verdicts` were judged. Equivalent mutants count as missed."""

    def __init__(self, verdicts: Sequence[Verdict], among: int, seed: int) -> None:
        self.verdicts = sorted(verdicts, key=lambda v: (v.mutant.place.path, v.mutant.number))
        self.among = among
        self.seed = seed

    @property
    def caught(self) -> int:
        """How many some test noticed."""
        return sum(verdict.caught for verdict in self.verdicts)

    @property
    def percent(self) -> float:
        """Of those that were judged."""
        return 100 * self.caught / len(self.verdicts)

    @property
    def interval(self) -> tuple[float, float]:
        """Percent of all mutants that would be caught, with 95 % confidence (Wilson); the score itself if all were."""
        n, p = len(self.verdicts), self.caught / len(self.verdicts)
        if n >= self.among:
            return self.percent, self.percent
        middle, width = p + Z * Z / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return 100 * (middle - width) / (1 + Z * Z / n), 100 * (middle + width) / (1 + Z * Z / n)

    def holds(self, floor: float) -> bool:
        """Whether `floor` percent are caught, or may be as far as a sample can tell."""
        return self.interval[1] >= floor

    def by_module(self) -> dict[str, tuple[int, int]]:
        """Of each module how many were caught, and how many judged."""
        judged, caught = Counter[str](), Counter[str]()
        for verdict in self.verdicts:
            name = named(verdict.mutant.place.path)
            judged[name] += 1
            caught[name] += verdict.caught
        return {name: (caught[name], judged[name]) for name in judged}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from missed(self.verdicts)
        for name, (caught, judged) in self.by_module().items():
            yield f"{caught:5d} of {judged:5d}  {100 * caught / judged:5.1f} %  {name}"
        yield self.sentence()

    def sentence(self) -> str:
        """The score in one."""
        low, high = self.interval
        sampled = len(self.verdicts) < self.among
        drawn = f", drawn from {self.among} by seed {self.seed}: {low:.1f} to {high:.1f} % (95 %)" if sampled else ""
        return f"{self.caught} of {len(self.verdicts)} mutants caught, {self.percent:.1f} %{drawn}"

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "seed": self.seed,
            "mutants": self.among,
            "judged": len(self.verdicts),
            "caught": self.caught,
            "endless": sum(verdict.outcome == ENDLESS for verdict in self.verdicts),
            "percent": round(self.percent, 2),
            "interval95": [round(bound, 2) for bound in self.interval],
            "modules": {name: list(counts) for name, counts in self.by_module().items()},
            "missed": list(missed(self.verdicts)),
        }


def missed(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """A sentence for each mutant that nothing noticed."""
    for verdict in verdicts:
        if not verdict.caught:
            never = " (no test runs it)" if verdict.outcome == UNREACHED else ""
            place = verdict.mutant.place
            yield f"{named(place.path)}:{place.line}: {verdict.mutant.change}{never}"


def named(path: Path) -> str:
    """A module, as people know it."""
    return str(path.relative_to(ROOT / "operator" / "understudy"))
