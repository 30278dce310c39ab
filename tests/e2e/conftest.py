"""The installation under test: two operators, two gateways, one access key; a fresh namespace for each test."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.installation import DATA_URL, Installation, create_key, install
from tests.e2e.stage import Stage

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Cluster:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"
    return Cluster(kubeconfig, str(cache / "bin" / "kubectl"))


@pytest.fixture(scope="session")
def installation(cluster: Cluster) -> Installation:
    subprocess.run([sys.executable, "-m", "local", "images"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    install()
    return Installation(DATA_URL, create_key(cluster, "e2e"))


@pytest.fixture
def stage(installation: Installation, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Stage]:
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    name = f"e2e-{slug}"
    cluster.delete("namespace", name)
    eventually(f"namespace {name} is gone", lambda: cluster.get("namespace", name) is None, within=120)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Stage(cluster, name, installation.base_url, installation.key)
    cluster.delete("namespace", name)
