"""Our own processes die and the API server goes away, in the middle of a rollout: it ends right all the same."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from local.faults import apiserver_stopped, kill_process_in_pod
from tests.e2e.cluster import eventually
from tests.e2e.installation import SYSTEM, acquired, epoch, gateways, leader, operators, settled
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Traffic, flips

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.timeout(600)]

SLOW = ["--tokens=400", "--first-token=0.02", "--inter-token=0.1"]
ROLLOUT = {
    **FAST_ROLLOUT,
    "steps": [{"weight": 10, "soak": "8s"}, {"weight": 50, "soak": "4s"}, {"weight": 100, "soak": "2s"}],
    "drain": "120s",
}


@pytest.fixture
def rollout(stage: Stage) -> str:
    """A rollout under way: v1 serves, v2 takes its first share. Returns v1."""
    settled(stage.cluster)
    return stage.serving("story", *SLOW, "--seed=1", replicas=2, rollout=ROLLOUT)


def begin(stage: Stage, rollout: Mapping[str, Any] = ROLLOUT) -> str:
    """Ask for v2 and wait for its first share; returns its revision."""
    stage.deployment("story", *SLOW, "--seed=2", replicas=2, rollout=rollout)
    return str(stage.phase("story", "Canary")["candidate"])


def uid(stage: Stage, pod: str) -> str:
    found = stage.cluster.get("pod", pod, SYSTEM)
    assert found is not None
    return str(found["metadata"]["uid"])


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_leading_operator_dies(stage: Stage, rollout: str, signal: str) -> None:
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20, long_streams=4) as traffic:
        v2 = begin(stage)
        before = epoch(stage.cluster)
        kill_process_in_pod(uid(stage, leader(stage.cluster)), "operator", f"SIG{signal}")
        killed = datetime.now(UTC)
        # Another process takes over: the Lease runs 10 s, so within 15 s of a SIGKILL, by its own time.
        eventually("another operator leads", lambda: epoch(stage.cluster) > before)
        takeover = (acquired(stage.cluster) - killed).total_seconds()
        print(f"takeover: {takeover:.2f} s")
        assert takeover <= 15
        assert stage.becomes_ready("story") == v2
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    assert flips(traffic.records) == {}
    settled(stage.cluster)
    assert len(operators(stage.cluster)) == 2


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_a_gateway_dies(stage: Stage, rollout: str, signal: str) -> None:
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20, long_streams=4) as traffic:
        v2 = begin(stage)
        victim = gateways(stage.cluster)[0]
        if signal == "KILL":
            at = time.monotonic()
            kill_process_in_pod(uid(stage, victim), "gateway", "SIGKILL")
            after = time.monotonic()
            eventually("its endpoint is taken away", lambda: victim not in gateways(stage.cluster), every=0.1)
            gone = time.monotonic()
        else:
            stage.cluster.delete("pod", victim, SYSTEM)
        assert stage.becomes_ready("story") == v2
    print(traffic.report())
    if signal == "KILL":
        # What had begun on the killed gateway is lost; until its endpoint is taken away, connections are refused.
        cut = traffic.truncated()
        assert all(r.sent <= after for r in cut)
        assert len(cut) <= 24
        assert all(at - 1 <= (r.ended or 0) <= max(at + 10, gone + 5) for r in traffic.failed())
    else:
        assert traffic.failed() == []
        assert traffic.truncated() == []
    assert flips(traffic.records) == {}
    settled(stage.cluster)


def test_api_server_is_away_for_30_seconds(stage: Stage, rollout: str) -> None:
    # Both of v2's pods are there from its first share on: Kubernetes' own controllers come back half a minute later.
    steps = [{"weight": 60, "soak": "8s"}, {"weight": 100, "soak": "2s"}]
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20, long_streams=4) as traffic:
        v2 = begin(stage, {**ROLLOUT, "steps": steps})
        with apiserver_stopped(30):
            pass
        eventually("the API server answers", lambda: stage.cluster.list("node"))
        assert stage.becomes_ready("story", within=240) == v2
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    assert flips(traffic.records) == {}
    settled(stage.cluster)
