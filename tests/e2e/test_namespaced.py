"""Told to work in one namespace, operator and gateways work there and nowhere else, with rights there alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.installation import SYSTEM, install, settled
from tests.e2e.stage import Stage
from tests.load.traffic import Traffic, flips

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]

# Verb and resource that the operator has where it works, and nowhere else. Nodes it reads in cluster-wide mode alone.
RIGHTS = [
    ("list", "modeldeployments.understudy.dev"),
    ("patch", "modeldeployments.understudy.dev/status"),
    ("create", "routingtables.understudy.dev"),
    ("create", "deployments.apps"),
    ("get", "secrets"),
    ("list", "pods"),
]


@pytest.fixture
def elsewhere(stage: Stage) -> Iterator[Stage]:
    """A second namespace, of which the installation is told nothing."""
    name = f"{stage.namespace}-elsewhere"
    stage.cluster.delete("namespace", name)
    eventually(f"namespace {name} is gone", lambda: stage.cluster.get("namespace", name) is None)
    stage.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield replace(stage, namespace=name, times={})
    stage.cluster.delete("namespace", name)


def allowed(cluster: Cluster, verb: str, resource: str, *where: str) -> bool:
    """Whether the operator's account may, as `kubectl auth can-i` answers; `where`: `-n NAMESPACE` or `-A`."""
    account = f"system:serviceaccount:{SYSTEM}:understudy-operator"
    kind, _, subresource = resource.partition("/")
    part = [f"--subresource={subresource}"] if subresource else []
    said = cluster.kubectl("auth", "can-i", verb, kind, *part, *where, f"--as={account}", check=False)
    answer = said.split()[0]
    assert answer in ("yes", "no"), said
    return answer == "yes"


def assert_rights_end_at(stage: Stage) -> None:
    """The operator's account may do its work in the stage's namespace, and not one part of it anywhere else."""
    for verb, resource in RIGHTS:
        assert allowed(stage.cluster, verb, resource, "-n", stage.namespace), (verb, resource)
        for where in (("-A",), ("-n", "default"), ("-n", "kube-system")):
            assert not allowed(stage.cluster, verb, resource, *where), (verb, resource, where)
    assert not allowed(stage.cluster, "list", "nodes", "-A")
    assert not allowed(stage.cluster, "list", "secrets", "-n", SYSTEM)


def test_one_namespace_and_then_all_again(stage: Stage, elsewhere: Stage) -> None:
    try:
        # Given a release that works in one namespace, and the same ModelDeployment inside and outside of it
        install("--set", f"watchNamespaces={{{stage.namespace}}}")
        settled(stage.cluster)
        assert_rights_end_at(stage)
        elsewhere.model("story")
        elsewhere.deployment("story")
        v1 = stage.serving("story", "--seed=1", replicas=2)
        # When the one inside is edited under load
        with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
            stage.deployment("story", "--seed=2", replicas=2)
            v2 = stage.becomes_ready("story")
        print(traffic.report())
        # Then it is rolled out, and nobody notices
        assert {r.revision for r in traffic.records if r.done} == {v1, v2}
        assert traffic.failed() == []
        assert traffic.truncated() == []
        assert flips(traffic.records) == {}
        # and the one outside is left alone: not looked at, no child, no name
        assert elsewhere.status("story")["observedGeneration"] == 0
        for kind in ("deployment", "service", "rtable", "msnap"):
            assert elsewhere.cluster.list(kind, elsewhere.namespace) == []
        with Traffic(stage.base_url, stage.key, elsewhere.served("story"), streams=1) as nobody:
            eventually("it is answered", lambda: any(r.status for r in nobody.records))
        assert {r.status for r in nobody.records if r.status} == {404}
    finally:
        install()
    # When the release works everywhere again, then that one is served as well, and the first goes on
    settled(stage.cluster)
    elsewhere.becomes_ready("story")
    assert stage.becomes_ready("story") == v2
    assert allowed(stage.cluster, "list", "modeldeployments.understudy.dev", "-A")
