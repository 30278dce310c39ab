"""The rollout machine: which chain of rules speaks in which phase.

Every rule is a named entry of a chain. `decide` asks the chain of the current phase and takes the
first answer.
"""

from typing import Final

from understudy.plan.analysis import HARD_CHECKS
from understudy.plan.capacity import LOAN_CALLS, LOAN_GUARDS
from understudy.plan.decision import Decision, first
from understudy.plan.faults import POD_FAULTS
from understudy.plan.phases.canary import CANARY
from understudy.plan.phases.preparing import PREPARING
from understudy.plan.phases.promoting import PROMOTING
from understudy.plan.phases.replacing import REPLACING
from understudy.plan.phases.resting import NASCENT, ROLLED_BACK, STABLE
from understudy.plan.phases.restoring import RESTORING
from understudy.plan.phases.reverting import REVERTING
from understudy.plan.phases.shadow import SHADOW
from understudy.plan.phases.watching import WATCHING
from understudy.plan.relative import RELATIVE_CHECKS
from understudy.plan.release import RELEASE_GUARDS
from understudy.plan.routes import WEIGHT_GUARDS
from understudy.plan.rulebook import Rulebook
from understudy.plan.state import State
from understudy.plan.world import World

RULES: Final = Rulebook(
    phases={
        "Nascent": NASCENT,
        "Stable": STABLE,
        "Preparing": PREPARING,
        "Shadow": SHADOW,
        "Canary": CANARY,
        "Promoting": PROMOTING,
        "Watching": WATCHING,
        "Restoring": RESTORING,
        "Reverting": REVERTING,
        "RolledBack": ROLLED_BACK,
        "Replacing": REPLACING,
    },
    weight_guards=WEIGHT_GUARDS,
    release_guards=RELEASE_GUARDS,
    hard_checks=HARD_CHECKS,
    relative_checks=RELATIVE_CHECKS,
    pod_faults=POD_FAULTS,
    loan_guards=LOAN_GUARDS,
    loan_calls=LOAN_CALLS,
)


def chain_of(state: State) -> str:
    """Name of the chain that speaks; Preparing without a candidate is the time before the first one."""
    return "Nascent" if state.phase == "Preparing" and not state.candidate else state.phase


def decide(world: World) -> Decision:
    """Where to go from here, and why."""
    return first(world.rules.phases[chain_of(world.state)], world)
