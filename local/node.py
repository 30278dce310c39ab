"""The cluster's one node: a container that is asked through Docker, also when the API server does not answer."""

from collections.abc import Sequence
from pathlib import Path

from local.commands import ask

CLUSTER = "understudy"
NODE = f"{CLUSTER}-control-plane"
ARCHIVES = "/var/cache/understudy"  # where the node sees the host's folder of saved images


def state() -> str:
    """What Docker says of the node's container: `running`, `exited`, …, or `absent`."""
    return ask(["docker", "inspect", "-f", "{{.State.Status}}", NODE]) or "absent"


def inside(*command: str | Path) -> list[str]:
    """The command that runs another one inside the node."""
    return ["docker", "exec", "-i", NODE, *(str(word) for word in command)]


def ctr(*command: str | Path) -> list[str]:
    """The command that asks the node's containerd about what Kubernetes runs."""
    return inside("ctr", "-n", "k8s.io", *command)


def units_active(units: Sequence[str] = ("containerd", "kubelet")) -> bool:
    """Whether the node's own services run."""
    return ask(inside("systemctl", "is-active", *units), seconds=15) is not None
