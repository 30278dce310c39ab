"""Two futures from one present: a simulated cluster and its auditor, copied so that neither changes the other."""

import copy
from dataclasses import dataclass, replace
from typing import TypeVar

from tests.plan.audit import Audit
from tests.plan.parts import Gateway
from tests.plan.world import Cluster

Holder = TypeVar("Holder", Cluster, Audit, Gateway)


@dataclass
class Node:
    """A cluster, its auditor, how often the user may still interfere, and how old the operator's views may be."""

    cluster: Cluster
    audit: Audit
    left: int = 0
    stale: int = 0

    def fork(self) -> "Node":
        """The same present once more."""
        cluster = _copied(self.cluster)
        cluster.pods = {name: copy.copy(pod) for name, pod in cluster.pods.items()}
        cluster.gateways = [_copied(gateway) for gateway in cluster.gateways]
        audit = _copied(self.audit)
        audit._forces = {key: replace(force) for key, force in audit._forces.items()}
        audit.watch(cluster)
        return Node(cluster, audit, self.left, self.stale)


def _copied(holder: Holder) -> Holder:
    """A copy with containers of its own: objects in them are values, but for pods and gateways."""
    twin = copy.copy(holder)
    for name, value in vars(holder).items():
        if isinstance(value, dict | list | set):
            setattr(twin, name, copy.copy(value))
    return twin
