"""What Guardrails find, told to the records and to metrics: once, and before the answer has ended."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.keeping import Keeping
from understudy.gateway.policy.players import Who
from understudy.gateway.policy.verdicts import Noted
from understudy.gateway.policy.violations import MOST, About, violation
from understudy.guard.gate import Failure

if TYPE_CHECKING:
    from understudy.gateway.players import Players
    from understudy.gateway.requestlog import RequestLog

_USUAL = Keeping()


class Findings:
    """Those of one process; `counts` are by Guardrail, category, direction and action, `failures` by detector."""

    __slots__ = ("counts", "failures")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def tell(
        self,
        log: "RequestLog | None",
        players: "Players | None",
        guarding: Guarding,
        about: About,
        direction: Literal["input", "output"],
        noted: Sequence[Noted],
        failures: Iterable[Failure],
    ) -> None:
        """These were found, and these detectors have failed. What rungs count holds here at once."""
        namespace = about.deployment.partition("/")[0]
        for each in noted:
            self.counts[f"{namespace}/{each.guardrail} {each.judged.finding.category} {direction} {each.action}"] += 1
        for failure in failures:
            self.failures[f"{namespace}/{failure.detector or 'tier0'} {failure.status} {failure.policy}"] += 1
        for each in noted[:MOST]:
            category = each.judged.finding.category
            said = (each.guardrail, category, each.severity, each.judged.decision.session)
            rungs = [rung for rung in guarding.ladder.values() if about.counts and rung.counts(*said)]
            if log is not None:
                policy = guarding.policies.get(each.guardrail, "")
                rule = guarding.rules.get(f"{each.guardrail}/{category}", 0)
                kept = guarding.keeps.get(each.guardrail, _USUAL)
                log.found(*violation(each, about, direction, policy, rule, kept, log.now, rungs))
            if players is not None and rungs:
                players.found(Who(about.tenant, about.player, about.session), rungs)

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of them, as `Plane.gauges`."""
        return {
            "understudy_guard_findings_total": (
                "Findings of Guardrails, by what was done about each",
                {kind: float(count) for kind, count in self.counts.items()} or {"none none none none": 0},
            ),
            "understudy_guard_failures_total": (
                "Detectors that failed over an answer or a request, and what held therefore",
                {kind: float(count) for kind, count in self.failures.items()} or {"none none none": 0},
            ),
        }
