"""The ladder of Guardrails, for revisions: how many of its turns have findings, and what follows from too many.

A rung is a rate of turns with findings that a revision must not exceed. Gateways count turns and findings; here they
are compared with the rate as they stand, or by a sequential test. What stable shows as well is no reason to turn a
candidate back: docs/adr/0032-what-stable-does-too-turns-nobody-back.md.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from understudy.domain.state import RevisionState
from understudy.plan.counts import NOTHING, Counts, add
from understudy.plan.observed import GatewayPod, Object

RungAction = Literal["Notify", "PauseRollout", "Rollback", "Quarantine"]
# The probability of a false alarm of a sequential test that does not say one.
ALPHA: Final = 0.01
# So many times the rate are what a sequential test looks for, each with the same weight.
_ALTERNATIVES: Final = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a Guardrail for revisions: `rate` (0 to 1) of turns with findings, judged from `least` turns on.

    Findings of `category` count ("" = all), from severity `severity` on. `alpha` is that of the sequential test, None
    to compare with the rate as it stands. In monitor mode a rung does nothing but tell: its `action` is Notify.
    """

    guardrail: str
    number: int
    category: str
    severity: int
    rate: float
    least: int
    alpha: float | None
    action: RungAction

    @property
    def key(self) -> str:
        """Names what is counted for it and what follows: another rate, or another action, is another rung."""
        parts = (self.guardrail, self.category, self.severity, self.rate, self.least, self.alpha, self.action)
        return "rung:" + sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """For people: which one it is, and of what."""
        what = self.category or "findings"
        grave = f" from severity {self.severity} on" if self.severity > 2 else ""
        return f"{what}{grave} (Guardrail {self.guardrail}, ladder[{self.number}])"


def rungs_of(guardrails: Iterable[Object]) -> tuple[Rung, ...]:
    """The rungs for revisions of these Guardrails, as stored."""
    found: list[Rung] = []
    for guardrail in guardrails:
        spec, name = guardrail["spec"], str(guardrail["metadata"]["name"])
        acts = spec.get("mode", "enforce") == "enforce"
        for number, raw in enumerate(spec.get("ladder") or ()):
            if raw["per"] == "revision":
                found.append(_rung(name, number, raw, acts=acts))
    return tuple({rung.key: rung for rung in found}.values())


def found_on(state: RevisionState, rung: Rung) -> Counts:
    """What one gateway has counted of a revision for a rung: turns, and those with findings.

    A turn with findings of several categories counts for each, but all together for no more than there were.
    """
    guard = state.guard
    total = sum(count for what, count in guard.found.items() if _matches(rung, what))
    return guard.turns, min(guard.turns, total)


def standing(rung: Rung, gateways: Iterable[GatewayPod], deployment: str, revision: str) -> Counts:
    """What all gateways that answer have counted of a revision for a rung since they began."""
    counted = NOTHING
    for pod in gateways:
        seen = pod.state.deployments.get(deployment) if pod.state is not None else None
        if seen is not None and revision in seen.revisions:
            counted = add(counted, found_on(seen.revisions[revision], rung))
    return counted


def exceeds(rung: Rung, counted: Counts) -> bool:
    """Whether a revision of which so much was counted exceeds the rung's rate."""
    turns, found = counted
    if turns < rung.least or found < rung.rate * turns:
        return False
    return rung.alpha is None or evidence(rung.rate, counted) >= 1.0 / rung.alpha


def evidence(rate: float, counted: Counts) -> float:
    """How strongly so many findings in so many turns speak against `rate` or less; 1 for no turns.

    The mean of likelihood ratios of some greater rates against `rate`. For a revision at `rate` or below, each is a
    supermartingale that begins at 1, so that this ever reaches 1 / alpha with probability alpha at most, however often
    one looks (Ville). It takes turns to be independent.
    """
    turns, found = counted
    if rate >= 1.0:
        return 1.0  # nothing is more than all
    greater = [rate + (1 - rate) * min(0.9, (times - 1) * rate) for times in _ALTERNATIVES]
    logs = [found * math.log(p / rate) + (turns - found) * math.log((1 - p) / (1 - rate)) for p in greater]
    top = max(logs)
    return math.exp(min(700.0, top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))))


def _rung(guardrail: str, number: int, raw: Mapping[str, Any], *, acts: bool) -> Rung:
    alpha = float(raw.get("alpha", ALPHA)) if raw.get("test", "threshold") == "sequential" else None
    return Rung(
        guardrail=guardrail,
        number=number,
        category=raw.get("category") or "",
        severity=int(raw.get("severityAtLeast", 2)),
        rate=float(raw["rate"]),
        least=int(raw["minTurns"]),
        alpha=alpha,
        action=raw["action"] if acts else "Notify",
    )


def _matches(rung: Rung, what: str) -> bool:
    """Whether a rung counts what a gateway has counted as `<guardrail>/<category>/<severity>`."""
    guardrail, _, rest = what.partition("/")
    category, _, severity = rest.partition("/")
    counts = not rung.category or category == rung.category
    return counts and guardrail == rung.guardrail and int(severity) >= rung.severity
