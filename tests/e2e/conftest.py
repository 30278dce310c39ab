"""The installation under test: two operators, two gateways, one access key; a fresh namespace for each test."""

import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local import tools
from tests.e2e.__main__ import prepare
from tests.e2e.cluster import Cluster, eventually
from tests.e2e.installation import DATA_URL, SYSTEM, Installation, create_key, gateways
from tests.e2e.stage import Stage

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Iterator[Cluster]:
    with contextlib.closing(Cluster(kubeconfig, str(tools.path("kubectl")))) as reached:
        yield reached


@pytest.fixture(scope="session")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One for all workers of a run: the first makes it, the others read its key."""
    run = tmp_path_factory.getbasetemp()
    run = run.parent if os.environ.get("PYTEST_XDIST_WORKER") else run
    made = run / "access-key"
    with (run / "installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            subprocess.run([sys.executable, "-m", "local", "images"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
            prepare(cluster)
            made.touch(mode=0o600)
            made.write_text(create_key(cluster, "e2e"))
    return Installation(DATA_URL, made.read_text())


@pytest.fixture
def stage(installation: Installation, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Stage]:
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:32].strip("-")
    # Workers run the cases of one test side by side, and what tells them apart may lie behind the cut.
    name = f"e2e-{slug}-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:7]}"
    cluster.delete("namespace", name)
    eventually(f"namespace {name} is gone", lambda: cluster.get("namespace", name) is None)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # Before there is one, no pod is admitted that a test makes itself.
    eventually("the namespace has its account", lambda: cluster.get("serviceaccount", "default", name))
    yield Stage(cluster, name, installation.base_url, installation.key)
    cluster.delete("namespace", name)


@pytest.fixture
def each(stage: Stage) -> Iterator[tuple[Stage, Stage]]:
    """The stage as it is seen through one gateway, and through the other."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(stage.cluster.forwarded(pod, 8080, SYSTEM)) for pod in gateways(stage.cluster)]
        one, other = (replace(stage, base_url=f"http://127.0.0.1:{port}") for port in ports)
        yield one, other
