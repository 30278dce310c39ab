"""Install, upgrade and uninstall on a real cluster (without pods: behaviour is tests/e2e)."""

import shlex
from collections.abc import Iterator

import pytest
import yaml

from tests.api.server import Server
from tests.chart.helm import CHART, SYSTEM, Helm
from understudy.cli.main import main

pytestmark = pytest.mark.cluster

# The cluster's other installation owns the CRDs.
VALUES = {"crds": {"install": False}, "operator": {"replicas": 0}, "gateway": {"replicas": 0}}


@pytest.fixture
def installed(helm: Helm, cluster: Server) -> Iterator[str]:
    """A release of the chart; what Helm printed."""
    uninstall = ("uninstall", "chart-tests", f"--namespace={SYSTEM}", "--ignore-not-found")
    helm.run(*uninstall, "--wait")  # of a run that was cut short
    done = helm.run("install", "chart-tests", str(CHART), f"--namespace={SYSTEM}", "--wait", values=VALUES)
    assert done.returncode == 0, done.stderr
    yield done.stdout
    helm.run(*uninstall)


def _certificate(cluster: Server) -> dict[str, str]:
    answer = cluster.request("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/understudy-admin-tls")
    assert answer.ok, answer.message
    data: dict[str, str] = answer.body["data"]
    return data


def test_an_upgrade_keeps_the_certificate(helm: Helm, cluster: Server, installed: str) -> None:
    before = _certificate(cluster)
    done = helm.run("upgrade", "chart-tests", str(CHART), f"--namespace={SYSTEM}", "--wait", values=VALUES)
    assert done.returncode == 0, done.stderr
    assert _certificate(cluster) == before


def test_an_uninstall_leaves_nothing_in_the_namespace(helm: Helm, cluster: Server, installed: str) -> None:
    done = helm.run("uninstall", "chart-tests", f"--namespace={SYSTEM}", "--wait")
    assert done.returncode == 0, done.stderr
    for path in ("apis/apps/v1", "api/v1"):
        kind = "deployments" if path.startswith("apis") else "services"
        assert cluster.request("GET", f"/{path}/namespaces/{SYSTEM}/{kind}").body["items"] == []
    roles = cluster.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles").body["items"]
    assert [role for role in roles if f":{SYSTEM}:" in role["metadata"]["name"]] == []


def test_notes_say_how_to_go_on(installed: str) -> None:
    assert f"http://understudy-gateway.{SYSTEM}:8080/v1" in installed
    assert "understudy keys create" in installed
    assert "kubectl get understudy -A" in installed
    assert "WARNING: with one gateway" in installed


def test_the_notes_command_makes_a_key_for_the_gateways_of_this_release(
    installed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = (line for line in installed.splitlines() if "understudy keys create" in line)
    made, applied = line.split("|")
    assert applied.split() == ["kubectl", "apply", "-f", "-"]
    assert main(shlex.split(made.strip().removeprefix("understudy "))) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["namespace"] == SYSTEM
