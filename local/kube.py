"""The few questions that bringing a cluster up asks of its API server, each answered in seconds or taken as a no."""

import json
from typing import Any

from local import cache, tools
from local.commands import ask


def kubectl(*arguments: str) -> list[str]:
    """The kubectl command line for the local cluster."""
    return [str(tools.path("kubectl")), "--kubeconfig", str(cache.kubeconfig()), *arguments]


def server_version() -> str:
    """The API server's version such as `v1.34.4`, "" when it does not answer."""
    answer = ask(kubectl("get", "--raw", "/version", "--request-timeout=5s"), seconds=10)
    return str(json.loads(answer)["gitVersion"]) if answer else ""


def ready() -> bool:
    """Whether the API server says so and every node is Ready."""
    if ask(kubectl("get", "--raw", "/readyz", "--request-timeout=5s"), seconds=10) is None:
        return False
    nodes = _items("nodes")
    return bool(nodes) and all(_condition(item, "Ready") for item in nodes)


def system_pods_ready() -> bool:
    """Whether every pod of the control plane and of DNS is Ready."""
    pods = _items("pods", "-n", "kube-system")
    return len(pods) > 5 and all(_condition(pod, "Ready") for pod in pods)


def _items(kind: str, *arguments: str) -> list[dict[str, Any]]:
    answer = ask(kubectl("get", kind, *arguments, "-o", "json", "--request-timeout=5s"), seconds=10)
    return list(json.loads(answer)["items"]) if answer else []


def _condition(item: dict[str, Any], kind: str) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)
