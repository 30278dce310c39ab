"""A new operator, with other defaults and another hash version, restarts nothing that serves."""

from typing import Any

import pytest

from tests.e2e.cluster import eventually
from tests.e2e.installation import install, run_local, settled
from tests.e2e.stage import Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]


def pods(stage: Stage) -> dict[str, Any]:
    """Each engine pod's uid with its restart counts."""
    return {
        p["metadata"]["uid"]: [c["restartCount"] for c in p["status"]["containerStatuses"]] for p in stage.pods("story")
    }


def test_upgrade_leaves_every_pod_as_it_is(stage: Stage) -> None:
    # Given a deployment made by the previous operator: another image, other builder defaults, another hash version
    run_local("images", "--tag", "understudy:previous")
    try:
        run_local(
            *("install", "--set", "image.tag=previous", "--set", "operator.replicas=2", "--set", "gateway.replicas=2"),
            *("--set", "operator.args={--hash-version=2,--prestop-seconds=7}"),
        )
        settled(stage.cluster)
        revision = stage.serving("story", replicas=2)
        before = pods(stage)
        # When the operator is upgraded
        with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
            install()
            settled(stage.cluster)
            eventually(
                "the new operator has looked at it",
                lambda: stage.condition("story", "Ready").get("status") == "True",
                within=60,
            )
            # An edit that starts no pod shows that it reconciles.
            stage.deployment("story", replicas=2, servedNames=[stage.served("story"), stage.served("story-two")])
            stage.becomes(
                "story", "the new name", lambda s: stage.served("story-two") in s.get("servedNames", ()), within=60
            )
    finally:
        install()
    # Then pods and revision are the same
    assert pods(stage) == before
    assert all(counts == [0] for counts in before.values())
    assert stage.status("story")["stable"] == revision
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
