"""A good revision takes over by steps, under load, and nobody notices."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster import eventually
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Record, Traffic, flips, shares

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Two-sided 99.9 % of a normal distribution: at 2,000 conversations the binomial is one.
Z_999 = 3.2905
IDS = 2100


def held_at(*weights: int, free: int = 0) -> list[dict[str, object]]:
    """Steps of which the first `free` pass quickly and the others wait until they are edited."""
    return [{"weight": w, "soak": "1s" if n < free else "20m"} for n, w in enumerate(weights)]


def programmed_at(weight: int) -> Callable[[dict[str, Any]], bool]:
    """Every gateway gives the candidate `weight` percent."""
    return lambda status: status.get("weights", {}).get("candidate", {}).get("programmed") == weight


def off_share(records: list[Record], revision: str, weight: int) -> str:
    """What is wrong if `revision` has not its share: inside the 99.9 % binomial interval around `weight` percent."""
    counts = shares(records)
    total = sum(counts.values())
    assert total >= 2000
    expected = weight / 100
    margin = Z_999 * math.sqrt(expected * (1 - expected) / total)
    return "" if abs(counts[revision] / total - expected) <= margin else f"{counts} at {weight} %"


def assert_share(traffic: Traffic, revision: str, weight: int) -> None:
    """`revision` has its share of new conversations.

    One sample in a thousand lies outside by chance alone, three in a row do so once in a thousand million; a split
    that is wrong is wrong each time.
    """
    off: list[str] = []
    while len(off) < 3 and (wrong := off_share(traffic.burst(IDS), revision, weight)):
        off.append(wrong)
    assert len(off) < 3, off


def test_canary_under_load_by_steps(stage: Stage) -> None:
    # Given v1 that serves, and people who talk, some of them for more than 30 seconds
    args = ["--tokens=400", "--first-token=0.02", "--inter-token=0.1"]
    rollout = {**FAST_ROLLOUT, "steps": held_at(10, 50, 100), "drain": "120s"}
    v1 = stage.serving("story", *args, "--seed=1", replicas=2, rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=20, long_streams=4) as traffic:
        eventually("answers flow", lambda: sum(r.done for r in traffic.records) > 40)

        # When the spec asks for v2
        stage.mark("rollout")
        stage.deployment("story", *args, "--seed=2", replicas=2, rollout=rollout)
        for free, weight in enumerate((10, 50, 100)):
            status = stage.becomes(
                "story",
                f"{weight} % programmed",
                programmed_at(weight),
            )
            v2 = status["candidate"]
            # Then at each step its share of new conversations is the weight
            assert_share(traffic, v2, weight)
            # and the next step comes when this one is let go, live
            stage.deployment(
                "story",
                *args,
                "--seed=2",
                replicas=2,
                rollout={**rollout, "steps": held_at(10, 50, 100, free=free + 1)},
            )

        # Then v2 is promoted and serves alone
        assert stage.becomes_ready("story") == v2
        stage.elapsed("rollout")
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    assert flips(traffic.records) == {}
    assert max((r.ended or 0) - r.sent for r in traffic.records) > 30

    # and the old pool is drained and gone, its snapshot kept
    stage.phase("story", "Stable")
    eventually("the old pool is gone", lambda: not stage.pods("story", v1))
    eventually("both are recorded", lambda: states(stage) == {v1: "Promoted", v2: "Promoted"})


def states(stage: Stage) -> dict[str, str]:
    """What became of each revision, by its snapshot."""
    return {s["spec"]["revision"]: s["status"]["state"] for s in stage.cluster.list("msnap", stage.namespace)}


def test_immediate_takes_over_at_once_and_is_watched(stage: Stage) -> None:
    rollout = {"strategy": "Immediate", "watch": "10s", "drain": "30s"}
    v1 = stage.serving("story", "--seed=1", rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=4) as traffic:
        stage.deployment("story", "--seed=2", rollout=rollout)
        stage.phase("story", "Watching")
        v2 = stage.becomes_ready("story")
        assert v2 != v1
        eventually("the old pool is gone", lambda: not stage.pods("story", v1))
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []


def test_a_newer_spec_in_mid_flight_goes_through_stable(stage: Stage) -> None:
    rollout = {**FAST_ROLLOUT, "steps": held_at(50, 100)}
    v1 = stage.serving("story", "--seed=1", rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
        stage.deployment("story", "--seed=2", rollout=rollout)
        status = stage.becomes(
            "story",
            "50 % programmed",
            programmed_at(50),
        )
        v2 = status["candidate"]
        stage.deployment("story", "--seed=3", rollout=dict(FAST_ROLLOUT))
        v3 = stage.becomes_ready("story")
        assert len({v1, v2, v3}) == 3
    print(traffic.report())
    assert traffic.failed() == []
    assert traffic.truncated() == []
    # v2 was superseded, not branded: it may be asked for again.
    assert stage.status("story").get("failed", []) == []


def test_abort_goes_back_and_retry_starts_again(stage: Stage) -> None:
    rollout = {**FAST_ROLLOUT, "steps": held_at(50, 100)}
    v1 = stage.serving("story", "--seed=1", rollout=rollout)
    with Traffic(stage.base_url, stage.key, stage.served("story"), streams=8) as traffic:
        stage.deployment("story", "--seed=2", rollout=rollout)
        stage.becomes(
            "story",
            "50 % programmed",
            programmed_at(50),
        )
        stage.ask("story", "abort")
        status = stage.phase("story", "RolledBack")
        assert status["stable"] == v1
        assert [f["class"] for f in status["failed"]] == ["Aborted"]
        # An abort with nothing in progress changes nothing.
        stage.ask("story", "abort;again")
        stage.becomes("story", "the verb is noted", lambda s: s.get("lastHandledRequest") == "abort;again")
        assert stage.status("story")["phase"] == "RolledBack"
        stage.ask("story", "retry")
        stage.phase("story", "Preparing", "Canary")
    assert traffic.failed() == []
    assert traffic.truncated() == []
