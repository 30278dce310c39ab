"""The entry of the pure core: one deployment's world in, what to do about it out."""

from understudy.plan.actions import Plan
from understudy.plan.observed import Observed


def plan(observed: Observed) -> Plan:
    """What to do now for one ModelDeployment, and the status that says so.

    Pure: equal observations give equal plans; no I/O, no clock, no randomness. Never raises for
    what a user wrote; a spec that cannot be read becomes `Stalled=InvalidSpec`.
    """
    if observed.deployment is None:
        return Plan(reasons=("the deployment is gone",))
    return Plan(requeue_after=1.0, reasons=("nothing decided yet",))
