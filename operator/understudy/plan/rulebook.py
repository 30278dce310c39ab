"""All rules that decide, as one value: the chains of the phases, the guards of writes, the checks of the verdict.

The world carries it, so that a test can run the whole planner with one entry taken out and show which
promise then breaks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from understudy.plan.analysis import Bench
    from understudy.plan.decision import Decision
    from understudy.plan.faults import Fault, PodFacts
    from understudy.plan.world import World

# A rule of a phase: what to do, or None to let the next one speak.
Rule = Callable[["World"], Optional["Decision"]]
# A guard of a write: why it must not happen to this revision now, or "".
Guard = Callable[["World", str], str]
# A condition of the world that speaks for itself: what is the case, or "".
Case = Callable[["World"], str]
# A check of the revision on trial.
Check = Callable[["World", "Bench"], Optional["Fault"]]
# A fault of one pod.
FaultRule = Callable[["PodFacts"], Optional["Fault"]]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """`phases` by name of the chain; in all of them the first answer wins."""

    phases: Mapping[str, tuple[Rule, ...]]
    weight_guards: tuple[Guard, ...]
    release_guards: tuple[Guard, ...]
    hard_checks: tuple[Check, ...]
    relative_checks: tuple[Check, ...]
    pod_faults: tuple[FaultRule, ...]
    loan_guards: tuple[Case, ...]
    loan_calls: tuple[Case, ...]
