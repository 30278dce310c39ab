"""Helm, and the namespaces that the chart's tests render into."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.server import Server
from tests.chart.helm import ROOT, SYSTEM, TEAMS, Helm, binaries

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Iterator[Server]:
    """The API server, with the system namespace under the restricted Pod Security Standard."""
    with closing(Server(kubeconfig)) as server:
        for name in (SYSTEM, *TEAMS):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
            assert server.apply(namespace, "understudy-chart-tests").ok
        yield server


@pytest.fixture(scope="session", params=binaries(), ids=lambda path: str(path).rsplit("/", 1)[-1])
def helm(request: pytest.FixtureRequest, kubeconfig: str) -> Helm:
    """Each Helm in turn, installed when it is not there."""
    binary = str(request.param)
    if not Path(binary).exists():
        command = [sys.executable, "-m", "local", "tools", "--for-tests"]
        subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    return Helm(binary, kubeconfig)
