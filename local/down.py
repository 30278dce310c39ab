"""Takes back what bringing the cluster up made: the cluster, the daemon that was started here, the cache if asked."""

import shutil

from local import cache, cluster, dockerd, node, processes
from local.commands import ask
from local.lock import alone
from local.steps import Step, step


@alone
def run(*, purge: bool = False) -> None:
    """Delete the cluster; with `purge`, the cache and the images in Docker as well. End only processes started here."""
    if dockerd.version() is None and cluster.record():
        # The cluster would come back with the next daemon, so it takes one to delete it.
        with step("Docker daemon") as current:
            dockerd.ensure(current)
    if dockerd.version() is not None:
        with step(f"delete the cluster {node.CLUSTER}") as current:
            cluster.remove(current)
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


def _remove_images(current: Step) -> None:
    listed = ask(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]) or ""
    names = [name for name in listed.split() if name.startswith(("understudy:", "understudy-", "understudy.local/"))]
    if names:
        current.run(["docker", "image", "rm", "--force", *names])
