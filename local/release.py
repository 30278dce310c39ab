"""Installs the chart into the local cluster, the way a user would, with the images that were built here."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from local import cache, cluster, images, tools
from local.kube import kubectl
from local.steps import CommandFailed, step

SYSTEM = "understudy-system"
RELEASE = "understudy"
GATEWAY_NODE_PORT = 30080
GATEWAY_URL = f"http://127.0.0.1:{GATEWAY_NODE_PORT}"
KEY_NAME = "quickstart"
CHART = cache.REPOSITORY / "charts" / "understudy"


def install(extra: Sequence[str] = (), chart: Path = CHART) -> None:
    """Install or upgrade the release and wait until operators and gateways are ready.

    `extra` goes to Helm as it is, for instance `("--set", "gateway.replicas=2")`. Pods restart only when the image's
    content or a value changed. `chart`: another version of the chart, to upgrade from or to.
    """
    with step("install the chart") as current:
        current.run(
            [
                tools.path("helm"),
                "upgrade",
                "--install",
                RELEASE,
                chart,
                f"--kubeconfig={cache.kubeconfig()}",
                f"--namespace={SYSTEM}",
                "--create-namespace",
                # CRDs may be there already: from `kubectl apply -f crds/`, or kept from a release that is gone.
                "--take-ownership",
                "--set=image.repository=understudy,image.tag=dev,image.pullPolicy=IfNotPresent",
                "--set=simImage=understudy:dev",
                f"--set=gateway.service.type=NodePort,gateway.service.nodePort={GATEWAY_NODE_PORT}",
                f"--set-string=podAnnotations.understudy\\.dev/image={images.own_image(cluster.way()).content}",
                "--wait",
                "--timeout=180s",
                *extra,
            ],
            deadline=240,
        )


def create_key() -> str:
    """Make an access key with the project's own command, run from its image; returns the key's text.

    Only the Secret with the key's hash goes to the cluster and to a file; the key itself is in this process alone.
    """
    with step("make an access key") as current:
        command = ["docker", "run", "--rm", "understudy:dev", "keys", "create", KEY_NAME, "-o", "json-with-key"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise CommandFailed(f"`{' '.join(command)}` made no key: {done.stderr.strip()[-500:]}")
        made = json.loads(done.stdout)
        manifest = cache.put(cache.folder("run") / "access-key-secret.json", json.dumps(made["secret"]))
        current.run(kubectl("-n", SYSTEM, "apply", "--server-side", "--force-conflicts", "-f", str(manifest)))
        return str(made["key"])
