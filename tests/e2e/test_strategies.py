"""Other ways to take over than by steps, on a real cluster, under load."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.installation import create_key
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CANDIDATE = {"x-understudy-variant": "candidate"}
BLUE_GREEN = {"strategy": "BlueGreen", "watch": "30s", "drain": "60s"}


@pytest.fixture
def tester(stage: Stage, cluster: Cluster) -> Iterator[str]:
    """An access key that may ask for the candidate."""
    name = f"tester-{stage.namespace}"[:63].rstrip("-")
    yield create_key(cluster, name, "--choose-variant")
    cluster.delete("secret", name, "understudy-system")


def test_blue_green_is_tried_by_name_and_switched_by_promote(stage: Stage, tester: str) -> None:
    # Given v1 that serves under load, and v2 that is ready and waits
    args = ["--tokens=40", "--inter-token=0.05"]
    v1 = stage.serving("story", *args, "--seed=1", replicas=2, rollout=BLUE_GREEN)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20) as traffic:
        stage.deployment("story", *args, "--seed=2", replicas=2, rollout=BLUE_GREEN)
        status = stage.becomes("story", "waits for promote", lambda s: "waiting for promote@" in s.get("plan", ""))
        v2 = status["candidate"]

        # Then only who may reaches it, by name

        def by_name() -> bool:
            reply = stage.say("story", tester, CANDIDATE, max_tokens=4)
            return (reply.status, reply.fields.get("x-understudy-revision")) == (200, v2)

        eventually("v2 answers by name", by_name)
        assert stage.say("story", fields=CANDIDATE, max_tokens=4).status == 403
        assert {r.revision for r in traffic.burst(200)} == {v1}

        # When it is promoted, then everybody is on v2, and v1 stays ready
        stage.mark("switch")
        stage.ask("story", f"promote@{v2}")
        stage.phase("story", "Watching")
        stage.elapsed("switch")
        assert len(stage.pods("story", v1)) == 2
        assert {r.revision for r in traffic.burst(200)} == {v2}

        # and when the watch is over, v1 leaves without losing a request
        stage.phase("story", "Stable")
        eventually("v1 is gone", lambda: not stage.pods("story", v1))
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


SHADOW = {
    **FAST_ROLLOUT,
    "shadow": {"percent": 100, "samples": 100},
    # So long that a good engine keeps to it though the machine is busy.
    "analysis": {"minSamples": 20, "objectives": {"timeToFirstToken": "1s"}},
}


def test_shadow_compares_answers_that_nobody_sees(stage: Stage) -> None:
    # Given v1 that serves under load
    args = ["--tokens=20", "--inter-token=0.02"]
    v1 = stage.serving("story", *args, "--seed=1", replicas=2, rollout=SHADOW)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=40) as traffic:
        # When v2 is asked for, which begins to answer too late
        rehearsal = {**SHADOW, "shadow": {"percent": 100, "samples": 5000}}
        stage.deployment("story", *args, "--seed=2", "--first-token=2", replicas=2, rollout=rehearsal)
        stage.mark("verdict")
        v2 = stage.phase("story", "Shadow")["candidate"]

        # Then it goes back for that, and no client has met it
        status = stage.phase("story", "RolledBack")
        stage.elapsed("verdict")
        assert [(f["revision"], f["class"]) for f in status["failed"]] == [(v2, "SlowerFirstToken")]
        assert {r.revision for r in traffic.records if r.revision} == {v1}

        # When v3 is asked for, which is as good as v1, then it passes Shadow before it gets a share
        stage.deployment("story", *args, "--seed=3", replicas=2, rollout=SHADOW)
        v3, met = eventually("v3 is in Shadow", in_shadow(stage, traffic))
        assert v3 not in met
        assert stage.becomes_ready("story") == v3
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    records = {s["spec"]["revision"]: s["status"] for s in stage.cluster.list("msnap", stage.namespace)}
    assert [(e["step"], e["verdict"]) for e in records[v3]["report"]][:2] == [("shadow", "Pass"), ("10 %", "Pass")]
    assert " in pairs: " in records[v2]["failure"]["message"]


def in_shadow(stage: Stage, traffic: Traffic) -> Callable[[], tuple[str, set[str]] | None]:
    """The candidate that is in Shadow, and whom clients had met by then."""

    def probe() -> tuple[str, set[str]] | None:
        # In this order: the next moment Shadow may be over.
        met = {r.revision for r in traffic.records}
        status = stage.status("story")
        return (status["candidate"], met) if status["phase"] == "Shadow" else None

    return probe


def test_rollback_by_number_takes_everything_back_at_once_and_stays_there(stage: Stage) -> None:
    # Given v1, then v2, which has just been promoted
    rollout = {"strategy": "Immediate", "watch": "120s", "drain": "60s"}
    args = ["--tokens=40", "--inter-token=0.05"]
    v1 = stage.serving("story", *args, "--seed=1", replicas=2, rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20) as traffic:
        stage.deployment("story", *args, "--seed=2", replicas=2, rollout=rollout)
        v2 = stage.phase("story", "Watching")["stable"]

        # When number 1 is asked for, then v1 serves everybody, and v2 does not start again
        stage.mark("rollback")
        stage.ask("story", "rollback=1")
        status = stage.phase("story", "RolledBack")
        stage.elapsed("rollback")
        assert (status["stable"], status["pinnedRevision"]) == (v1, v1)
        assert {(f["revision"], f["class"]) for f in status["failed"]} == {(v2, "RolledBackByUser")}
        assert {r.revision for r in traffic.burst(200)} == {v1}
        eventually("v2 is gone", lambda: not stage.pods("story", v2))

        # When it is retried, then v2 is rolled out again
        stage.ask("story", "retry")
        stage.becomes("story", "v2 stable again", lambda s: s.get("stable") == v2)
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


def test_recreate_replaces_one_by_the_other_and_requests_wait(stage: Stage) -> None:
    # Given v1 that serves
    rollout = {"strategy": "Immediate", "capacity": {"mode": "Recreate"}, "watch": "5s", "drain": "60s"}
    v1 = stage.serving("story", "--tokens=40", "--seed=1", rollout=rollout)

    # When v2 is asked for, then v1's pods are gone before the first of v2's is there
    stage.mark("gap")
    stage.deployment("story", "--tokens=40", "--seed=2", rollout=rollout)
    stage.phase("story", "Replacing")

    def handed_over() -> bool:
        # Looked at in this order: who is there after the first new one was, was there with it. A pod that has ended
        # holds nothing any more, though it is listed until the kubelet has cleaned up after it.
        new = stage.pods("story", stage.revision("story"))
        old = [p for p in stage.pods("story", v1) if p["status"].get("phase") not in ("Succeeded", "Failed")]
        assert not (old and new), ([p["status"] for p in old], [p["status"] for p in new])
        return bool(new)

    eventually("v1 has made way", handed_over)
    v2 = stage.becomes_ready("story")
    stage.elapsed("gap")
    assert v2 != v1

    # When v3 does not even start, then it is gone before v2 comes back
    stage.deployment("story", "--crash=now", "--seed=3", rollout=rollout)
    stage.phase("story", "RolledBack")
    eventually("v2 is there again", lambda: len(stage.pods("story", v2)) == 1)
    eventually("it serves", lambda: stage.condition("story", "Available")["status"] == "True")
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=4) as traffic:
        eventually("answers flow", lambda: sum(r.done for r in traffic.records) > 10)
        assert {r.revision for r in traffic.burst(50)} == {v2}
