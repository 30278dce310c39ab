"""Too few places for two revisions: what is asked for, what stable lends, and when it is called back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.world import Cluster, rollout, serving
from understudy.plan.capacity import notice
from understudy.plan.observe import observe
from understudy.plan.rollout import RULES
from understudy.plan.world import World


def terms(mode: str = "Borrow", most: int | None = None, **fields: Any) -> dict[str, Any]:
    capacity = {"mode": mode} if most is None else {"mode": mode, "maxUnavailable": most}
    return rollout(capacity=capacity, **fields)


def full(places: int = 2, replicas: int = 2, **fields: Any) -> Cluster:
    """v1 has all places there are."""
    return serving("v1", capacity=places, replicas=replicas, rollout=terms(**fields))


def wanting(places: int = 2, replicas: int = 2, **fields: Any) -> Cluster:
    """The same, and v2 is wanted too."""
    cluster = full(places, replicas, **fields)
    cluster.apply("v2", replicas=replicas, rollout=terms(**fields))
    return cluster.turns(3)


def lending(places: int = 2, replicas: int = 2, **fields: Any) -> Cluster:
    """The same, and a pod of v1 has made way."""
    return wanting(places, replicas, **fields).until(lambda c: lent(c) > 0)


def lent(cluster: Cluster) -> int:
    return int(cluster.status["rollout"]["lent"])


def pods(cluster: Cluster) -> dict[str, int]:
    """Pods that have a place, by image."""
    images = ("v1", "v2")
    return {i: sum(p.scheduled is not None and p.deleted is None for p in cluster.pods_of(i)) for i in images}


@pytest.mark.parametrize("mode", ["Auto", "Surge", "Borrow"])
def test_with_room_beside_stable_nothing_is_taken_from_it(mode: str) -> None:
    cluster = full(places=4, mode=mode)
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms(mode))

    def untouched(c: Cluster) -> bool:
        assert lent(c) == 0
        assert c.phase == "Watching" or c.replicas()["v1"] == 2
        return c.phase == "Watching"

    audit.turn(1.0)
    audit.until(untouched)


def test_surge_asks_for_its_pods_and_waits_with_stable_untouched() -> None:
    cluster = full(mode="Surge")
    cluster.apply("v2", replicas=2, rollout=terms("Surge"))
    cluster.until(lambda c: c.says("Stalled") == ("True", "InsufficientCapacity")).turns(60)
    assert (cluster.phase, cluster.replicas(), cluster.status["failed"]) == ("Preparing", {"v1": 2, "v2": 1}, [])
    assert "capacity.mode lets no pod of stable make way" in cluster.condition("Stalled")["message"]
    cluster.capacity = 4
    cluster.until_phase("Watching")


def test_one_of_two_makes_way_and_the_rollout_goes_to_its_end() -> None:
    cluster = full()
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms())
    seen: list[tuple[str, int, dict[str, int]]] = []

    def end(c: Cluster) -> bool:
        now = (c.phase, c.weights().get("v2", 0), c.replicas())
        if now not in seen:
            seen.append(now)
        return c.phase == "Stable" and c.image("stable") == "v2" and c.says("Ready")[0] == "True"

    audit.until(end)
    kept = [replicas["v1"] for phase, _, replicas in seen if phase in ("Preparing", "Canary", "Promoting")]
    assert set(kept) == {1, 2}
    assert ("Canary", 100, {"v1": 1, "v2": 1}) in seen
    assert (cluster.replicas(), pods(cluster)) == ({"v2": 2}, {"v1": 0, "v2": 2})


def test_with_auto_a_node_may_come_first_until_the_scheduling_deadline() -> None:
    cluster = wanting(mode="Auto")
    assert "a node may still come for" in cluster.status["plan"]
    began = cluster.true_time
    cluster.until(lambda c: lent(c) == 1)
    assert 25 <= cluster.true_time - began <= 40
    assert cluster.until_phase("Watching").image("stable") == "v2"


def test_borrow_does_not_wait_for_a_node_but_for_half_a_minute_of_knowing_the_load() -> None:
    cluster = wanting(deadlines={"scheduling": "10m"})
    began = cluster.true_time
    cluster.until(lambda c: lent(c) == 1)
    assert 25 <= cluster.true_time - began <= 40


def test_as_many_make_way_as_it_takes_to_the_end_and_one_at_a_time() -> None:
    cluster = full(5, 5, most=4)
    audit = Audit(cluster)
    cluster.apply("v2", replicas=5, rollout=terms(most=4))
    audit.turn(1.0)
    fewest = [5]

    def least(c: Cluster) -> bool:
        assert fewest[-1] - c.replicas()["v1"] in (0, 1)
        fewest.append(c.replicas()["v1"])
        return c.phase == "Promoting"

    audit.until(least)
    # Three of five: v2 has three places when v1 has two, and two carry the whole load.
    assert (fewest[-1], lent(cluster), pods(cluster)["v2"]) == (2, 3, 3)


@pytest.mark.parametrize(("replicas", "least"), [(3, 1), (4, 2), (5, 2)])
def test_who_asks_to_borrow_lends_as_many_as_it_takes_and_reads_so_before_anything_moves(
    replicas: int, least: int
) -> None:
    cluster = full(replicas, replicas)
    audit = Audit(cluster)
    cluster.apply("v2", replicas=replicas, rollout=terms())
    audit.turn(1.0)
    assert (cluster.phase, cluster.replicas()["v1"], lent(cluster)) == ("Preparing", replicas, 0)
    way = f"{replicas - least} of {replicas} pods of {cluster.revision('v1')} make way while the rest carry the load"
    assert way in cluster.status["plan"]
    fewest = [replicas]

    def end(c: Cluster) -> bool:
        # Never fewer than carry everybody, and never two at once: the auditor looks.
        fewest.append(min(fewest[-1], c.replicas()["v1"]))
        return c.phase == "Promoting"

    audit.until(end)
    assert (fewest[-1], pods(cluster)["v2"]) == (least, replicas - least)
    audit.until(lambda c: c.phase == "Stable" and c.says("Ready")[0] == "True")
    assert pods(cluster) == {"v1": 0, "v2": replicas}


def test_fewer_replicas_while_two_are_lent_call_back_what_is_too_many() -> None:
    cluster = lending(3, 3)
    audit = Audit(cluster)
    audit.until(lambda c: lent(c) == 2)
    cluster.edit(replicas=2)
    audit.turn(1.0)
    assert (cluster.phase, lent(cluster), cluster.replicas()["v1"]) == ("Reverting", 0, 2)
    audit.until(lambda c: c.phase == "Preparing")
    assert cluster.status["failed"] == []


def test_fewer_replicas_as_a_pod_is_lent_take_one_pod_and_no_other_unjudged() -> None:
    # Given an operator that dies when it has noted a loan, before it has taken the pod
    cluster = wanting(3, 3)
    audit = Audit(cluster)
    while not lent(cluster):
        cluster.fail_action = 1
        audit.turn(1.0)
    cluster.fail_action = None
    assert (lent(cluster), cluster.replicas()["v1"]) == (1, 3)
    # When the spec is lowered before the next one looks
    cluster.restart_operator()
    cluster.edit(replicas=2)
    # Then the one goes, and another only when the load has been looked at for half a minute with that one gone
    audit.turn(1.0)
    assert (lent(cluster), cluster.replicas()["v1"]) == (0, 2)
    began = cluster.true_time
    audit.until(lambda c: c.phase == "Watching" or c.replicas()["v1"] < 2)
    assert (lent(cluster), cluster.replicas()["v1"]) == (1, 1)
    assert cluster.true_time - began >= 28


def in_preparing() -> Cluster:
    cluster = lending(3, 3)
    assert cluster.phase == "Preparing"
    return cluster


def in_shadow() -> Cluster:
    return lending(3, 3, shadow={"percent": 10, "samples": 100_000}).until_phase("Shadow").turns(3)


def in_canary() -> Cluster:
    return lending(3, 3, steps=[{"weight": 10, "soak": "10m"}, {"weight": 100, "soak": "3s"}]).until_phase("Canary")


@pytest.mark.parametrize("begun", [in_preparing, in_shadow, in_canary])
def test_fewer_replicas_leave_stable_the_pods_of_which_is_known_that_they_carry_the_load(
    begun: Callable[[], Cluster],
) -> None:
    # Given one of three pods lent, so that two are known to carry the load
    cluster = begun()
    audit = Audit(cluster)
    phase = cluster.phase
    assert (lent(cluster), cluster.status["rollout"]["kept"]) == (1, 2)
    # When two are asked for, and nobody can say what one alone would bear
    cluster.gateways[0].silent = True
    cluster.edit(replicas=2)
    # Then both stay, nothing is lent any more, and the rollout goes on where it was
    audit.turn(1.0)
    for _ in range(60):
        audit.turn(1.0)
        assert (cluster.phase in (phase, "Canary"), lent(cluster), cluster.replicas()["v1"]) == (True, 0, 2)
    assert [e.reason for e in cluster.events].count("LoanResized") == 1


def test_what_is_lent_of_more_pods_than_before_was_judged_for_so_many_more() -> None:
    cluster = in_canary()
    audit = Audit(cluster)
    cluster.capacity = 6
    cluster.edit(replicas=4)
    audit.turn(1.0)
    assert (lent(cluster), cluster.replicas()["v1"], cluster.status["rollout"]["kept"]) == (1, 3, 3)
    cluster.edit(replicas=3)
    audit.turn(1.0)
    assert (lent(cluster), cluster.replicas()["v1"], cluster.status["rollout"]["kept"]) == (0, 3, 0)


def test_how_long_requests_on_a_pod_that_makes_way_have_is_said_before_and_as_it_goes() -> None:
    cluster = full()
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.turn()
    # A preStop of 5 s, and engine.shutdownTimeout.
    said = "what is open on a pod that leaves has 10 s to end"
    assert said in cluster.status["plan"]
    cluster.until(lambda c: lent(c) == 1)
    (event,) = (e for e in cluster.events if e.reason == "Borrowed")
    assert event.message.endswith(said)


def test_of_a_pool_that_was_made_otherwise_it_is_not_said() -> None:
    cluster = full()
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.turn()
    world = observe(cluster.observe(), RULES)
    assert isinstance(world, World)
    assert notice(world) != ""
    name = world.state.stable
    unknown = replace(world.stable, pool={"spec": {"template": {"spec": {"containers": []}}}})
    for stable in (unknown, replace(world.stable, pool=None, snapshot=None)):
        assert notice(replace(world, revisions={**world.revisions, name: stable})) == ""
    recorded = replace(world.stable, pool=None)
    assert notice(replace(world, revisions={**world.revisions, name: recorded})) == notice(world)


def test_places_beside_stable_are_used_before_any_is_taken() -> None:
    cluster = lending(places=4, replicas=3)
    assert (lent(cluster), pods(cluster)["v2"]) == (1, 1)
    cluster.until_phase("Watching")


def replicas_one() -> Cluster:
    return wanting(1, 1)


def too_many() -> Cluster:
    return wanting(4, 4, most=1)


def too_many_for_auto() -> Cluster:
    return wanting(3, 3, mode="Auto")


def by_surge() -> Cluster:
    return wanting(mode="Surge")


def patient() -> Cluster:
    return wanting(mode="Auto", deadlines={"scheduling": "10m"})


def paused() -> Cluster:
    cluster = full()
    cluster.ask("pause")
    cluster.turn()
    cluster.apply("v2", replicas=2, rollout=terms())
    return cluster.turns(3)


def incomplete() -> Cluster:
    cluster = full(places=2, replicas=2)
    cluster.nodes[cluster.pods_of("v1")[0].node] = False
    cluster.apply("v2", replicas=2, rollout=terms())
    return cluster.turns(3)


def unheard() -> Cluster:
    cluster = wanting()
    cluster.gateways[0].silent = True
    return cluster


def alone() -> Cluster:
    cluster = wanting()
    cluster.gateways = []
    return cluster


def stuck() -> Cluster:
    cluster = full()
    cluster.long_streams = True
    cluster.turns(3)
    cluster.rate = 0.0
    cluster.apply("v2", replicas=2, rollout=terms())
    return cluster.turns(3)


def loaded() -> Cluster:
    cluster = full()
    cluster.rate, cluster.pod_rate = 10.0, 4.0
    cluster.apply("v2", replicas=2, rollout=terms())
    return cluster.turns(3)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (by_surge, "lets no pod of stable make way: write Borrow"),
        (replicas_one, "the only pod of stable cannot make way: write capacity.mode: Recreate"),
        (too_many, "2 of 4 pods of stable would have to make way: write capacity.maxUnavailable: 2"),
        (patient, "a node may still come for"),
        (paused, "paused: nothing is taken from stable"),
        (incomplete, "1 of 2 pods of stable are ready"),
        (unheard, "clients wait for is unknown: no answer from gateway"),
        (alone, "clients wait for is unknown: there is no gateway pod"),
        (stuck, "requests are open on stable and none goes on"),
        (loaded, "fewer pods would be too slow"),
        (too_many_for_auto, "2 of 3 pods of stable would have to make way: write capacity.maxUnavailable: 2"),
    ],
)
def test_nothing_is_taken_and_it_says_why(made: Callable[[], Cluster], says: str) -> None:
    cluster = made().turns(50)
    assert (cluster.phase, cluster.replicas()["v1"], lent(cluster)) == (
        "Preparing",
        cluster.deployment["spec"]["replicas"],
        0,
    )
    assert says in cluster.condition("Reconciling")["message"] + cluster.condition("Stalled")["message"]
    assert cluster.status["failed"] == []


def test_more_places_may_be_allowed_in_mid_rollout() -> None:
    cluster = too_many().turns(40)
    cluster.edit(rollout=terms(most=2))
    cluster.until(lambda c: c.phase == "Watching", limit=400)


def test_no_traffic_at_all_is_carried_by_fewer_pods() -> None:
    cluster = full()
    cluster.rate = 0.0
    cluster.apply("v2", replicas=2, rollout=terms())
    cluster.turn()
    cluster.until(lambda c: lent(c) == 1)


def test_a_new_operator_looks_at_the_load_for_itself_before_it_takes_anything() -> None:
    cluster = wanting().turns(25)
    cluster.restart_operator()
    cluster.turns(25)
    assert lent(cluster) == 0
    cluster.until(lambda c: lent(c) == 1)


@pytest.mark.parametrize(
    "behaviour", [Behaviour(exit_code=1), Behaviour(identity="other"), Behaviour(pull=("ErrImageNeverPull", "none"))]
)
def test_a_bad_candidate_gives_back_and_stable_is_whole_again(behaviour: Behaviour) -> None:
    cluster = full()
    cluster.behaviours["v2"] = behaviour
    audit = Audit(cluster)
    cluster.apply("v2", replicas=2, rollout=terms())
    audit.until(lambda c: c.phase == "Reverting")
    # Asked for in the very pass that turns back; it comes up as soon as there is a place.
    assert cluster.replicas()["v1"] == 2
    audit.until(lambda c: c.phase == "RolledBack")
    audit.until(lambda c: c.ready_pods(c.revision("v1")) == 2)
    assert (cluster.weights(), lent(cluster)) == ({"v1": 100}, 0)


def test_a_load_that_rises_calls_back_what_was_lent_and_for_ten_minutes_nothing_is_lent_again() -> None:
    # Given a candidate that has one of two places
    cluster = lending(steps=[{"weight": 10, "soak": "5m"}, {"weight": 100, "soak": "3s"}])
    audit = Audit(cluster)
    audit.until(lambda c: c.weights() == {"v1": 90, "v2": 10})
    # When the one pod that is left has more than it can answer in time
    cluster.pod_rate, cluster.rate = 8.0, 12.0
    began = cluster.true_time
    audit.until(lambda c: c.phase == "Reverting")
    # Then it is called back within a minute, and nobody is to blame
    assert cluster.true_time - began < 60
    audit.until(lambda c: c.phase == "Preparing")
    assert (cluster.status["failed"], cluster.replicas()["v1"]) == ([], 2)
    # When the load falls at once
    cluster.rate = 1.0
    called = cluster.true_time
    # Then the same does not begin again for ten minutes, and says so
    for _ in range(50):
        audit.turn(5.0)
    assert lent(cluster) == 0
    assert "it lends nothing for" in cluster.condition("Stalled")["message"]
    audit.until(lambda c: lent(c) == 1, limit=600)
    assert cluster.true_time - called >= 590


def test_between_too_slow_to_lend_and_too_slow_to_keep_nothing_moves() -> None:
    cluster = lending(steps=[{"weight": 10, "soak": "10m"}, {"weight": 100, "soak": "3s"}])
    cluster.until(lambda c: c.weights() == {"v1": 90, "v2": 10})
    for turn in range(200):
        cluster.pod_rate = 5.0 if turn % 14 == 0 else 50.0
        cluster.turn()
    assert (cluster.phase, lent(cluster)) == ("Canary", 1)


def test_a_silent_gateway_calls_nothing_back() -> None:
    cluster = lending()
    cluster.until_phase("Canary")
    cluster.gateways[0].silent = True
    cluster.pod_rate = 1.0
    cluster.turns(60)
    assert (cluster.phase, lent(cluster)) == ("Canary", 1)


def test_when_the_candidate_carries_its_part_going_back_would_help_nobody() -> None:
    cluster = lending(steps=[{"weight": 50, "soak": "5m"}, {"weight": 100, "soak": "3s"}])
    cluster.until(lambda c: c.weights() == {"v1": 50, "v2": 50})
    cluster.pod_rate, cluster.rate = 4.0, 12.0
    cluster.turns(100)
    assert (cluster.phase, lent(cluster)) == ("Canary", 1)


def test_no_step_is_taken_that_its_pods_would_not_carry() -> None:
    cluster = lending(analysis={"minSamples": 5, "metrics": ["errors"]})
    cluster.until(lambda c: c.weights() == {"v1": 50, "v2": 50})
    cluster.pod_rate = 4.0
    cluster.turns(60)
    assert (cluster.phase, cluster.weights()) == ("Canary", {"v1": 50, "v2": 50})
    assert cluster.says("Reconciling") == ("True", "TooMuchLoad")
    cluster.pod_rate = 50.0
    cluster.until_phase("Watching")


def test_a_place_that_somebody_else_takes_is_called_back_and_no_other_is_tried() -> None:
    cluster = wanting(4, 4, most=2, deadlines={"scheduling": "90s"}).turns(25)
    cluster.capacity = 2
    cluster.until(lambda c: lent(c) == 1)
    began = cluster.true_time
    cluster.until(lambda c: lent(c) != 1, limit=120)
    assert (cluster.phase, lent(cluster)) == ("Reverting", 0)
    assert 85 <= cluster.true_time - began <= 100
    cluster.until_phase("Preparing")
    assert (cluster.replicas()["v1"], cluster.status["failed"]) == (4, [])


def test_what_the_spec_allows_no_more_is_called_back() -> None:
    cluster = lending()
    cluster.edit(rollout=terms("Surge"))
    cluster.turn()
    assert (cluster.phase, cluster.replicas()["v1"]) == ("Reverting", 2)
    cluster.until_phase("Preparing").turns(40)
    assert lent(cluster) == 0


@pytest.mark.parametrize(
    "happen",
    [
        lambda c: c.ask("abort"),
        lambda c: c.apply("v3", replicas=2, rollout=terms()),
        lambda c: c.edit(replicas=0),
        lambda c: c.edit(replicas=1),
        lambda c: c.apply("v1", replicas=2, rollout=terms()),
    ],
)
def test_whatever_ends_the_rollout_gives_back(happen: Callable[[Cluster], None]) -> None:
    cluster = lending()
    audit = Audit(cluster)
    happen(cluster)
    audit.until(lambda c: c.phase == "Reverting")
    assert lent(cluster) == 0
    assert cluster.replicas()["v1"] == (cluster.deployment["spec"]["replicas"] or 1)


def test_more_copies_want_more_pods_and_another_of_stable_makes_way() -> None:
    cluster = lending(4, 4, most=2, shadow={"percent": 10, "samples": 100_000})
    cluster.until_phase("Shadow").turns(3)
    assert lent(cluster) == 1
    cluster.edit(rollout=terms(most=2, shadow={"percent": 60, "samples": 10}))
    cluster.until(lambda c: lent(c) == 2)
    assert cluster.phase == "Shadow"
    cluster.until_phase("Watching")


def test_a_load_that_rises_while_only_copies_are_answered_calls_back_as_well() -> None:
    cluster = lending(shadow={"percent": 10, "samples": 100_000}).until_phase("Shadow")
    cluster.pod_rate = 4.0
    cluster.until_phase("Reverting", limit=60)
    assert (lent(cluster), cluster.replicas()["v1"], cluster.status["failed"]) == (0, 2, [])


@pytest.mark.parametrize("strategy", ["Immediate", "BlueGreen"])
def test_all_at_once_needs_as_many_as_carry_everything(strategy: str) -> None:
    settings = terms(strategy=strategy)
    settings.pop("steps")
    cluster = serving("v1", capacity=2, replicas=2, rollout=settings)
    cluster.apply("v2", replicas=2, rollout=settings)
    if strategy == "BlueGreen":
        cluster.until(lambda c: c.says("Reconciling")[1] == "WaitingForPromote")
        assert cluster.replicas() == {"v1": 1, "v2": 1}
        cluster.ask(f"promote@{cluster.revision('v2')}")
    cluster.until_phase("Watching")
    assert cluster.image("stable") == "v2"


def test_the_death_of_the_operator_at_any_write_lends_nothing_twice() -> None:
    for write in range(4):
        cluster = wanting().turns(26)
        audit = Audit(cluster)
        cluster.fail_action = write
        for _ in range(6):
            audit.turn(1.0)
        cluster.fail_action = None
        cluster.restart_operator()
        audit.until(lambda c: c.phase == "Watching")


def test_what_failed_in_the_watch_makes_way_for_what_comes_back() -> None:
    # Given v2 has taken both places after its promotion
    cluster = lending(watch="5m").until_phase("Watching").until(lambda c: c.ready_pods(c.revision("v2")) == 2)
    assert cluster.pods_of("v1") == []
    audit = Audit(cluster)
    # When one of its pods crashes
    cluster.crash(cluster.pods_of("v2")[0])
    audit.until(lambda c: c.phase == "Restoring")
    # Then a pod of it makes way, and v1 serves again, in the end on both places
    audit.until(lambda c: c.phase == "RolledBack")
    audit.until(lambda c: c.ready_pods(c.revision("v1")) == 2)
    assert (cluster.image("stable"), cluster.weights(), pods(cluster)["v2"]) == ("v1", {"v1": 100}, 0)


def test_without_leave_to_lend_a_restore_waits_for_room() -> None:
    cluster = serving("v1", capacity=4, replicas=2, rollout=terms("Surge", watch="5m"))
    cluster.apply("v2", replicas=2, rollout=terms("Surge", watch="5m"))
    cluster.until_phase("Watching").capacity = 2
    for pod in cluster.pods_of("v1"):
        cluster.delete_pod(pod)
    cluster.turns(3)
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turns(50)
    assert (cluster.phase, cluster.replicas()["v2"]) == ("Restoring", 2)
