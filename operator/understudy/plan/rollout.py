"""The rollout machine: which chain of rules speaks in which phase.

Every rule is a named entry of a chain. `decide` asks the chain of the current phase and takes the
first answer; the tests take entries out one at a time and show which invariant then breaks.
"""

from collections.abc import Mapping
from typing import Final

from understudy.plan.decision import Decision, Rule, first
from understudy.plan.phases.canary import CANARY
from understudy.plan.phases.preparing import PREPARING
from understudy.plan.phases.promoting import PROMOTING
from understudy.plan.phases.resting import NASCENT, ROLLED_BACK, STABLE
from understudy.plan.phases.restoring import RESTORING
from understudy.plan.phases.reverting import REVERTING
from understudy.plan.phases.watching import WATCHING
from understudy.plan.state import State
from understudy.plan.world import World

Chains = Mapping[str, tuple[Rule, ...]]

CHAINS: Final[Chains] = {
    "Nascent": NASCENT,
    "Stable": STABLE,
    "Preparing": PREPARING,
    "Canary": CANARY,
    "Promoting": PROMOTING,
    "Watching": WATCHING,
    "Restoring": RESTORING,
    "Reverting": REVERTING,
    "RolledBack": ROLLED_BACK,
}


def chain_of(state: State) -> str:
    """Name of the chain that speaks; Preparing without a candidate is the time before the first one."""
    return "Nascent" if state.phase == "Preparing" and not state.candidate else state.phase


def decide(world: World, chains: Chains = CHAINS) -> Decision:
    """Where to go from here, and why."""
    return first(chains[chain_of(world.state)], world)
