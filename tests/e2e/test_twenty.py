"""Rollouts with faults on a real cluster, one scenario for all: it ends as it must, in time, and nothing is lost.

What each is about, how it must end and how fast: twenty.py. Runs in `make proof`.
"""

import time
from typing import Any

import pytest

from local.faults import apiserver_stopped, kill_process_in_pod
from tests.e2e.cluster import eventually
from tests.e2e.installation import SYSTEM, gateways, leader, settled
from tests.e2e.stage import SIM_IMAGE, Stage
from tests.e2e.twenty import CASES, Case
from tests.load.traffic import Record, Traffic, flips

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.proof, pytest.mark.timeout(600)]

ENGINE = ("--tokens=400", "--first-token=0.02", "--inter-token=0.05")


@pytest.mark.parametrize("case", [case for case in CASES if not case.shown_by], ids=lambda case: case.name)
def test_a_rollout_with_faults(stage: Stage, case: Case) -> None:
    # Given v1 that serves, and people who talk
    settled(stage.cluster)
    v1 = stage.serving("story", *ENGINE, "--seed=1", replicas=2, rollout=case.rollout, probes=case.probes)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20, long_streams=4) as traffic:
        eventually("answers flow", lambda: sum(r.done for r in traffic.records) > 40, within=30)

        # and v2 that has come so far
        spec = ask_for_v2(stage, case)
        v2 = comes_to(stage, case.when)

        # When this goes wrong
        pods = stage.pods("story", v2)
        killed = [at for fault in case.faults if (at := befalls(stage, fault, pods)) is not None]

        # Then the one that must win serves alone, on every gateway, in time
        stage.mark(case.name)
        wins = v1 if case.reason else v2
        over = f"every gateway serves {wins} alone"
        eventually(over, lambda: not preparing(stage) and alone(stage, wins), case.bound + 60, every=0.05)
        assert stage.elapsed(case.name) <= case.bound

        # and it is said why
        if case.reason:
            status = stage.phase("story", "RolledBack", within=120)
            assert (status["stable"], status.get("previous") or "") == (v1, "")
            assert [f["revision"] for f in status["failed"]] == [v2]
            assert status["failed"][0]["reason"] in case.reason.split(" or ")
            # After a gap stable has to come up again first.
            within = 60 if case.gap else 1
            eventually("it serves", lambda: stage.condition("story", "Available")["status"] == "True", within)
        else:
            assert stage.becomes_ready("story", within=60) == v2
            assert stage.status("story").get("failed", []) == []
        loses = v2 if case.reason else v1
        eventually(f"{loses}'s pods are gone", lambda: not stage.pods("story", loses), within=180)
        assert (stage.cluster.get("mdep", "story", stage.namespace) or {})["spec"] == spec
    print(traffic.report())

    # and every request without a first byte succeeded, and nothing was cut but what may be
    assert [r for r in traffic.failed() if not excused(case, r, killed)] == []
    assert [r for r in traffic.truncated() if not may_be_cut(case, r, v2, killed)] == []
    assert flips(traffic.records) == {} or case.reason
    settled(stage.cluster)


def ask_for_v2(stage: Stage, case: Case) -> Any:
    """Edit the deployment; returns the spec as the API server keeps it."""
    engine = {
        "type": "sim",
        "image": SIM_IMAGE,
        "args": [*ENGINE, "--seed=2", *case.args],
        "startupTimeout": "60s",
        "shutdownTimeout": "60s",
    }
    return stage.deployment("story", replicas=2, rollout=case.rollout, probes=case.probes, engine=engine)["spec"]


def comes_to(stage: Stage, when: str) -> str:
    """Wait until the rollout is there; returns the new revision."""

    def programmed(weight: int) -> str:
        shares = {"half": 50, "tenth": 10}
        status = stage.becomes("story", when, lambda s: _share(s) == shares[when], within=90)
        return str(status["candidate"])

    match when:
        case "half" | "tenth":
            return programmed(50)
        case "gap":
            stage.phase("story", "Replacing", within=60)
            return stage.revision("story")
        case _:
            return _switched(stage, when)


def _switched(stage: Stage, when: str) -> str:
    """BlueGreen and Immediate: ready and waiting, or in the watch."""
    strategy = (stage.cluster.get("mdep", "story", stage.namespace) or {})["spec"]["rollout"]["strategy"]
    if strategy == "BlueGreen":
        status = stage.becomes("story", "waits for promote", lambda s: "waiting for promote@" in s.get("plan", ""), 90)
        if when == "waits":
            return str(status["candidate"])
        stage.ask("story", f"promote@{status['candidate']}")
    return str(stage.phase("story", "Watching", within=90)["stable"])


def _share(status: dict[str, Any]) -> int:
    return int(status.get("weights", {}).get("candidate", {}).get("programmed", 0))


def befalls(stage: Stage, fault: str, pods: list[dict[str, Any]]) -> float | None:
    """Make it happen; returns when a gateway was killed, if one was."""
    what = fault.removeprefix("one ")
    if what != fault:
        pods = pods[:1]
    match what.split():
        case ["crash"]:
            crash(pods)
        case ["leader", signal]:
            kill_process_in_pod(_uid(stage, leader(stage.cluster)), "operator", signal)
        case ["gateway", "SIGTERM"]:
            stage.cluster.delete("pod", gateways(stage.cluster)[0], SYSTEM)
        case ["gateway", "SIGKILL"]:
            at = time.monotonic()
            kill_process_in_pod(_uid(stage, gateways(stage.cluster)[0]), "gateway", "SIGKILL")
            return at
        case ["api", "server", "30", "s,", "crash"]:
            with apiserver_stopped(30):
                crash(pods)
        case _:
            for pod in pods:
                stage.cluster.kubectl(
                    *("-n", stage.namespace, "exec", pod["metadata"]["name"], "--"),
                    *("understudy", "sim", "--set", what),
                )
    return None


def crash(pods: list[dict[str, Any]]) -> None:
    """Kill the engines, from inside of the node: it needs no API server."""
    for pod in pods:
        kill_process_in_pod(pod["metadata"]["uid"], "engine", "SIGKILL")


def _uid(stage: Stage, pod: str) -> str:
    found = stage.cluster.get("pod", pod, SYSTEM)
    assert found is not None
    return str(found["metadata"]["uid"])


def preparing(stage: Stage) -> bool:
    """Nothing has been decided: before BlueGreen's switch stable serves alone in any case."""
    return bool(stage.status("story")["phase"] == "Preparing")


def alone(stage: Stage, revision: str) -> bool:
    """Every gateway gives everything to this revision, as far as table and status say."""
    table = stage.cluster.get("rtable", "story", stage.namespace) or {"spec": {"variants": ()}}
    live = [(v["revision"], v["weight"]) for v in table["spec"]["variants"] if v["weight"]]
    status = stage.status("story")
    # What is programmed is said of the candidate: the one that comes back in a restore, the one that goes in a revert.
    wanted = 100 if status.get("candidate") == revision else 0
    return live == [(revision, 100)] and _share(status) == wanted


def excused(case: Case, record: Record, killed: list[float]) -> bool:
    """A refusal that may be: of a killed gateway until its endpoint is taken away, and in a declared gap (503, 504)."""
    refused = any(at - 1 <= (record.ended or 0) <= at + 10 for at in killed)
    return refused or (case.gap and record.status in (503, 504))


def may_be_cut(case: Case, record: Record, v2: str, killed: list[float]) -> bool:
    """An answer that had begun where something then crashed, was killed, or was known to be wrong."""
    on_candidate = "candidate" in case.cut and record.revision == v2
    return on_candidate or ("gateway" in case.cut and any(record.sent <= at + 1 for at in killed))
