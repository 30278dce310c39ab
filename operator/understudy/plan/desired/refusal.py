"""Why a spec cannot become a revision, as values: the planner turns them into conditions."""

from dataclasses import dataclass
from typing import Literal

ReferenceKind = Literal["ConfigMap", "Secret"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A user's mistake: where it is, what is wrong, and what to write instead."""

    path: str
    problem: str
    instead: str

    @property
    def message(self) -> str:
        """One sentence for a condition."""
        return f"{self.path}: {self.problem}; {self.instead}"


@dataclass(frozen=True, slots=True)
class Missing:
    """ConfigMaps or Secrets that the spec consumes and that do not exist (yet)."""

    references: tuple[tuple[ReferenceKind, str], ...]

    @property
    def message(self) -> str:
        """One sentence for a condition."""
        return "does not exist in this namespace: " + ", ".join(f"{kind} {name}" for kind, name in self.references)
