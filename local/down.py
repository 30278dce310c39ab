"""Takes back what bringing the cluster up made: the cluster, the daemon that was started here, the cache if asked."""

import shutil

from local import cache, cluster, dockerd, node, processes
from local.commands import ask
from local.lock import alone
from local.steps import Step, step


@alone
def run(*, purge: bool = False) -> None:
    """Delete the cluster; with `purge`, the cache and the images in Docker as well. End only processes started here."""
    answers = dockerd.version() is not None
    if not answers and processes.running("dockerd") is None and node_left_over():
        print("Docker does not answer: a cluster in it, if any, comes back with it; `cluster` then `down` removes it")
    if answers:
        with step(f"delete the cluster {node.CLUSTER}") as current:
            cluster.remove(current)
            current.run(["docker", "volume", "prune", "-f", "--filter", "label=io.x-k8s.kind.cluster=understudy"])
        if purge:
            with step("remove the images from Docker") as current:
                _remove_images(current)
    if processes.running("dockerd"):
        with step("stop the Docker daemon that was started here"):
            processes.stop("dockerd")
    if purge:
        with step("remove the cache") as current:
            current.note(str(cache.root()))
        shutil.rmtree(cache.root(), ignore_errors=True)


def node_left_over() -> bool:
    """Whether a cluster was noted that has not been deleted."""
    return bool(cluster.record())


def _remove_images(current: Step) -> None:
    listed = ask(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]) or ""
    prefixes = ("understudy", "registry.k8s.io/", "kindest/")
    names = [name for name in listed.split() if name.startswith(prefixes)]
    if names:
        current.run(["docker", "image", "rm", "--force", *names])
