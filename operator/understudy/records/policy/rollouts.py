"""What a ModelSnapshot tells of the rollouts of its revision: how each step was judged, and what became of it.

The operator writes it there and nowhere else, and it stays: for as long as the snapshot does, steps until the same
revision begins a rollout anew. So whoever lists snapshots misses nothing but what has gone while he was away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

# A verdict that begins so is not one yet.
_UNDECIDED: Final = "Inconclusive"


@dataclass(frozen=True, slots=True)
class Decision:
    """How a step of a revision's rollout was judged: `run` counts the deployment's rollouts."""

    run: int
    step: str
    verdict: str
    compared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of a revision at `at_ms`: it was promoted, as the deployment's `number`-th, or it failed."""

    event: str
    at_ms: int
    number: int | None = None
    failure: str | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """All of that, of one snapshot: `uid` is its own, which no other one ever has."""

    uid: str
    deployment: str
    revision: str
    model: str
    decisions: tuple[Decision, ...]
    turns: tuple[Turn, ...]


def told_by(snapshot: Mapping[str, Any]) -> Told:
    """What a ModelSnapshot says; raises KeyError, TypeError or ValueError for what is none."""
    metadata, spec = snapshot["metadata"], snapshot["spec"]
    status = snapshot.get("status") or {}
    decisions = [
        Decision(int(entry["run"]), str(entry["step"]), str(entry["verdict"]), tuple(entry.get("compared") or ()))
        for entry in status.get("report") or ()
        if entry.get("verdict") and not entry["verdict"].startswith(_UNDECIDED)
    ]
    turns = [
        Turn("promoted", _ms(entry["at"]), number=int(entry["number"])) for entry in status.get("promotions") or ()
    ]
    failure = status.get("failure")
    if failure:
        why = (str(failure["class"]), str(failure.get("reason", "")), str(failure.get("message", "")))
        turns.append(Turn("failed", _ms(failure["at"]), None, *why))
    return Told(
        uid=str(metadata["uid"]),
        deployment=f"{metadata['namespace']}/{spec['deployment']}",
        revision=str(spec["revision"]),
        model=str(spec["model"]["name"]),
        decisions=tuple(decisions),
        turns=tuple(turns),
    )


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
