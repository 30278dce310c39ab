"""What is running and with which versions, for a person and for a program."""

import json
from typing import Any

from local import cache, cluster, dockerd, images, kube, node, tools


def gather() -> dict[str, Any]:
    """The state of daemon, cluster and images; asks each for a few seconds at most and changes nothing."""
    daemon = dockerd.version()
    container = node.state() if daemon else "unknown"
    ready = container == "running" and kube.ready()
    return {
        "docker": {"answers": daemon is not None, "version": daemon or ""},
        "cluster": {
            "name": node.CLUSTER,
            "node": container,
            "ready": ready,
            "version": kube.server_version() if ready else "",
            "way": cluster.record().get("way", ""),
            "kubeconfig": str(cache.kubeconfig()),
        },
        "images": {tag: _image(tag, container) for tag in (images.OWN_TAG, images.ENGINE_TAG)},
        "tools": {name: str(tools.path(name)) if tools.path(name).exists() else "" for name in tools.WANTED},
        "cache": str(cache.root()),
    }


def _image(tag: str, container: str) -> str:
    """The content key of the image that the node holds, "" when it holds none."""
    return (images.loaded(tag) or "") if container == "running" else ""


def as_json(state: dict[str, Any]) -> str:
    """For programs."""
    return json.dumps(state, indent=2)


def as_text(state: dict[str, Any]) -> str:
    """For people: a line per part, and how to use what runs."""
    docker, running = state["docker"], state["cluster"]
    lines = [
        f"docker    {docker['version'] if docker['answers'] else 'does not answer'}",
        f"cluster   {running['name']}: "
        + (f"ready, Kubernetes {running['version']}" if running["ready"] else f"not ready (node {running['node']})"),
    ]
    lines += [f"image     {tag}: {content or 'not loaded'}" for tag, content in state["images"].items()]
    if running["ready"]:
        lines.append(f"\nexport KUBECONFIG={running['kubeconfig']} PATH={state['cache']}/bin:$PATH")
    return "\n".join(lines)
