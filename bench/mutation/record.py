"""What became of each module's mutants, kept in a file until the module changes: to judge all of them takes hours.

A run goes on where the one before ended. What is kept of a module was found with the tests and the other modules of its
time; tests are seldom taken away, so more are caught since then rather than fewer.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.mutation.judge import ENDLESS, Verdict
from bench.mutation.mutants import Module
from bench.mutation.score import missed, named


@dataclass(frozen=True)
class Found:
    """Of a module with this SHA-256: how many mutants were judged, and which of them nothing noticed."""

    digest: str
    judged: int
    caught: int
    endless: int
    missed: tuple[str, ...]


class Record:
    """What is known of these modules."""

    def __init__(self, path: Path, modules: Mapping[Path, Module]) -> None:
        self._path = path
        self._modules = {named(path): module for path, module in modules.items()}
        self._digests = {named(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in modules}
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.found = {
            name: Found(**{**entry, "missed": tuple(entry["missed"])})
            for name, entry in kept.items()
            if entry["digest"] == self._digests.get(name)
        }

    def lacking(self) -> list[Module]:
        """Modules of which nothing is known, those with few mutants first: so that much is known soon."""
        unknown = [module for name, module in self._modules.items() if module.mutants and name not in self.found]
        return sorted(unknown, key=lambda module: (len(module.mutants), module.path))

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Write down what became of all mutants of one module."""
        if not verdicts:
            return
        name = named(verdicts[0].mutant.place.path)
        outcomes = Counter(verdict.outcome for verdict in verdicts)
        caught = sum(verdict.caught for verdict in verdicts)
        ordered = sorted(verdicts, key=lambda verdict: verdict.mutant.number)
        self.found[name] = Found(self._digests[name], len(verdicts), caught, outcomes[ENDLESS], tuple(missed(ordered)))
        kept = {name: asdict(self.found[name]) for name in sorted(self.found)}
        draft = self._path.with_suffix(".part")
        draft.write_text(json.dumps(kept, indent=1) + "\n")
        draft.replace(self._path)

    def document(self) -> dict[str, Any]:
        """All modules together, for machines."""
        found = self.found.values()
        judged, caught = sum(one.judged for one in found), sum(one.caught for one in found)
        unknown = sum(len(module.mutants) for module in self.lacking())
        return {
            "mutants": judged + unknown,
            "judged": judged,
            "caught": caught,
            "endless": sum(one.endless for one in found),
            "percent": round(100 * caught / judged, 2) if judged else 0.0,
            "modules": {name: [one.caught, one.judged] for name, one in sorted(self.found.items())},
        }
