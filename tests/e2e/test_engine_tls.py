"""Gateways and operator speak TLS to engines on a real cluster, and to those alone that they have reason to trust."""

import time
from typing import Any

import pytest

from tests.e2e import authority
from tests.e2e.cluster import RefusedError
from tests.e2e.stage import SIM_IMAGE, Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

ENGINE: dict[str, Any] = {"type": "sim", "image": SIM_IMAGE, "startupTimeout": "60s", "shutdownTimeout": "60s"}


def test_a_rollout_turns_tls_on_and_an_engine_that_nobody_knows_gets_no_traffic(stage: Stage) -> None:
    # Given a deployment whose engines speak plain HTTP
    before = stage.serving("story", "--seed=1")
    stage.cluster.apply(authority.pair(stage.cluster, "engines", stage.namespace))
    stage.cluster.apply(authority.pair_of_a_stranger("strangers", stage.namespace))
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
        # When it is to have engines that speak TLS, and that only to who shows a certificate
        mutual = {"secretRef": {"name": "engines"}, "requireClientCertificate": True}
        stage.deployment("story", engine={**ENGINE, "args": ["--seed=1"], "tls": mutual})
        after = stage.becomes_ready("story")
        # and then engines with a certificate by somebody else
        stranger = {"secretRef": {"name": "strangers"}}
        stage.deployment("story", engine={**ENGINE, "args": ["--seed=2"], "tls": stranger})
        stage.becomes("story", "it is asked", lambda s: "its certificate is not taken" in s.get("plan", ""))
        time.sleep(5)
    print(traffic.report())
    # Then the first rollout was one like any other,
    assert after != before
    assert traffic.failed() == []
    assert traffic.truncated() == []
    # what is not trusted waits without a conversation, unbranded, and the status says why,
    later = stage.status("story")
    assert (later["phase"], later["stable"], later["candidate"]) == ("Preparing", after, later["target"]["revision"])
    assert later.get("failed", []) == []
    assert stage.condition("story", "Reconciling")["reason"] == "EngineTLSFailed"
    assert {record.revision for record in traffic.records} == {before, after}
    # and nobody gets an answer by plain HTTP.
    (pod,) = stage.pods("story", after)
    path = f"/api/v1/namespaces/{stage.namespace}/pods/http:{pod['metadata']['name']}:8000/proxy/health"
    with pytest.raises(RefusedError):
        stage.cluster.request("GET", path)
