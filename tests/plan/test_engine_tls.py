"""Engines that speak TLS, in a rollout: gateways and prober know of each revision whether it does."""

from dataclasses import replace

import pytest

from tests.plan.parts import Behaviour
from tests.plan.world import NAME, SETTINGS, Cluster, rollout, serving
from understudy.plan.observed import ProbeReport

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


OVER = Behaviour(no_tls="its certificate is not taken: certificate has expired")
SAID = "its certificate is not taken: certificate has expired"


def message(cluster: Cluster) -> str:
    return str(cluster.condition("Ready")["message"])


def test_an_engine_that_is_not_trusted_is_waited_for_with_the_reason_and_is_not_to_blame() -> None:
    cluster = serving("v1")
    cluster.behaviours["v2"] = OVER
    cluster.apply("v2")
    # Said at once
    cluster.until(lambda c: c.says("Reconciling") == ("True", "EngineTLSFailed"), limit=10)
    assert message(cluster) == f"{cluster.pods_of('v2')[0].name}: {SAID}"
    assert cluster.status["plan"].startswith(f"{message(cluster)}; then 10 % of the conversations")
    # Nobody has mended it after two minutes
    began = cluster.true_time
    cluster.until(lambda c: c.says("Stalled") == ("True", "EngineTLSFailed"))
    assert 115 <= cluster.true_time - began <= 125
    # What serves goes on, however long it takes
    cluster.turns(600, 5.0)
    assert (cluster.phase, cluster.weights(), cluster.status["failed"]) == ("Preparing", {"v1": 100}, [])
    # A certificate that is taken is all that it takes
    cluster.behaviours["v2"] = Behaviour()
    assert cluster.until_phase("Watching").image("stable") == "v2"


def test_so_is_a_first_revision() -> None:
    cluster = Cluster()
    cluster.behaviours["v1"] = OVER
    cluster.apply_model()
    cluster.apply("v1")
    cluster.until(lambda c: c.says("Stalled") == ("True", "EngineTLSFailed"))
    assert message(cluster).endswith(SAID)
    cluster.behaviours["v1"] = Behaviour()
    cluster.until_phase("Stable")


def test_so_is_one_for_which_stable_has_made_way() -> None:
    settings = rollout(strategy="Immediate", capacity={"mode": "Recreate"})
    settings.pop("steps")
    cluster = serving("v1", rollout=settings)
    cluster.behaviours["v2"] = OVER
    cluster.apply("v2", rollout=settings)
    cluster.until(lambda c: c.says("Reconciling") == ("True", "EngineTLSFailed"))
    assert (cluster.phase, cluster.status["failed"]) == ("Replacing", [])
    cluster.ask("abort")
    cluster.until(lambda c: c.phase == "RolledBack" and c.weights() == {"v1": 100})


@pytest.mark.parametrize("shadow", [None, {"percent": 10, "samples": 5}])
def test_pods_for_a_greater_share_are_named_when_they_are_not_trusted(shadow: dict[str, int] | None) -> None:
    settings = rollout() if shadow is None else rollout(shadow=shadow)
    cluster = serving("v1", replicas=2, rollout=settings)
    cluster.apply("v2", replicas=2, rollout=settings)
    cluster.until_phase("Canary" if shadow is None else "Shadow")
    if shadow is not None:
        cluster.edit(rollout=rollout(shadow={"percent": 100, "samples": 1000}))
    # The pod that has answered is known; those that come now are not
    cluster.behaviours["v2"] = OVER
    cluster.until(lambda c: c.says("Reconciling") == ("True", "EngineTLSFailed"))
    assert message(cluster) == f"{cluster.pods_of('v2')[1].name}: {SAID}"


def test_one_that_is_not_trusted_does_not_hold_up_a_share_for_which_another_has_answered() -> None:
    # Given two pods that are ready, of a candidate that needs one
    cluster = serving("v1", replicas=2)
    cluster.apply("v2", replicas=2)
    cluster.until(lambda c: any(p.ready for p in c.pods_of("v2")) and not c.reports.get(c.pods_of("v2")[0].uid))
    known = cluster.pods_of("v2")[0]
    other = replace(known, uid="other", name="other")
    cluster.pods["other"] = other
    cluster.reports["other"] = ProbeReport("other", no_tls=SAID)
    cluster.reports[known.uid] = ProbeReport(known.uid, "ok", cluster.mono)
    cluster.reconcile()
    assert cluster.phase == "Canary"


def test_a_certificate_that_ends_while_it_serves_is_why_it_is_not_ready() -> None:
    cluster = serving("v1")
    cluster.behaviours["v1"] = OVER
    cluster.until(lambda c: c.says("Ready") == ("False", "EngineTLSFailed"))
    assert message(cluster) == f"{cluster.pods_of('v1')[0].name}: {SAID}"
    assert (cluster.phase, cluster.says("Available")[0]) == ("Stable", "True")
