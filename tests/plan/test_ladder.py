"""The ladder of Guardrails in a rollout: too many findings hold it or turn it back; of what serves they are told."""

import math
import random
import statistics
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.world import KEY, Cluster, rollout, serving
from understudy.domain.key import Key
from understudy.domain.state import DeploymentState, GatewayState, Guarded, RevisionState
from understudy.plan.ladder import Rung, evidence, exceeds, found_on, rungs_of, standing
from understudy.plan.observed import GatewayPod

WORD = "safety/violence/6"
STEPS = [{"weight": 20, "soak": "3s"}, {"weight": 50, "soak": "60s"}, {"weight": 100, "soak": "3s"}]
SLOW = [{"weight": 20, "soak": "10m"}, {"weight": 100, "soak": "3s"}]


def rung(action: str = "Rollback", **fields: Any) -> dict[str, Any]:
    return {"per": "revision", "rate": 0.1, "minTurns": 20, "action": action, **fields}


def guardrail(*rungs: dict[str, Any], name: str = "safety", mode: str = "enforce") -> dict[str, Any]:
    meta = {"name": name, "namespace": "tales", "uid": f"uid-{name}"}
    return {"metadata": meta, "spec": {"selector": {}, "mode": mode, "failurePolicy": "Open", "ladder": [*rungs]}}


def guarded(*guardrails: dict[str, Any], **settings: Any) -> Cluster:
    """v1 serves under these Guardrails, and says nothing wrong."""
    cluster = serving("v1", rollout=rollout(**{"steps": STEPS, **settings}))
    cluster.guardrails = guardrails
    return cluster


def trying(*guardrails: dict[str, Any], rate: float = 0.5, what: str = WORD, **settings: Any) -> Cluster:
    """v2, of which so many turns have findings, has its first share."""
    cluster = guarded(*guardrails, **settings)
    cluster.behaviours["v2"] = Behaviour(findings={what: rate})
    cluster.apply("v2", rollout=rollout(**{"steps": STEPS, **settings}))
    return cluster.until_phase("Canary")


def breach(cluster: Cluster) -> str:
    return str(cluster.condition("GuardrailBreached").get("message", ""))


# Values.


def a_rung(**fields: Any) -> Rung:
    (found,) = rungs_of([guardrail(rung(**fields))])
    return found


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, (100, 18)),
        ({"category": "violence"}, (100, 8)),
        ({"severityAtLeast": 4}, (100, 13)),
        ({"category": "violence", "severityAtLeast": 6}, (100, 3)),
        ({"category": "hate"}, (100, 0)),
    ],
)
def test_a_rung_counts_what_it_is_about(fields: dict[str, Any], counted: tuple[int, int]) -> None:
    found = {"safety/violence/6": 3, "safety/violence/2": 5, "safety/pii/4": 10, "other/violence/6": 50}
    assert found_on(RevisionState(guard=Guarded(100, found)), a_rung(**fields)) == counted


def test_turns_with_findings_are_never_more_than_turns() -> None:
    seen = RevisionState(guard=Guarded(10, {"safety/violence/6": 8, "safety/pii/6": 8}))
    assert found_on(seen, a_rung()) == (10, 10)


@pytest.mark.parametrize(
    ("counted", "too_many"),
    [((19, 19), False), ((20, 1), False), ((20, 2), True), ((1000, 99), False), ((0, 0), False)],
)
def test_the_rate_as_it_stands_is_judged_from_enough_turns_on(counted: tuple[int, int], too_many: bool) -> None:
    assert exceeds(a_rung(), counted) is too_many


@pytest.mark.parametrize(
    ("counted", "too_many"),
    [
        ((100, 10), False),
        ((100, 15), False),
        ((100, 30), True),
        ((1000, 130), False),
        ((1000, 150), True),
        ((19, 19), False),
    ],
)
def test_a_sequential_test_wants_it_shown(counted: tuple[int, int], too_many: bool) -> None:
    assert exceeds(a_rung(test="sequential", alpha=0.01), counted) is too_many


def test_the_smaller_alpha_is_the_more_it_takes() -> None:
    assert exceeds(a_rung(test="sequential"), (100, 23))
    assert not exceeds(a_rung(test="sequential", alpha=0.0001), (100, 23))


def test_the_evidence_is_a_fair_bet_at_the_rate_itself() -> None:
    # What a turn is worth on average at the rate is what was there before it.
    for rate in (0.005, 0.1, 0.9):
        before = evidence(rate, (50, 4))
        after = rate * evidence(rate, (51, 5)) + (1 - rate) * evidence(rate, (51, 4))
        assert after == pytest.approx(before)
        less = rate / 2
        assert less * evidence(rate, (51, 5)) + (1 - less) * evidence(rate, (51, 4)) < before


def turned_back(times: float, judged: Rung, revisions: int = 100, turns: int = 20_000) -> tuple[int, float]:
    """Of so many revisions with `times` the rate of the rung those that ever exceed it, and their median turns then."""
    chance = random.Random(7)
    until: list[int] = []
    for _ in range(revisions):
        seen = found = 0
        while not exceeds(judged, (seen, found)):
            # Turns up to the next one with a finding.
            seen += int(math.log(1 - chance.random()) / math.log(1 - times * judged.rate)) + 1
            found += 1
            if seen > turns:
                break
        else:
            until.append(seen)
    return len(until), statistics.median(until or [math.inf])


@pytest.mark.parametrize(
    ("times", "threshold", "sequential"),
    [
        (1.0, (93, 2344), (0, math.inf)),
        (1.5, (100, 2116.0), (92, 9462.0)),
        (2.0, (100, 2060.5), (100, 2831.5)),
        (4.0, (100, 2031.5), (100, 2031.5)),
    ],
)
def test_at_the_rate_itself_chance_decides_unless_it_has_to_be_shown(
    times: float, threshold: tuple[int, float], sequential: tuple[int, float]
) -> None:
    # The figures of docs/guardrails.md.
    fields = {"rate": 0.005, "minTurns": 2000}
    assert turned_back(times, a_rung(**fields)) == threshold
    assert turned_back(times, a_rung(test="sequential", alpha=0.01, **fields)) == sequential


def test_nothing_speaks_against_a_rate_of_all_turns() -> None:
    assert evidence(1.0, (1000, 1000)) == 1.0
    assert evidence(0.1, (0, 0)) == 1.0
    assert evidence(0.000001, (10**6, 10**6)) > 1e300


def test_rungs_are_those_for_revisions_and_each_is_there_once() -> None:
    session = {"per": "session", "count": 3, "within": "10m", "action": "CoolDown"}
    rungs = rungs_of([guardrail(session, rung(), rung(), rung("Notify")), guardrail(rung("Rollback"), name="b")])
    assert [(r.guardrail, r.action, r.rate, r.least, r.alpha, r.severity) for r in rungs] == [
        ("safety", "Rollback", 0.1, 20, None, 2),
        ("safety", "Notify", 0.1, 20, None, 2),
        ("b", "Rollback", 0.1, 20, None, 2),
    ]
    assert len({r.key for r in rungs}) == 3
    assert a_rung(test="sequential").alpha == 0.01


def test_another_rate_is_another_rung_and_its_place_is_not() -> None:
    assert a_rung().key != a_rung(rate=0.2).key
    _, second = rungs_of([guardrail(rung("Notify"), rung(rate=0.3))])
    assert second.key == a_rung(rate=0.3).key


def test_in_monitor_mode_a_rung_only_tells() -> None:
    (found,) = rungs_of([guardrail(rung("Rollback"), mode="monitor")])
    assert found.action == "Notify"


def test_what_serves_is_judged_by_what_all_gateways_have_counted() -> None:
    def told(found: int) -> GatewayState:
        seen = RevisionState(guard=Guarded(30, {WORD: found}))
        return GatewayState("s", 9.0, {str(KEY): DeploymentState(revisions={"r": seen})})

    gateways = [
        GatewayPod("a", "a", told(2), 0.5),
        GatewayPod("b", "b", told(5), 0.5),
        GatewayPod("c", "c", None, float("inf")),
        GatewayPod("d", "d", GatewayState("s", 9.0, {}), 0.5),
    ]
    assert standing(a_rung(), gateways, str(KEY), "r") == (60, 7)
    assert standing(a_rung(), gateways, str(Key("tales", "other")), "r") == (0, 0)
    assert standing(a_rung(), gateways, str(KEY), "x") == (0, 0)


# Rollback.


def test_too_many_findings_turn_a_candidate_back_and_it_is_heard_no_more() -> None:
    cluster = trying(guardrail(rung()), guardrail(rung("Notify", rate=0.9), name="b"))
    cluster.long_streams = True
    audit = Audit(cluster)
    audit.until(lambda c: c.phase == "Reverting", limit=60)
    (failed,) = cluster.status["failed"]
    assert failed["class"] == "GuardrailBreached"
    assert failed["message"].startswith("findings (Guardrail safety, ladder[0]): ")
    assert failed["message"].endswith(f"%) on {cluster.revision('v2')}, 10.00% are too many")
    # Its streams are ended: nobody is left with what it says
    audit.until(lambda c: c.phase == "RolledBack", limit=10)
    assert sum(gateway.cut for gateway in cluster.gateways) > 0
    assert cluster.weights() == {"v1": 100}
    assert breach(cluster) == ""


def test_it_is_turned_back_within_a_second_of_the_turn_that_is_too_many() -> None:
    cluster = trying(guardrail(rung(minTurns=100)), steps=SLOW)
    revision = cluster.revision("v2")

    def counted(c: Cluster) -> int:
        return sum(gateway.turns.get(revision, 0) for gateway in c.gateways)

    cluster.until(lambda c: c.phase == "Reverting")
    assert 100 <= counted(cluster) <= 104


def test_a_candidate_that_says_nothing_wrong_passes() -> None:
    cluster = trying(guardrail(rung(), rung("PauseRollout")), rate=0.05)
    cluster.until_phase("Stable", limit=600)
    assert cluster.image("stable") == "v2"
    assert not [e for e in cluster.events if e.reason == "GuardrailBreached"]


def test_what_stable_says_as_well_turns_nobody_back_and_is_told_of() -> None:
    cluster = guarded(guardrail(rung(), rung("PauseRollout")), steps=SLOW)
    cluster.behaviours["v1"] = Behaviour(findings={WORD: 0.4})
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 0.5})
    cluster.apply("v2", rollout=rollout(steps=SLOW))
    cluster.until_phase("Canary").turns(60)
    assert (cluster.phase, cluster.status["paused"], cluster.status["failed"]) == ("Canary", False, [])
    assert "on its comparator, so nothing follows" in breach(cluster)
    assert f"on {cluster.revision('v1')}, 10.00% are too many; Rollback does not apply: it is what serves" in breach(
        cluster
    )


def test_one_that_is_much_worse_than_a_bad_stable_goes_back() -> None:
    cluster = guarded(guardrail(rung()), steps=SLOW)
    cluster.behaviours["v1"] = Behaviour(findings={WORD: 0.15})
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 0.5})
    cluster.apply("v2", rollout=rollout(steps=SLOW))
    cluster.until_phase("Canary").until_phase("Reverting", limit=60)


def test_where_nothing_is_known_of_stable_the_rate_alone_counts() -> None:
    settings = rollout(strategy="Immediate")
    settings.pop("steps")
    cluster = serving("v1", rollout=settings)
    cluster.guardrails = (guardrail(rung()),)
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 0.5})
    cluster.apply("v2", rollout=settings)
    cluster.until_phase("RolledBack", limit=60)
    assert cluster.status["failed"][0]["class"] == "GuardrailBreached"


def test_in_the_watch_the_previous_revision_comes_back_once() -> None:
    cluster = guarded(guardrail(rung(minTurns=100)), watch="5m")
    cluster.apply("v2", rollout=rollout(steps=STEPS, watch="5m"))
    cluster.until_phase("Watching", limit=600)
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 1.0})
    audit = Audit(cluster)
    audit.until(lambda c: c.phase == "RolledBack", limit=200)
    assert (cluster.image("stable"), cluster.weights()) == ("v1", {"v1": 100})


def test_what_serves_is_not_turned_back_to_nothing_and_it_is_told_once() -> None:
    cluster = guarded(guardrail(rung(), rung("PauseRollout"), rung("Notify")))
    cluster.behaviours["v1"] = Behaviour(findings={WORD: 0.5})
    cluster.turns(40, 5.0)
    assert (cluster.phase, cluster.weights(), cluster.status["paused"]) == ("Stable", {"v1": 100}, False)
    rollback, pause, notify = breach(cluster).split("; findings")
    assert "Rollback does not apply: it is what serves" in rollback
    assert "PauseRollout does not apply: it is what serves" in pause
    assert notify.endswith("10.00% are too many")
    assert [e.reason for e in cluster.events].count("GuardrailBreached") == 1
    # It is mended: gateways that begin anew have nothing against it
    cluster.behaviours["v1"] = Behaviour()
    for gateway in cluster.gateways:
        cluster.restart_gateway(gateway)
    cluster.turns(3)
    assert breach(cluster) == ""


def test_while_a_gateway_is_silent_what_was_said_before_holds() -> None:
    cluster = guarded(guardrail(rung("Notify")))
    cluster.behaviours["v1"] = Behaviour(findings={WORD: 0.5})
    cluster.turns(20)
    said = breach(cluster)
    assert said
    cluster.restart_operator()
    cluster.gateways[0].silent = cluster.gateways[1].silent = True
    cluster.turn()
    assert breach(cluster)
    cluster.guardrails = ()
    cluster.turn()
    assert breach(cluster) == ""


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_a_rung_that_only_notifies_tells_of_a_candidate_and_does_nothing(mode: str) -> None:
    cluster = trying(guardrail(rung("Notify" if mode == "enforce" else "Quarantine"), mode=mode), steps=SLOW).turns(40)
    assert (cluster.phase, cluster.status["paused"]) == ("Canary", False)
    assert breach(cluster).endswith(f"%) on {cluster.revision('v2')}, 10.00% are too many")


# PauseRollout.


def test_a_pause_holds_the_rollout_once_until_somebody_resumes_it() -> None:
    cluster = trying(guardrail(rung("PauseRollout")), steps=SLOW)
    cluster.until(lambda c: c.status["paused"], limit=60).turns(20)
    assert (cluster.phase, cluster.status["failed"], cluster.weights()["v2"]) == ("Canary", [], 20)
    assert cluster.says("Reconciling") == ("True", "Paused")
    assert breach(cluster).endswith("10.00% are too many; the rollout was paused for it")
    cluster.ask("resume")
    cluster.turns(20)
    # Who resumed has seen it; another operator does not begin anew either
    assert not cluster.status["paused"]
    cluster.restart_operator()
    cluster.turns(5)
    assert not cluster.status["paused"]
    assert [e.message for e in cluster.events if e.reason == "GuardrailBreached" and e.message.startswith("paused: ")]
    # In the next rollout it holds again
    cluster.ask("abort")
    cluster.until_phase("RolledBack").ask("retry")
    cluster.until(lambda c: c.status["paused"], limit=100)


def test_of_two_pauses_at_once_one_resume_is_enough() -> None:
    cluster = trying(guardrail(rung("PauseRollout"), rung("PauseRollout", rate=0.2)), steps=SLOW)
    cluster.until(lambda c: c.status["paused"], limit=60)
    assert len(cluster.status["rollout"]["acted"]) == 2
    cluster.ask("resume")
    cluster.turns(10)
    assert not cluster.status["paused"]


def test_a_pause_of_the_users_is_not_taken_over() -> None:
    cluster = trying(guardrail(rung("PauseRollout")), steps=SLOW)
    cluster.ask("pause")
    cluster.turns(30)
    assert "acted" not in cluster.status["rollout"]
    assert breach(cluster).endswith("the rollout is paused already")


def test_a_pause_after_the_promotion_is_only_told() -> None:
    cluster = guarded(guardrail(rung("PauseRollout", minTurns=100)), watch="5m")
    cluster.apply("v2", rollout=rollout(steps=STEPS, watch="5m"))
    cluster.until_phase("Watching", limit=600)
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 1.0})
    cluster.turns(60)
    assert (cluster.phase, cluster.status["paused"]) == ("Watching", False)
    assert breach(cluster).endswith("no rollout is there to pause")


def test_what_is_watched_and_has_nothing_good_to_go_back_to_is_told_of() -> None:
    cluster = guarded(guardrail(rung(minTurns=100)), watch="5m")
    cluster.apply("v2", rollout=rollout(steps=STEPS, watch="5m"))
    cluster.until_phase("Watching", limit=600)
    # Somebody has asked for what served before not to come back
    failed = {"revision": cluster.status["previous"], "class": "EngineCrash", "reason": "EngineCrash", "message": "x"}
    entry = {**failed, "at": "2027-01-15T08:00:00Z", "generation": 1}
    cluster.objects["ModelDeployment", "story"]["status"] = {**cluster.status, "failed": [entry]}
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 1.0})
    cluster.turns(60)
    assert cluster.phase == "Watching"
    assert breach(cluster).endswith("there is nothing to go back to")


def test_blue_is_held_before_it_becomes_green() -> None:
    settings = rollout(strategy="BlueGreen", autoPromoteAfter="5m")
    settings.pop("steps")
    cluster = serving("v1", rollout=settings)
    cluster.guardrails = (guardrail(rung("PauseRollout")),)
    cluster.behaviours["v2"] = Behaviour(findings={WORD: 0.5})
    cluster.testers = 5.0
    cluster.apply("v2", rollout=settings)
    cluster.until(lambda c: c.status["paused"], limit=60)
    cluster.turns(100, 5.0)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Preparing", 0)


# Quarantine.


def test_one_in_quarantine_starts_again_by_retry_alone() -> None:
    cluster = trying(guardrail(rung("Rollback"), rung("Quarantine", rate=0.3)))
    cluster.until_phase("RolledBack", limit=100)
    assert cluster.status["failed"][0]["class"] == "Quarantined"
    # The spec leaves it and comes back to it
    cluster.apply("v1", rollout=rollout(steps=STEPS))
    cluster.until_phase("Stable")
    cluster.apply("v2", rollout=rollout(steps=STEPS))
    cluster.turns(10)
    assert cluster.phase == "RolledBack"
    cluster.ask("retry")
    cluster.until_phase("Canary")


# Evidence.


def test_findings_outlive_operators_and_gateways() -> None:
    cluster = trying(guardrail(rung(minTurns=200)), steps=SLOW)
    for turn in range(1, 120):
        cluster.turn()
        if cluster.phase == "Reverting":
            break
        if turn % 20 == 0:
            cluster.restart_operator()
        if turn % 30 == 0:
            cluster.restart_gateway(cluster.gateways[0])
    # 200 turns at two a second, and what was counted in the seconds before an operator died is still there
    assert cluster.phase == "Reverting"
    assert 95 <= turn <= 112


def test_a_rung_that_is_new_counts_from_now_on() -> None:
    cluster = trying(guardrail(rung(rate=0.9)), steps=SLOW).turns(60)
    cluster.guardrails = (guardrail(rung(minTurns=40)),)
    cluster.turns(10)
    assert cluster.phase == "Canary"
    cluster.until_phase("Reverting", limit=30)


def test_another_rollout_of_the_same_revision_begins_at_nothing() -> None:
    cluster = trying(guardrail(rung(minTurns=100))).until_phase("RolledBack", limit=120)
    cluster.behaviours["v2"] = Behaviour()
    cluster.ask("retry")
    cluster.until_phase("Watching", limit=600)
    assert cluster.image("stable") == "v2"


def test_the_report_of_a_step_has_what_was_counted() -> None:
    cluster = trying(guardrail(rung(category="violence", severityAtLeast=4)), rate=0.05, steps=STEPS)
    cluster.until_phase("Watching", limit=600)
    report = cluster.objects["ModelSnapshot", f"story-{cluster.revision('v2')}"]["status"]["report"]
    (line,) = [
        line for line in report[0]["compared"] if line.startswith("violence from severity 4 on (Guardrail safety")
    ]
    assert line.endswith("on its comparator; Rollback from 10.00% of 20 turns on")


# The verdict.


def test_more_answers_changed_by_guardrails_than_on_stable_turn_it_back() -> None:
    cluster = guarded(guardrail(), steps=SLOW)
    cluster.rate = 50.0
    cluster.behaviours["v1"] = Behaviour(acted=0.02)
    cluster.behaviours["v2"] = Behaviour(acted=0.4)
    cluster.apply("v2", rollout=rollout(steps=SLOW))
    cluster.until_phase("Canary").until_phase("Reverting", limit=200)
    (failed,) = cluster.status["failed"]
    assert failed["class"] == "MoreBlocks"
    assert failed["message"].startswith("answers that Guardrails changed: ")


def test_no_more_than_tolerated_pass_and_without_a_guardrail_none_are_compared() -> None:
    for guardrails in ((guardrail(),), ()):
        cluster = guarded(*guardrails)
        cluster.behaviours["v1"] = cluster.behaviours["v2"] = Behaviour(acted=0.2)
        cluster.apply("v2", rollout=rollout(steps=STEPS))
        cluster.until_phase("Watching", limit=600)
        report = cluster.objects["ModelSnapshot", f"story-{cluster.revision('v2')}"]["status"]["report"]
        said = [line for line in report[0]["compared"] if "Guardrails changed" in line]
        assert len(said) == len(guardrails)
