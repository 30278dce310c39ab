"""A deployment that is deleted: its children go with it, its records stay for a week."""

from understudy.domain.names import API_VERSION
from understudy.plan.actions import Action, Apply, Plan
from understudy.plan.observed import Observed
from understudy.plan.snapshots import orphans


def plan_gone(observed: Observed) -> Plan:
    """Retire the table while it is still there, mark the records, and delete them when their time is up.

    Everything else has an owner reference and leaves by garbage collection.
    """
    records, again = orphans(observed)
    actions: list[Action] = [*_retire(observed), *records]
    return Plan(actions=tuple(actions), requeue_after=again, reasons=("the deployment is gone",))


def _retire(observed: Observed) -> list[Action]:
    """Gateways drop a retired table at once; a table that just vanishes is served for another minute."""
    table = observed.table
    if table is None or table["spec"].get("retired"):
        return []
    meta = table["metadata"]
    retired = {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": {name: meta[name] for name in ("name", "namespace", "labels", "ownerReferences") if name in meta},
        "spec": {**table["spec"], "retired": True},
    }
    write = Apply(obj=retired, uid=meta["uid"], resource_version=meta["resourceVersion"], why="retire the table")
    return [write]
