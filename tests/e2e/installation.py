"""Installs the chart the way a user does, with the values that the tests need, and makes an access key."""

import base64
import json
import ssl
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.cluster import PATIENCE, Cluster, eventually
from understudy.domain.names import ADMIN_AUDIENCE, GATEWAY_ADMIN_PORT

ROOT = Path(__file__).parent.parent.parent
SYSTEM = "understudy-system"
# The Secret of whom gateways and operator trust to sign engines' certificates; authority.py makes it.
TRUSTED = "e2e-engines"
DATA_URL = "http://127.0.0.1:30080"
FIXTURE = Path(__file__).parent / "fixtures" / "understudy-0.0.9"


@dataclass(frozen=True)
class Installation:
    """Where the gateway answers, and with which key."""

    base_url: str
    key: str


def install(*args: str) -> None:
    """Install or upgrade the release, and wait until operators and gateways are ready; `args` as for `local install`.

    Without any it is the installation that all scenarios share.
    """
    shared = ("operator.replicas=2", "gateway.replicas=2", f"engineTls.secretName={TRUSTED}")
    run_local("install", *(word for value in shared for word in ("--set", value)), *args)


def run_local(*args: str) -> None:
    """One command of the `local` package, its output left for the test's report."""
    subprocess.run([sys.executable, "-m", "local", *args], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)


def create_key(cluster: Cluster, name: str, *args: str) -> str:
    """`understudy keys create`, applied; returns the key's text."""
    done = subprocess.run(
        [sys.executable, "-m", "understudy.cli.main", "keys", "create", name, "-o", "json-with-key", *args],
        check=True,
        capture_output=True,
        text=True,
    )
    made = json.loads(done.stdout)
    cluster.apply(made["secret"])
    return str(made["key"])


def gateways(cluster: Cluster) -> list[str]:
    """Names of the gateway pods that are Ready."""
    return ready_pods(cluster, "gateway")


def operators(cluster: Cluster) -> list[str]:
    """Names of the operator pods that are Ready."""
    return ready_pods(cluster, "operator")


def ready_pods(cluster: Cluster, component: str) -> list[str]:
    """Names of one component's pods that are Ready and not on their way out."""
    pods = cluster.list("pod", SYSTEM, f"app.kubernetes.io/component={component}")
    return sorted(
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    )


def measured(cluster: Cluster, gateway: str, metric: str) -> dict[str, float]:
    """What a gateway pod shows of a metric to who may read it, by the values of its labels."""
    token = cluster.kubectl("-n", SYSTEM, "create", "token", "understudy-operator", f"--audience={ADMIN_AUDIENCE}")
    secret = cluster.get("secret", "understudy-admin-tls", SYSTEM)
    assert secret is not None
    trusting = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode())
    # It is not there under its name, but at the end of a way through the API server.
    trusting.check_hostname = False
    with cluster.forwarded(gateway, GATEWAY_ADMIN_PORT, SYSTEM) as port:
        asked = urllib.request.Request(
            f"https://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE, context=trusting) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples if sample.name == metric]
    return {" ".join(sample.labels.values()): sample.value for sample in samples}


def leader(cluster: Cluster) -> str:
    """The operator pod that holds the Lease; its identity there is the pod's name and a number of its own."""

    def holder() -> str:
        lease = cluster.get("lease", "understudy-operator", SYSTEM)
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0] if lease else ""

    return eventually("an operator leads", holder)


def epoch(cluster: Cluster) -> int:
    """How often the Lease has changed hands."""
    lease = cluster.get("lease", "understudy-operator", SYSTEM)
    return int(lease["spec"].get("leaseTransitions") or 0) if lease else 0


def acquired(cluster: Cluster) -> datetime:
    """When the Lease last changed hands, as the process wrote that has it now."""
    lease = cluster.get("lease", "understudy-operator", SYSTEM)
    assert lease is not None
    return datetime.fromisoformat(lease["spec"]["acquireTime"])


def settled(cluster: Cluster) -> None:
    """Wait until two operators and two gateways are Ready: what each fault test leaves behind and starts from."""
    eventually("two operators are ready", lambda: len(operators(cluster)) == 2)
    eventually("two gateways are ready", lambda: len(gateways(cluster)) == 2)
