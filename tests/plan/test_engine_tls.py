"""Engines that speak TLS, in a rollout: gateways and prober know of each revision whether it does."""

from dataclasses import replace

import pytest

from tests.plan.world import NAME, SETTINGS, Cluster

ENGINE = {"type": "sim", "startupTimeout": "60s", "shutdownTimeout": "5s"}
TLS = {"secretRef": {"name": "pair"}}


@pytest.fixture
def cluster() -> Cluster:
    """One whose installation trusts an authority, and that has a Secret with a pair."""
    made = Cluster()
    made.settings = replace(SETTINGS, engine_tls=True)
    made.references["Secret", "pair"] = "ab" * 32
    made.apply_model()
    return made


def by_tls(cluster: Cluster) -> dict[str, bool]:
    """Of each image in the table, whether gateways speak TLS to it."""
    images = cluster.images()
    return {images[v.revision]: v.tls for v in cluster.table.variants} if cluster.table else {}


def test_gateways_and_prober_are_told_which_name_its_certificate_must_have(cluster: Cluster) -> None:
    cluster.apply("v1", engine={**ENGINE, "image": "v1", "tls": TLS})
    cluster.until_phase("Stable")
    assert by_tls(cluster) == {"v1": True}
    assert {probe.server_name for probe in cluster.probed} == {f"{NAME}-{cluster.revision('v1')}.tales.svc"}


def test_an_engine_without_it_is_spoken_to_as_ever(cluster: Cluster) -> None:
    cluster.apply("v1")
    cluster.until_phase("Stable")
    assert by_tls(cluster) == {"v1": False}
    assert {probe.server_name for probe in cluster.probed} == {""}


def test_while_it_is_introduced_each_revision_is_spoken_to_in_its_own_way(cluster: Cluster) -> None:
    cluster.apply("v1")
    cluster.until_phase("Stable")
    cluster.apply("v2", engine={**ENGINE, "image": "v2", "tls": TLS})
    cluster.until_phase("Canary").turns(2)
    assert by_tls(cluster) == {"v1": False, "v2": True}
    names = {probe.server_name for probe in cluster.probed}
    assert names == {"", f"{NAME}-{cluster.revision('v2')}.tales.svc"}


def test_a_revision_that_spoke_it_is_asked_in_no_other_way_when_its_record_and_pool_are_deleted(
    cluster: Cluster,
) -> None:
    cluster.apply("v1", engine={**ENGINE, "image": "v1", "tls": TLS})
    cluster.until_phase("Stable")
    child = f"{NAME}-{cluster.revision('v1')}"
    del cluster.objects["ModelSnapshot", child]
    del cluster.objects["Deployment", child]
    cluster.edit(queue={"max": 1})
    cluster.turns(1)
    assert cluster.table is not None
    assert (cluster.table.queue.max, [v.tls for v in cluster.table.variants]) == (1, [True])


def test_a_record_that_was_deleted_is_told_by_the_pool(cluster: Cluster) -> None:
    cluster.apply("v1", engine={**ENGINE, "image": "v1", "tls": TLS})
    cluster.until_phase("Stable")
    del cluster.objects["ModelSnapshot", f"{NAME}-{cluster.revision('v1')}"]
    cluster.turns(1)
    assert {bool(probe.server_name) for probe in cluster.probed} == {True}


def test_an_installation_that_trusts_nobody_does_not_begin(cluster: Cluster) -> None:
    cluster.settings = SETTINGS
    cluster.apply("v1", engine={**ENGINE, "image": "v1", "tls": TLS})
    cluster.turns(2)
    assert cluster.says("Stalled") == ("True", "InvalidSpec")
    assert "engineTls.secretName" in str(cluster.condition("Stalled")["message"])


def test_a_secret_that_is_not_there_yet_is_waited_for(cluster: Cluster) -> None:
    del cluster.references["Secret", "pair"]
    cluster.apply("v1", engine={**ENGINE, "image": "v1", "tls": TLS})
    cluster.turns(2)
    assert "Secret pair" in str(cluster.status["conditions"])
    cluster.references["Secret", "pair"] = "ab" * 32
    cluster.until_phase("Stable")
    assert by_tls(cluster) == {"v1": True}
