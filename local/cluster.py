"""The kind cluster: created, found as it was, or mended after a crash, always within a deadline."""

import json
from pathlib import Path

from local import cache, dockerd, golang, kube, node, node_image, registry, tools, versions
from local.commands import ask
from local.lock import alone
from local.node import CLUSTER, NODE
from local.steps import CommandFailed, Step, StepFailed, step

GATEWAY_PORT = 30080
SPARE_PORT = 30443
CREATE_SECONDS = 240
MEND_SECONDS = 120


@alone
def ensure() -> Path:
    """Bring the cluster up whatever state it is in; returns its kubeconfig."""
    if dockerd.version() is None and not dockerd.installed():
        tools.ensure(registry.choose())
    with step("Docker daemon") as current:
        dockerd.ensure(current)
    known = record()
    if known.get("config") == config_key() and _healthy():
        print(f"✓ cluster {CLUSTER} is ready (Kubernetes {kube.server_version()})", flush=True)
        return cache.kubeconfig()
    if node.state() != "absent":
        reason = _why_recreate(known)
        if reason is None and _mended():
            return cache.kubeconfig()
        with step(f"remove the old cluster: {reason or 'it could not be mended'}") as current:
            remove(current)
    way = registry.choose()
    tools.ensure(way)
    image = versions.NODE_IMAGE if way == "registry" else node_image.ensure()
    golang.drop_build_cache()
    with step(
        f"create the cluster {CLUSTER} ({'released node image' if way == 'registry' else 'assembled node image'})"
    ) as current:
        _create(way, image, current)
    return cache.kubeconfig()


def remove(current: Step) -> None:
    """Delete the cluster with all that is in it."""
    # What kind does too, and kind itself may not be there.
    if node.state() != "absent":
        current.run(["docker", "rm", "--force", "--volumes", NODE], deadline=300)
    _record_file().unlink(missing_ok=True)
    cache.kubeconfig().unlink(missing_ok=True)


def record() -> dict[str, str]:
    """What was noted when the cluster was created: way, image, config key; empty when there is none."""
    try:
        noted = json.loads(_record_file().read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in noted.items()} if isinstance(noted, dict) else {}


def way() -> registry.Way:
    """The way by which the running cluster was made; raises RuntimeError when there is none."""
    if node.state() != "running" or not record():
        raise RuntimeError("no cluster is running; `python3 -m local cluster` brings it up")
    return "registry" if record()["way"] == "registry" else "packages"


def config(way: registry.Way) -> str:
    """The kind configuration: one node, two ports on loopback, the folder of saved images mounted.

    A cluster that can be made again in seconds need not survive a power cut, so etcd does not wait for the disk; and a
    lone scheduler need not campaign, which after an outage of the API server would cost it half a minute. After such an
    outage the lone controller manager looks at the node again up to half a minute after the node is back: it is told to
    be patient, for otherwise it may take every pod for lost. The kubelet looks at once for an API server that was put
    back, not every twenty seconds.
    """
    archives = cache.root() / "node-images"
    plugin = "\nnetworking:\n  disableDefaultCNI: true" if way == "packages" else ""
    return f"""kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: {CLUSTER}{plugin}
nodes:
  - role: control-plane
    extraPortMappings:
      - {{containerPort: {GATEWAY_PORT}, hostPort: {GATEWAY_PORT}, listenAddress: 127.0.0.1}}
      - {{containerPort: {SPARE_PORT}, hostPort: {SPARE_PORT}, listenAddress: 127.0.0.1}}
    extraMounts:
      - {{hostPath: {archives}, containerPath: {node.ARCHIVES}, readOnly: true}}
    kubeadmConfigPatches:
      - |
        kind: ClusterConfiguration
        etcd: {{local: {{extraArgs: {{unsafe-no-fsync: "true"}}}}}}
        controllerManager: {{extraArgs: {{leader-elect: "false", node-monitor-grace-period: 120s}}}}
        scheduler: {{extraArgs: {{leader-elect: "false"}}}}
      - |
        kind: KubeletConfiguration
        fileCheckFrequency: 1s
"""


def config_key() -> str:
    """Changes when a cluster made earlier no longer is what would be made now."""
    return cache.key(config("packages"), versions.KUBERNETES, versions.NODE_IMAGE)


def _record_file() -> Path:
    return cache.root() / "run" / "cluster.json"


def _healthy() -> bool:
    return node.state() == "running" and node.units_active() and kube.ready()


def _why_recreate(known: dict[str, str]) -> str | None:
    if not known:
        return "nothing is noted about how it was made"
    if known["config"] != config_key():
        return "its configuration or its Kubernetes version is not the one wanted now"
    return None


def _mended() -> bool:
    """Start what stopped, then wait; False when that did not help."""
    try:
        with step("mend the cluster") as current:
            if node.state() != "running":
                current.note(f"the node's container is {node.state()}")
                current.run(["docker", "restart", NODE], deadline=60)
            current.wait("the node's services", lambda: _started(current), deadline=60)
            _write_kubeconfig()
            current.wait("the cluster to be ready", kube.ready, deadline=MEND_SECONDS)
            if not versions.same_minor(kube.server_version(), versions.KUBERNETES):
                raise CommandFailed(f"the API server is {kube.server_version()}, wanted {versions.KUBERNETES}")
    except StepFailed:  # it has said what went wrong; the caller recreates the cluster
        return False
    return True


def _started(current: Step) -> bool:
    if node.units_active():
        return True
    current.note("containerd or the kubelet does not run in the node, starting them")
    ask(node.inside("systemctl", "restart", "containerd", "kubelet"), seconds=30)
    return False


def _create(way: registry.Way, image: str, current: Step) -> None:
    cache.folder("node-images")
    draft = cache.put(cache.root() / "run" / "kind.yaml", config(way))
    _record_file().unlink(missing_ok=True)
    command = ["create", "cluster", "--name", CLUSTER, "--image", image, f"--config={draft}", "--wait", "150s"]
    current.run([tools.path("kind"), *command, f"--kubeconfig={cache.kubeconfig()}"], deadline=CREATE_SECONDS)
    current.wait("the node to be ready", kube.ready, deadline=60)
    current.wait("the cluster's DNS", kube.system_pods_ready, deadline=120)
    cache.put(_record_file(), json.dumps({"way": way, "image": image, "config": config_key()}))


def _write_kubeconfig() -> None:
    text = ask([tools.path("kind"), "get", "kubeconfig", "--name", CLUSTER])
    if text:
        cache.put(cache.kubeconfig(), text + "\n").chmod(0o600)
