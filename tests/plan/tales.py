"""How the tales begin and end whose transcripts are kept (`transcript.py`)."""

from typing import Any

from tests.plan.world import Cluster, rollout

STEPS = [{"weight": 20, "soak": "2s"}, {"weight": 100, "soak": "2s"}]


def terms(**fields: Any) -> dict[str, Any]:
    """Two steps and a short watch."""
    return rollout(**{"steps": STEPS, "watch": "4s", **fields})


def began(cluster: Cluster, **spec: Any) -> Cluster:
    """v1 serves."""
    cluster.apply_model()
    cluster.apply("v1", **{"rollout": terms(), **spec})
    return cluster.until(lambda c: c.says("Ready")[0] == "True")


def tried(cluster: Cluster, weight: int = 20, **spec: Any) -> Cluster:
    """v1 serves and v2 has a share."""
    spec = {"rollout": terms(), **spec}
    began(cluster, **spec).apply("v2", **spec)
    return cluster.until(lambda c: c.weights().get("v2") == weight)


def ends(cluster: Cluster, phase: str = "Stable") -> Cluster:
    """Until nothing moves any more."""
    return cluster.until(lambda c: c.phase == phase and len(c.replicas()) == 1).turns(8)
