"""A new operator and a new chart, with other defaults and another hash version, restart nothing that serves.

The past is `fixtures/understudy-0.0.9`, a chart that stays as it is; its README says what it does otherwise.
"""

from typing import Any

import pytest

from tests.e2e.cluster import RefusedError
from tests.e2e.installation import FIXTURE, SYSTEM, install, run_local, settled
from tests.e2e.stage import Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]


def pods(stage: Stage) -> dict[str, Any]:
    """Each engine pod's uid with its restart counts."""
    return {
        pod["metadata"]["uid"]: [c["restartCount"] for c in pod["status"]["containerStatuses"]]
        for name in ("story", "plain")
        for pod in stage.pods(name)
    }


def snapshots(stage: Stage) -> dict[str, int]:
    """Each recorded revision with the version of its hash."""
    return {s["spec"]["revision"]: s["spec"]["hashVersion"] for s in stage.cluster.list("msnap", stage.namespace)}


def sleeps(stage: Stage) -> set[int]:
    """The seconds that engines sleep before SIGTERM: a default of the builder."""
    found = (c["lifecycle"]["preStop"] for pod in stage.pods("story") for c in pod["spec"]["containers"])
    return {hook["sleep"]["seconds"] for hook in found}


def images(stage: Stage) -> set[str]:
    """The images that operators and gateways are told to run."""
    found = stage.cluster.list("deployment", SYSTEM)
    return {c["image"] for deployment in found for c in deployment["spec"]["template"]["spec"]["containers"]}


def test_upgrade_leaves_every_pod_as_it_is(stage: Stage) -> None:
    # Given deployments made by an operator of the past: one as a user of today writes it, and one that says little
    run_local("images", "--tag", "understudy:previous", "--no-engine")
    try:
        install("--chart", str(FIXTURE), "--set", "image.tag=previous")
        settled(stage.cluster)
        assert images(stage) == {"understudy:previous"}
        revision = stage.serving("story", replicas=2)
        plain = stage.serving("plain", replicas=None)
        assert snapshots(stage) == {revision: 2, plain: 2}
        assert sleeps(stage) == {7}
        before = pods(stage)
        # When the chart is upgraded to today's, and the operator with it
        with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
            install()
            settled(stage.cluster)
            assert images(stage) == {"understudy:dev"}
            for name in ("story", "plain"):
                stage.becomes_ready(name)
            # An edit that starts no pod shows that it reconciles.
            stage.deployment("story", replicas=2, servedNames=[stage.served("story"), stage.served("story-two")])
            stage.becomes("story", "the new name", lambda s: stage.served("story-two") in s.get("servedNames", ()))
    finally:
        install()
    # Then pods and revisions are the same
    assert pods(stage) == before
    assert len(before) == 3
    assert all(counts == [0] for counts in before.values())
    assert (stage.status("story")["stable"], stage.status("plain")["stable"]) == (revision, plain)
    assert snapshots(stage) == {revision: 2, plain: 2}
    assert sleeps(stage) == {7}
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    # and the CRDs are today's
    with pytest.raises(RefusedError, match="greater than or equal to 0"):
        stage.deployment("plain", replicas=-1)
