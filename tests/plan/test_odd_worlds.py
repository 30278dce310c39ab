"""Worlds that hands make and the machine does not: it says what is the matter and breaks nothing."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.world import NAME, Cluster, rollout, serving
from understudy.plan.decision import effective
from understudy.plan.observe import observe
from understudy.plan.planner import plan
from understudy.plan.rollout import RULES, decide
from understudy.plan.state import State, brand
from understudy.plan.world import World


def world_of(cluster: Cluster) -> World:
    world = observe(cluster.observe(), RULES)
    assert isinstance(world, World)
    return world


def failed(state: State, *revisions: str) -> State:
    for revision in revisions:
        state = brand(state, revision, "X", "x", 0.0, 1)
    return state


def test_the_aim_is_what_is_asked_then_what_serves_then_what_served() -> None:
    world = world_of(canary(10))
    stable, wish = world.state.stable, world.state.candidate
    assert effective(world) == wish
    assert effective(world.moved(failed(world.state, wish))) == stable
    both = replace(failed(world.state, wish, stable), previous="0" * 8)
    assert effective(world.moved(both)) == "0" * 8
    assert effective(world.moved(replace(world.state, pinned=stable))) == stable


def test_a_failed_revision_is_not_started_even_if_nothing_serves() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    world = world_of(cluster)
    wish = effective(world)
    decision = decide(world.moved(failed(world.state, wish)))
    assert (decision.state.candidate, decision.reason) == ("", "Waiting")


def test_a_pod_that_has_ended_is_nobody() -> None:
    cluster = serving("v1")
    observed = cluster.observe()
    (pod,) = observed.pods
    ended: Any = {**pod, "status": {**pod["status"], "phase": "Failed", "reason": "Evicted"}}
    world = observe(replace(observed, pods=(ended,)), RULES)
    assert isinstance(world, World)
    assert world.stable.pods == ()


def test_a_pool_without_pods_is_waited_for() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1")
    cluster.turn()
    cluster.pods.clear()
    cluster.reconcile()
    assert cluster.says("Reconciling") == ("True", "Starting")


def test_a_stable_of_which_nothing_is_left_makes_way_for_what_is_asked() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    for kind in ("ModelSnapshot", "Deployment"):
        (name,) = cluster.of_kind(kind)
        cluster.vandalise(kind, name)
    cluster.turns(3)
    cluster.until(lambda c: c.image("stable") == "v2")


def test_a_stable_that_never_was_is_replaced_by_what_was_promoted_last() -> None:
    cluster = serving("v1")
    cluster.deployment["status"]["stable"] = "deadbeef"
    cluster.reconcile()
    assert cluster.image("stable") == "v1"
    assert cluster.weights() == {"v1": 100}
    (event,) = (e for e in cluster.events if e.reason == "StableLost")
    assert event.message.startswith("neither record nor pool is left of deadbeef; ")


def test_a_rolled_back_deployment_that_loses_its_stable_goes_back_to_one_that_is_recorded() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until(lambda c: c.phase == "Stable" and c.image("stable") == "v2")
    cluster.behaviours["v3"] = Behaviour(exit_code=1)
    cluster.apply("v3")
    cluster.until_phase("RolledBack")
    for kind in ("ModelSnapshot", "Deployment"):
        cluster.vandalise(kind, f"story-{cluster.status['stable']}")
    cluster.until(
        lambda c: c.image("stable") == "v1" and c.phase == "RolledBack" and c.ready_pods(c.revision("v1")) > 0
    )
    assert cluster.weights() == {"v1": 100}


def test_a_stable_that_is_lost_with_all_records_waits_for_the_spec() -> None:
    cluster = serving("v1")
    cluster.behaviours["v2"] = Behaviour(exit_code=1)
    cluster.apply("v2")
    cluster.until_phase("RolledBack")
    for kind in ("ModelSnapshot", "Deployment"):
        cluster.vandalise(kind, f"story-{cluster.status['stable']}")
    cluster.turns(20)
    assert cluster.says("Stalled") == ("True", "RolledBack")
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3")


def lose_previous(cluster: Cluster) -> None:
    for kind in ("ModelSnapshot", "Deployment"):
        cluster.vandalise(kind, f"story-{cluster.status['previous']}")


def test_a_restore_of_what_is_lost_leaves_the_failed_one_serving() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until_phase("Watching")
    lose_previous(cluster)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until(lambda c: c.says("Stalled") == ("True", "RolledBack"))
    (event,) = (e for e in cluster.events if e.reason == "RestoreFailed")
    assert event.message.startswith("neither record nor pool is left of ")
    cluster.turns(5)
    assert (cluster.weights(), cluster.image("stable")) == ({"v2": 100}, "v2")
    cluster.ask("retry")
    cluster.until(lambda c: c.phase == "Stable" and c.says("Ready")[0] == "True")


def test_what_is_lost_while_it_comes_back_is_given_up() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until_phase("Watching")
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.turns(2)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.until_phase("Restoring")
    for kind in ("ModelSnapshot", "Deployment"):
        cluster.vandalise(kind, f"story-{cluster.status['candidate']}")
    cluster.until_phase("RolledBack")
    assert "candidate" not in cluster.status
    cluster.apply("v3")
    cluster.until(lambda c: c.image("stable") == "v3" and c.phase == "Stable")


def test_nothing_makes_way_for_what_is_lost() -> None:
    one_by_one = rollout(strategy="Immediate", capacity={"mode": "Recreate"})
    cluster = serving("v1", rollout=one_by_one)
    cluster.apply("v2", rollout=one_by_one)
    cluster.until_phase("Watching")
    lose_previous(cluster)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turns(5)
    assert (cluster.phase, cluster.image("stable"), cluster.replicas()) == ("Watching", "v2", {"v2": 1})


def test_a_deployment_without_status_but_with_a_table_of_before_is_taken_up() -> None:
    cluster = canary(50)
    cluster._store("ModelDeployment", NAME, {k: v for k, v in cluster.deployment.items() if k != "status"})
    cluster.turn()
    assert (cluster.image("stable"), cluster.weights()) == ("v1", {"v1": 100})
    cluster.until(lambda c: c.image("stable") == "v2")


def test_an_idle_deployment_is_asked_about_rarely_and_remembers_little() -> None:
    cluster = serving("v1").turns(3)
    decided = plan(cluster.observe())
    assert decided.requeue_after == 60.0
    assert decided.memory is not None
    assert (decided.memory.reading, decided.memory.clocks, decided.memory.window) == (None, {}, ())


def test_a_restart_over_a_deployment_at_rest_writes_nothing() -> None:
    cluster = serving("v1").turns(3)
    cluster.restart_operator()
    cluster.epoch -= 1
    before = dict(cluster.objects)
    cluster.reconcile()
    cluster.turns(3)
    assert cluster.objects == before


def test_a_gateway_that_has_just_begun_does_not_make_every_deployment_say_so() -> None:
    cluster = serving("v1").turns(3)
    late = cluster.add_gateway()
    late.table = None
    cluster.turns(5)
    assert cluster.says("TrafficProgrammed") == ("True", "Programmed")
    cluster.turns(10)
    assert cluster.says("TrafficProgrammed") == ("False", "NotProgrammed")


@pytest.mark.parametrize(
    "left",
    [
        {"candidate": "deadbeef", "weights": {"candidate": {"desired": 50, "written": 0, "programmed": 0}}},
        {"phase": "Canary", "candidate": "stable"},
        {"phase": "Watching", "previous": "stable"},
        {"phase": "Reverting", "candidate": "deadbeef"},
    ],
)
def test_what_a_restored_backup_or_a_hand_left_in_the_status_goes(left: dict[str, Any]) -> None:
    cluster = serving("v1")
    stable = cluster.revision("v1")
    found = {name: stable if value == "stable" else value for name, value in left.items()}
    cluster.deployment["status"].update(found)
    cluster.turns(20)
    assert cluster.phase == "Stable"
    assert not {"candidate", "previous"} & cluster.status.keys()
    assert cluster.says("Stalled")[0] == "False"
    cluster.apply("v2")
    cluster.until_phase("Watching")
    assert cluster.weights() == {"v2": 100}


def test_what_is_left_of_a_candidate_that_was_promoted_goes() -> None:
    cluster = serving("v1")
    cluster.apply("v2")
    cluster.until_phase("Watching")
    # As server-side apply leaves it when a backup's restore owns the field.
    cluster.deployment["status"]["candidate"] = cluster.revision("v2")
    cluster.until_phase("Stable")
    assert "candidate" not in cluster.status
