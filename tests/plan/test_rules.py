"""Rules whose absence no other table test notices: each of these fails without the rule that it is named after."""

from tests.plan.parts import Behaviour
from tests.plan.test_canary import PROBES, canary
from tests.plan.test_watch import watched
from tests.plan.world import Cluster, serving


def starting() -> Cluster:
    """v2's pods take long to start; v1 serves."""
    cluster = serving("v1")
    cluster.behaviours["v2"] = Behaviour(start=40.0)
    cluster.apply("v2")
    return cluster.until(lambda c: bool(c.pods_of("v2")))


def test_at_zero_replicas_nothing_is_waited_for() -> None:
    cluster = serving("v1").turns(30)
    cluster.edit(replicas=0)
    cluster.turns(5)
    assert cluster.last.reasons == ("ScaledToZero: replicas is 0: nothing runs, requests get 503",)
    cluster.apply("v2", replicas=0)
    cluster.turns(5)
    assert (cluster.last.reasons[0].partition(":")[0], cluster.status.get("candidate")) == ("ScaledToZero", None)


def test_a_candidate_that_starts_is_withdrawn_when_nothing_is_wanted() -> None:
    cluster = starting()
    cluster.edit(replicas=0)
    cluster.turns(6)
    assert (cluster.status.get("candidate"), cluster.status["failed"]) == (None, [])


def test_a_canary_is_withdrawn_when_nothing_is_wanted() -> None:
    cluster = canary(10)
    cluster.edit(replicas=0)
    cluster.turn()
    assert (cluster.phase, cluster.status["weights"]["candidate"]["desired"]) == ("Reverting", 0)


def test_a_third_revision_waits_for_the_first_to_leave_and_says_so() -> None:
    cluster = watched()
    cluster.long_streams = True
    cluster.turns(2)
    cluster.apply("v3")
    cluster.turns(3)
    assert (cluster.phase, cluster.last.reasons[0].partition(":")[0]) == ("Preparing", "Releasing")


def test_a_prompt_that_failed_on_both_must_have_passed_for_a_while_before_the_first_step() -> None:
    cluster = serving("v1", probes=PROBES)
    bad = Behaviour(fails_prompt=True)
    cluster.behaviours |= {"v1": bad, "v2": bad}
    cluster.apply("v2", probes=PROBES)
    cluster.turns(12)
    assert (cluster.phase, cluster.status["failed"]) == ("Preparing", [])
    cluster.behaviours |= {"v1": Behaviour(), "v2": Behaviour()}
    cluster.turns(2)
    assert cluster.phase == "Preparing"
    cluster.until_phase("Canary", limit=10)


def test_promote_does_not_step_over_missing_pods() -> None:
    cluster = canary(100, replicas=2)
    cluster.behaviours["v2"] = Behaviour(start=60.0)
    cluster.delete_pod(cluster.pods_of("v2")[0])
    cluster.turns(2)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.turns(3)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Canary", "PodsNotReady")


def promoting() -> Cluster:
    """v2 has passed every step; the commit is not written yet."""
    return canary(100).until_phase("Promoting")


def test_a_crash_before_the_commit_turns_back() -> None:
    cluster = promoting()
    cluster.crash(cluster.pods_of("v2")[0])
    cluster.turn()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})


def test_scaling_to_zero_before_the_commit_withdraws() -> None:
    cluster = promoting()
    cluster.edit(replicas=0)
    cluster.turn()
    assert (cluster.phase, cluster.image("stable")) == ("Reverting", "v1")


def test_a_newer_spec_before_the_commit_withdraws() -> None:
    cluster = promoting()
    cluster.apply("v3")
    cluster.turn()
    assert (cluster.phase, cluster.image("stable")) == ("Reverting", "v1")


def test_a_watch_ends_in_the_pass_that_sees_that_nothing_is_wanted() -> None:
    cluster = watched()
    cluster.edit(replicas=0)
    cluster.turn()
    assert (cluster.phase, cluster.status.get("previous")) == ("Stable", None)


def test_a_watch_says_how_long_it_still_is() -> None:
    cluster = watched()
    cluster.turn()
    assert cluster.last.reasons[0].startswith("Watching: ")


def test_a_restore_is_over_when_every_gateway_serves_by_it() -> None:
    cluster = watched()
    cluster.gateways[0].silent = True
    cluster.behaviours["v2"] = Behaviour(identity="other")
    cluster.turns(10)
    assert (cluster.phase, cluster.weights()["v1"]) == ("Restoring", 100)
    cluster.gateways[0].silent = False
    cluster.until_phase("RolledBack")


def test_a_share_does_not_rise_on_a_pool_that_somebody_has_just_deleted() -> None:
    cluster = canary(10)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.pass_time(1.0)
    # Its pods are still there, and still answer.
    del cluster.objects["Deployment", f"story-{cluster.status['candidate']}"]
    cluster.reconcile()
    assert (cluster.status["weights"]["candidate"]["desired"], cluster.weights()["v2"]) == (50, 10)
    cluster.reconcile()
    assert cluster.weights()["v2"] == 50
