"""Deployments in the middle of their lives, as the planner's simulated cluster brings them there."""

import copy
import functools
from collections.abc import Mapping
from typing import Any

from tests.engine.fake_api import FakeApi
from tests.plan.world import NAME, NAMESPACE, Cluster, rollout
from understudy.cli.plugin.overview import Children, Overview, overview
from understudy.domain.duration import stamp
from understudy.kube.client import Object
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    POD,
    ROUTING_TABLE,
    SECRET,
    SERVICE,
    Resource,
)

RESOURCES: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (
        *(CONFIG_MAP, DEPLOYMENT, GUARDRAIL, MODEL, MODEL_DEPLOYMENT),
        *(MODEL_SNAPSHOT, POD, ROUTING_TABLE, SECRET, SERVICE),
    )
}
BORN = 1_799_990_000.0  # Unix seconds; some hours before the simulated clusters begin


def rolling(weight: int = 50, turns: int = 20) -> Cluster:
    """A canary of v2 at `weight` percent, `turns` seconds after it got there; each step takes a minute."""
    return copy.deepcopy(_rolled(weight, turns))


@functools.cache
def _rolled(weight: int, turns: int) -> Cluster:
    steps = [{"weight": 10, "soak": "1m"}, {"weight": 50, "soak": "1m"}, {"weight": 100, "soak": "1m"}]
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1", replicas=2, rollout=rollout(steps=steps))
    cluster.until_phase("Stable")
    cluster.apply("v2", replicas=2, rollout=rollout(steps=steps))
    return cluster.until(lambda c: c.status.get("weightText") == f"{weight}%").turns(turns)


def worded(cluster: Cluster) -> Cluster:
    """With the operator's sentences and counts fixed: what it says is its own tests' matter."""
    cluster.deployment["status"].update(
        plan="40 s more under observation at 50 %, then 100 %",
        verdict={"result": "Inconclusive", "reason": "20 of 60 s under observation"},
    )
    snapshot = cluster.of_kind("ModelSnapshot")[f"{NAME}-{cluster.revision('v2')}"]
    snapshot["status"].update(soakSeconds=19.0)
    snapshot["status"]["evidence"].update(subject=[94, 1], other=[95, 0])
    return cluster


def children(cluster: Cluster) -> Children:
    """What the API server would list of it."""
    return Children(
        [stamped(obj) for obj in cluster.of_kind("ModelSnapshot").values()],
        [stamped(obj) for obj in cluster.of_kind("Deployment").values()],
        [stamped(pod) for pod in cluster.observe().pods],
    )


def seen(cluster: Cluster) -> Overview:
    """The overview of its deployment."""
    return overview(stamped(cluster.deployment), children(cluster))


def stamped(obj: Mapping[str, Any]) -> dict[str, Any]:
    """With namespace and creation stamp, as every stored object has."""
    return {**obj, "metadata": {"creationTimestamp": stamp(BORN), "namespace": NAMESPACE, **obj["metadata"]}}


def served_by(api: FakeApi, cluster: Cluster) -> FakeApi:
    """The server, with everything that is in the simulated cluster."""
    pods = [("Pod", pod) for pod in cluster.observe().pods]
    for kind, obj in (*((kind, obj) for (kind, _), obj in cluster.objects.items()), *pods):
        store(api, RESOURCES[kind], obj)
    return api


def store(api: FakeApi, resource: Resource, obj: Object) -> None:
    """One object as it is, status and stamps included."""
    made = stamped({**obj, "apiVersion": resource.api_version, "kind": resource.kind})
    meta = made["metadata"]
    api.put(resource, made)

    def whole(stored: dict[str, Any]) -> None:
        stored["metadata"].update({key: meta[key] for key in ("creationTimestamp", "generation") if key in meta})
        if "status" in made:
            stored["status"] = made["status"]

    api.patch(resource, meta["namespace"], meta["name"], whole)


__all__ = ["NAME", "NAMESPACE", "Cluster", "children", "rolling", "seen", "served_by", "stamped", "store", "worded"]
