"""What a gate goes by: all that the policies of one deployment say about one direction, put together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from understudy.guard.actions import NOTHING, Content, Decision, Fiction, Rule, Where
from understudy.guard.detectors import Detector
from understudy.guard.findings import Finding

FailurePolicy = Literal["Closed", "Degrade", "Open"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Shared by all texts that are judged by the same policies in the same direction."""

    where: Where
    detector: Detector
    """Tier 0 of all policies."""
    rules: Mapping[str, tuple[Rule, ...]]
    """By detector."""
    counted: frozenset[str] = frozenset()
    """Detectors of policies in monitor mode: their findings are said and nothing follows."""
    asked: frozenset[str] = frozenset()
    """Detectors that judge windows."""
    awaited: frozenset[str] = frozenset()
    """Those of them without whose word nothing is released."""
    on_failure: Mapping[str, FailurePolicy] = field(default_factory=dict)
    """What holds when one of `asked` fails."""
    tier0_on_failure: Literal["Closed", "Open"] = "Closed"
    """There is nothing to fall back to."""
    by_sentence: bool = False
    """Nothing is released but whole windows."""
    max_hold: int = 2048
    """Characters that are held back at most."""
    on_overflow: Literal["Block", "Degrade"] = "Block"

    def severity(self, finding: Finding, *, fiction: Fiction = "") -> int:
        """How grave a finding is in the eyes of the strictest rule that speaks of it."""
        rules = (rule for rule in self.rules.get(finding.detector, ()) if rule.category == finding.category)
        return max((rule.severity(finding, fiction=fiction) for rule in rules), default=0)

    def decide(self, finding: Finding, *, fiction: Fiction = "") -> tuple[Decision, ...]:
        """What each rule says to a finding; rules that say nothing are left out."""
        said = tuple(
            each
            for rule in self.rules.get(finding.detector, ())
            if rule.category == finding.category and self.where in rule.where
            if (each := rule.decide(finding, fiction=fiction)) != NOTHING
        )
        return (Decision(Content.LOG),) if said and finding.detector in self.counted else said
