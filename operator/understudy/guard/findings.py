"""What detectors say: findings, how far the text is clear, and failures, which are values and never an answer."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "error", "timeout", "unparseable"]
Severity = Literal[2, 4, 6]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a rule may forbid. Positions are code points of the text from the beginning of the stream."""

    detector: str
    name: str
    """Of the pattern, or the detector's own word for it."""
    category: str
    severity: Severity
    """Low 2, medium 4, high 6."""
    score: float | None
    """0 to 1; None where a match is all there is to say."""
    start: int
    end: int
    decided: int
    """The position of the character at which this was certain, or the length of a text that ended."""
    clear: int
    """How far the text was clear of everything else then. A text that is cut here may be released so far."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a detector says to a piece of text. With any status but ok it has said nothing about the text."""

    safe_upto: int
    """No finding will begin before here. It never falls."""
    findings: tuple[Finding, ...] = ()
    """New ones, by the order in which they were decided."""
    status: Status = "ok"
