"""A candidate that is bad goes back by itself; one that only had bad luck is not branded for it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_canary import PROBES, canary
from tests.plan.world import Cluster, Kind, rollout, serving
from understudy.plan.observed import PromptResult

BAD: list[tuple[Behaviour, str]] = [
    (Behaviour(exit_code=1), "EngineCrash"),
    (Behaviour(exit_code=137, oom=True), "OutOfMemory"),
    (Behaviour(exit_code=0), "ProbeFailed"),
    (Behaviour(pull=("ImagePullBackOff", "Back-off: ErrImagePull: not found")), "ImagePull"),
    (Behaviour(pull=("ErrImageNeverPull", "not present with pull policy Never")), "ImagePull"),
    (Behaviour(identity="answers as other-model"), "WrongModelIdentity"),
    (Behaviour(fails_prompt=True), "ProbeFailed"),
    (Behaviour(start=10_000.0), "StartDeadline"),
    (Behaviour(pull=("ErrImagePull", "dial tcp: no such host"), start=10_000.0), "StartDeadline"),
]


@pytest.mark.parametrize(("behaviour", "reason"), BAD)
def test_bad_from_the_start_it_gets_no_conversation_and_is_branded(behaviour: Behaviour, reason: str) -> None:
    cluster = serving("v1", probes=PROBES)
    audit = Audit(cluster)
    cluster.behaviours["v2"] = behaviour
    cluster.apply("v2", probes=PROBES)
    for _ in range(200):
        audit.turn(1.0)
        assert not cluster.weights().get("v2")
        if cluster.phase == "RolledBack":
            break
    assert [(f["revision"], f["reason"]) for f in cluster.status["failed"]] == [(cluster.revision("v2"), reason)]
    assert cluster.says("Stalled") == ("True", "RolledBack")
    assert reason in cluster.condition("Stalled")["message"]
    assert (cluster.says("Available")[0], cluster.says("Ready")[0]) == ("True", "False")
    assert cluster.says("AnalysisHealthy") == ("False", reason)
    record = next(s for s in cluster.of_kind("ModelSnapshot").values() if s["status"]["state"] == "Failed")
    assert record["status"]["failure"]["reason"] == reason
    cluster.turns(40)
    assert cluster.pods_of("v2") == []


BECOMES: list[tuple[dict[str, Any], str]] = [
    ({"error_rate": 1.0}, "ErrorRate"),
    ({"fails_prompt": True}, "ProbeFailed"),
    ({"unhealthy": True}, "ProbeFailed"),
    ({"identity": "other"}, "WrongModelIdentity"),
    ({"exit_code": 3}, "EngineCrash"),
]


@pytest.mark.parametrize(("change", "reason"), BECOMES)
@pytest.mark.parametrize("weight", [10, 50, 100])
def test_one_that_turns_bad_goes_back_to_stable(weight: int, change: dict[str, Any], reason: str) -> None:
    cluster = canary(weight, probes=PROBES)
    audit = Audit(cluster)
    cluster.behaviours["v2"] = Behaviour(**change)
    for _ in range(60):
        audit.turn(1.0)
        if cluster.phase == "RolledBack":
            break
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]
    assert cluster.weights() == {"v1": 100}


def test_the_error_ceiling_waits_for_requests_not_for_failures() -> None:
    # Six of ten fail, one request a second: twenty requests take twenty seconds, twenty failures thirty-three.
    ceilings = {"errorRate": 0.5, "minRequests": 20}
    steps = [{"weight": 50, "soak": "90s"}, {"weight": 100, "soak": "3s"}]
    terms = rollout(steps=steps, analysis={"minSamples": 5, "metrics": ["rejected"], "ceilings": ceilings})
    cluster = serving("v1", rollout=terms)
    cluster.rate = 2.0
    cluster.behaviours["v2"] = Behaviour(error_rate=0.6)
    cluster.apply("v2", rollout=terms)
    cluster.until(lambda c: c.status["weights"]["candidate"]["programmed"] == 50).turns(17)
    assert cluster.phase == "Canary"
    cluster.turns(8)
    assert [f["reason"] for f in cluster.status["failed"]] == ["ErrorRate"]


def slow_start(startup_timeout: str) -> Cluster:
    """A candidate whose pods take 200 s to start, while the spec has come to ask for what cannot be had."""
    cluster = serving("v1")
    cluster.behaviours["v2"] = Behaviour(start=200.0)
    engine = {"type": "sim", "image": "v2", "startupTimeout": "600s", "shutdownTimeout": "5s"}
    cluster.apply("v2", engine=engine)
    cluster.until(lambda c: bool(c.pods_of("v2")))
    missing = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "token"}}}
    cluster.edit(engine={**engine, "startupTimeout": startup_timeout, "env": [missing]})
    return cluster


def test_a_start_has_the_time_that_its_revision_was_prepared_with() -> None:
    cluster = slow_start("1s").turns(195)
    assert (cluster.phase, cluster.status["failed"]) == ("Preparing", [])
    cluster.until_phase("Canary", limit=10)


def test_a_start_whose_record_is_lost_has_the_time_of_todays_spec() -> None:
    cluster = slow_start("1s")
    cluster.vandalise("ModelSnapshot", f"story-{cluster.status['candidate']}")
    cluster.until_phase("Reverting", limit=70)
    assert [f["reason"] for f in cluster.status["failed"]] == ["StartDeadline"]


def test_a_candidate_whose_image_is_not_the_same_everywhere_goes_back() -> None:
    cluster = canary(50, replicas=2)
    cluster.behaviours["v2"] = Behaviour(image_id="sha256:pushed-anew")
    cluster.until(lambda c: len(c.pods_of("v2")) == 1)
    cluster.edit(replicas=4)
    cluster.until_phase("RolledBack")
    (failure,) = cluster.status["failed"]
    assert failure["reason"] == "ImageMoved"
    assert "the same on all its pods: sha256:pushed-anew, sha256:v2" in failure["message"]
    cluster.until(lambda c: c.pods_of("v2") == []).turns(2)
    record = cluster.of_kind("ModelSnapshot")[f"story-{failure['revision']}"]["status"]
    assert record["imageIDs"] == ["sha256:pushed-anew", "sha256:v2"]
    assert [c["type"] for c in record["conditions"]] == ["ImageMoved"]
    assert cluster.condition("ImageMoved") == {}


def test_pods_made_one_after_the_other_are_compared_too() -> None:
    cluster = canary(10)
    cluster.behaviours["v2"] = Behaviour(image_id="sha256:pushed-anew")
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    assert [f["reason"] for f in cluster.status["failed"]] == ["ImageMoved"]


def test_a_retry_takes_the_image_as_it_is_now() -> None:
    cluster = canary(10)
    cluster.behaviours["v2"] = Behaviour(image_id="sha256:pushed-anew")
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack").until(lambda c: c.pods_of("v2") == [])
    cluster.ask("retry")
    cluster.until(lambda c: c.image("stable") == "v2")
    record = cluster.of_kind("ModelSnapshot")[f"story-{cluster.revision('v2')}"]["status"]
    assert (record["imageIDs"], record["conditions"]) == (["sha256:pushed-anew"], [])


@pytest.mark.parametrize("phase", ["Stable", "Watching"])
def test_what_serves_is_not_turned_back_for_a_moved_image_but_it_is_said(phase: str) -> None:
    cluster = canary(100, replicas=2).until_phase(phase)
    cluster.behaviours["v2"] = Behaviour(image_id="sha256:pushed-anew")
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.events.clear()
    cluster.turns(15)
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v2", [])
    assert cluster.says("ImageMoved") == ("True", "ImageMoved")
    assert [e.type for e in cluster.events if e.reason == "ImageMoved"] == ["Warning"]
    # As long as a pod could come up otherwise, it stays said.
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.turns(15)
    assert cluster.says("ImageMoved") == ("True", "ImageMoved")


def test_a_crash_reverts_in_the_pass_that_sees_it() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.reconcile()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})
    assert cluster.status["verdict"]["result"] == "Fail"


@pytest.mark.parametrize("change", [{"error_rate": 1.0}, {"fails_prompt": True}, {"unhealthy": True}])
def test_what_the_comparator_shows_too_is_not_held_against_the_candidate(change: dict[str, Any]) -> None:
    cluster = canary(50, probes=PROBES)
    cluster.behaviours["v1"] = cluster.behaviours["v2"] = Behaviour(**change)
    cluster.turns(20)
    assert cluster.status["failed"] == []
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 50)


@pytest.mark.parametrize(
    ("others", "phase"),
    [
        ((True, True, True), "Reverting"),
        ((True, False, True), "Canary"),  # what the comparator failed at the same moment does not count
        ((None, True, True), "Canary"),  # nor what it could not be asked
        ((False, True, True, True), "Reverting"),
    ],
)
def test_a_failed_prompt_counts_if_the_comparator_passed_it_at_the_same_moment(
    others: tuple[bool | None, ...], phase: str
) -> None:
    cluster = canary(50, probes=PROBES)
    (name,) = {prompt.name for probe in cluster.probed for prompt in probe.prompts}
    for pod in cluster.pods_of("v2"):
        runs = tuple(PromptResult(name, False, cluster.mono, "wrong", other) for other in others)
        cluster.reports[pod.uid] = replace(cluster.reports[pod.uid], recent=runs)
    cluster.reconcile()
    assert cluster.phase == phase
    # Either way it gets no further.
    assert cluster.says("Reconciling")[1] == "ProbeFailed" or phase == "Reverting"


@pytest.mark.parametrize("phase", ["Preparing", "Canary", "Watching"])
def test_one_pod_of_what_the_trial_is_compared_with_is_the_comparator(phase: str) -> None:
    cluster = serving("v1", probes=PROBES, replicas=2)
    assert not any(probe.comparator for probe in cluster.probed)
    cluster.apply("v2", probes=PROBES, replicas=2)
    cluster.until_phase(phase)
    (asked,) = (probe for probe in cluster.probed if probe.comparator)
    assert asked.pod_uid in {pod.uid for pod in cluster.pods_of("v1")}


def test_without_a_comparator_only_a_crash_or_a_wrong_identity_counts() -> None:
    cluster = canary(50, probes=PROBES)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.turn()
    cluster.behaviours["v2"] = Behaviour(error_rate=1.0)
    cluster.turns(15)
    assert (cluster.phase, cluster.status["failed"]) == ("Canary", [])
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turn()
    assert [f["reason"] for f in cluster.status["failed"]] == ["EngineCrash"]


def lose_by(how: str, cluster: Cluster) -> None:
    (pod,) = cluster.pods_of("v2")
    match how:
        case "deleted":
            cluster.delete_pod(pod)
        case "evicted":
            cluster.delete_pod(pod, evicted=True)
        case "node":
            cluster.nodes[pod.node] = False


@pytest.mark.parametrize("how", ["deleted", "evicted", "node"])
def test_lost_pods_brand_nothing_and_come_back(how: str) -> None:
    cluster = canary(50)
    lose_by(how, cluster)
    cluster.turns(3)
    cluster.nodes = dict.fromkeys(cluster.nodes, True)
    cluster.until_phase("Watching")
    assert cluster.status["failed"] == []
    assert not any(e.type == "Warning" for e in cluster.events)


def test_pods_that_stay_away_revert_without_branding_and_it_begins_again_by_itself() -> None:
    cluster = canary(50)
    cluster.capacity = 1
    lose_by("deleted", cluster)
    cluster.until_phase("Reverting", limit=60)
    assert any(e.reason == "PodsLost" for e in cluster.events)
    assert cluster.status["failed"] == []
    cluster.until_phase("Preparing")
    cluster.capacity = 8
    cluster.until_phase("Watching")


def test_an_outage_of_all_nodes_turns_nothing_back() -> None:
    cluster = canary(50)
    for node in cluster.nodes:
        cluster.lose_node(node)
    cluster.turns(90)
    assert (cluster.phase, cluster.weights()) == ("Canary", {"v1": 50, "v2": 50})
    # Stable's pods come back first; the candidate's have their usual time from then on.
    cluster.pods_of("v2")[0].node = "node-b"
    cluster.nodes["node-a"] = True
    cluster.turns(20)
    assert cluster.pods_of("v1")[0].node == "node-a"
    cluster.nodes = dict.fromkeys(cluster.nodes, True)
    cluster.until_phase("Watching")
    assert cluster.status["failed"] == []
    assert not any(e.reason == "PodsLost" for e in cluster.events)


def test_a_failed_revision_stays_down_until_the_spec_changes() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack").turns(60)
    assert cluster.image("candidate") == ""
    cluster.edit(replicas=2)  # not a change of the revision
    cluster.turns(10)
    assert cluster.phase == "RolledBack"
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3")


def test_a_failed_revision_that_is_left_and_asked_for_again_may_start() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    cluster.apply("v1")
    cluster.until(lambda c: c.says("Ready")[0] == "True")
    assert [f["revision"] for f in cluster.status["failed"]] == [cluster.revision("v2")]
    cluster.apply("v2")
    cluster.until_phase("Watching")
    assert cluster.status["failed"] == []
    states = {s["spec"]["revision"]: s["status"]["state"] for s in cluster.of_kind("ModelSnapshot").values()}
    assert set(states.values()) == {"Promoted"}


def test_ten_failures_are_kept() -> None:
    cluster = serving("v0")
    for number in range(12):
        cluster.behaviours[f"bad-{number}"] = Behaviour(exit_code=1, start=0.0)
        cluster.apply(f"bad-{number}")
        cluster.until(lambda c: c.phase == "RolledBack" and c.status["observedGeneration"] == number + 2)  # noqa: B023
    assert len(cluster.status["failed"]) == 10


def test_a_rolled_back_deployment_stays_rolled_back_while_its_model_is_away() -> None:
    cluster = canary(10)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    del cluster.objects["Model", "tiny"]
    cluster.turns(5)
    assert cluster.says("Stalled") == ("True", "RolledBack")


def test_stable_without_pods_leaves_everything_as_it_is_until_it_has_some() -> None:
    cluster = canary(50, probes=PROBES)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.turn()
    cluster.apply("v3", probes=PROBES)
    cluster.turns(3)
    assert cluster.says("Stalled") == ("True", "StableUnavailable")
    assert cluster.weights() == {"v2": 50, "v1": 50}
    cluster.turns(5)
    assert cluster.replicas()["v2"] == 1
    cluster.behaviours["v1"] = Behaviour()
    cluster.until(lambda c: c.image("stable") == "v3")


def lose_stable(cluster: Cluster, *kinds: Kind) -> str:
    """Somebody deletes what says how to make stable, all at once; its revision."""
    lost = cluster.revision("v1")
    for kind in kinds:
        cluster.vandalise(kind, f"story-{lost}")
    return lost


LEFT: tuple[Kind, ...] = ("Deployment", "ModelSnapshot")


def test_what_serves_takes_the_place_of_a_stable_of_which_nothing_is_left() -> None:
    cluster = canary(50)
    lost = lose_stable(cluster, *LEFT)
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v2", limit=5)
    (event,) = (e for e in cluster.events if e.reason == "StableLost")
    taken = cluster.revision("v2")
    assert event.message == f"neither record nor pool is left of {lost}; {taken} serves in its place"
    assert event.type == "Warning"
    assert cluster.status["history"][0]["reason"] == f"{lost} was lost"
    assert cluster.weights() == {"v2": 100}
    cluster.until(lambda c: c.image("stable") == "v3" and c.phase == "Stable")
    assert cluster.says("Ready") == ("True", "Serving")


def test_a_candidate_whose_steps_are_all_waived_takes_everything_from_a_stable_without_pods() -> None:
    cluster = canary(50)
    cluster.ask(f"promote-full@{cluster.revision('v2')}")
    lose_stable(cluster, *LEFT)
    cluster.until(lambda c: c.image("stable") == "v2", limit=60)
    assert "StableDown" in [e.reason for e in cluster.events]
    cluster.until_phase("Stable")


def test_even_one_that_failed_takes_it_since_nothing_else_is_there() -> None:
    cluster = canary(50, replicas=4)
    lose_stable(cluster, *LEFT)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until(lambda c: c.image("stable") == "v2", limit=10).turns(3)
    assert [f["reason"] for f in cluster.status["failed"]] == ["EngineCrash"]
    assert cluster.weights() == {"v2": 100}
    assert cluster.says("Stalled") == ("True", "RolledBack")
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3" and c.phase in ("Watching", "Stable"))
    assert cluster.status.get("previous", "") == ""


@pytest.mark.parametrize("kind", LEFT)
def test_a_stable_of_which_something_is_left_is_made_again(kind: Kind) -> None:
    cluster = canary(50)
    lose_stable(cluster, kind)
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3")
    assert not any(e.reason == "StableLost" for e in cluster.events)


def test_nor_is_one_lost_that_the_spec_asks_for_or_may_be_asking_for() -> None:
    for asks_again in (True, False):
        cluster = canary(50)
        lose_stable(cluster, *LEFT)
        if not asks_again:
            del cluster.objects["Model", "tiny"]
            cluster.ask("abort")
            cluster.turns(3)
            assert cluster.says("Stalled") == ("True", "StableUnavailable")
            cluster.apply_model()
        cluster.apply("v1")
        cluster.until(lambda c: c.image("stable") == "v1" and c.phase == "Stable")
        assert not any(e.reason == "StableLost" for e in cluster.events)


def cut(cluster: Cluster) -> tuple[str, ...]:
    """Revisions whose streams the table says to end."""
    assert cluster.table is not None
    return cluster.table.cut


def test_a_wrong_identity_goes_to_stable_whatever_its_state_and_is_not_drained() -> None:
    cluster = canary(50)
    cluster.long_streams = True
    cluster.turns(3)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.behaviours["v2"] = Behaviour(identity="other")
    opened = cluster.open_requests(cluster.revision("v2"))
    cluster.turns(3)
    assert cluster.weights() == {"v1": 100}
    assert cut(cluster) == (cluster.revision("v2"),)
    cluster.turns(4)
    assert cluster.replicas() == {"v1": 1}
    assert sum(gateway.cut for gateway in cluster.gateways) >= opened > 0
    # It is over when nothing speaks any more: the table says no more than it has to.
    cluster.turns(3)
    assert cut(cluster) == ()


@pytest.mark.parametrize("gateways", [0, 2])
def test_nobody_waits_for_the_words_of_a_wrong_model(gateways: int) -> None:
    # A gateway of an older release does not know that it should cut.
    cluster = canary(50)
    cluster.long_streams = True
    cluster.turns(3)
    cluster.gateways = cluster.gateways[:gateways]
    for gateway in cluster.gateways:
        gateway.cuts = False
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.turns(8)
    assert cluster.replicas().get("v2", 0) == 0


@pytest.mark.parametrize("change", [{"exit_code": 3}, {"error_rate": 1.0}])
def test_the_streams_of_any_other_bad_revision_are_not_cut(change: dict[str, Any]) -> None:
    cluster = canary(50)
    cluster.long_streams = True
    cluster.turns(3)
    cluster.behaviours["v2"] = Behaviour(**change)
    cluster.until_phase("Reverting")
    for _ in range(20):
        assert cut(cluster) == ()
        cluster.turn()
    assert sum(gateway.cut for gateway in cluster.gateways) == 0


def test_one_that_may_start_again_is_not_cut_any_more() -> None:
    cluster = canary(50)
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.gateways[0].silent = True  # so that its pods stay
    cluster.until_phase("Reverting").turns(2)
    cluster.behaviours["v2"] = Behaviour()
    cluster.ask("retry")
    cluster.turns(2)
    assert cut(cluster) == ()


def test_a_silent_gateway_blocks_the_end_of_a_revert_but_not_its_writing() -> None:
    cluster = canary(50)
    cluster.gateways[0].silent = True
    cluster.turns(4)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turns(30)
    assert (cluster.phase, cluster.weights(), cluster.replicas()["v2"]) == ("Reverting", {"v1": 100}, 1)
    assert "no answer from gateway" in cluster.condition("Reconciling")["message"]
    cluster.gateways[0].silent = False
    cluster.until_phase("RolledBack")


def test_a_crash_of_long_ago_is_not_held_against_a_revision_that_comes_back() -> None:
    cluster = serving("v1", replicas=2)
    cluster.crash(cluster.pods_of("v1")[0])
    cluster.turns(5)
    cluster.apply("v2", replicas=2)
    cluster.until_phase("Watching")
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("RolledBack")
    assert cluster.image("stable") == "v1"
