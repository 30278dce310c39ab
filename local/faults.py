"""Faults for tests on the real cluster: an API server that is down, a pod's process that dies.

Both act inside the node, below Kubernetes, so that what is tested is Kubernetes' own reaction.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from local import kube, node
from local.commands import ask

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ASIDE = "/etc/kubernetes/kube-apiserver.yaml.aside"


@contextmanager
def apiserver_stopped(seconds: float, *, back_within: float = 120.0) -> Iterator[None]:
    """Stop the API server, run the block, and start it again no sooner than `seconds` after it went down.

    Its static pod's manifest is moved aside, so that the kubelet does not restart it, and its process is killed, so
    that it is down at once and not after a graceful end. Leaving waits until it is ready again. Raises TimeoutError
    when the server does not go down within 60 s or does not come back within `back_within` seconds.
    """
    try:
        _inside("mv", MANIFEST, ASIDE)
        _until(_stopped, 60.0, "the API server to stop")
        down_since = time.monotonic()
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - down_since)))
    finally:
        _inside("sh", "-c", f"test ! -e {ASIDE} || mv {ASIDE} {MANIFEST}")
        _until(kube.ready, back_within, "the API server to come back")


def kill_process_in_pod(pod_uid: str, container: str, signal: str = "SIGKILL") -> None:
    """Send a signal to the main process of a pod's container, as the kernel's out-of-memory killer would, say.

    Raises LookupError when no such container runs.
    """
    for found in _containers(pod_uid, container):
        if ask(node.ctr("tasks", "kill", "--signal", signal, found)) is not None:
            return
    raise LookupError(f"no running container {container!r} in a pod with the uid {pod_uid!r}")


def _containers(pod_uid: str, container: str) -> list[str]:
    labels = f'labels."io.kubernetes.pod.uid"=={pod_uid},labels."io.kubernetes.container.name"=={container}'
    running = set((ask(node.ctr("tasks", "ls", "-q")) or "").split())
    listed = (ask(node.ctr("containers", "ls", "-q", labels)) or "").split()
    return [found for found in listed if found in running]


def _stopped() -> bool:
    running = set((ask(node.ctr("tasks", "ls", "-q")) or "").split())
    labels = 'labels."io.kubernetes.container.name"==kube-apiserver'
    servers = running.intersection((ask(node.ctr("containers", "ls", "-q", labels)) or "").split())
    for server in servers:
        ask(node.ctr("tasks", "kill", "--signal", "SIGKILL", server))
    # Killed once is not yet down: the kubelet may have started it again before it saw that the manifest is gone.
    return not servers and ask(kube.kubectl("get", "--raw", "/livez", "--request-timeout=2s"), seconds=5) is None


def _inside(*command: str) -> None:
    if ask(node.inside(*command)) is None:
        raise RuntimeError(f"in the node: `{' '.join(command)}` failed")


def _until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)
