"""The relative verdict in a rollout: a candidate that is worse than stable goes back, one that is as bad does not."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.world import Cluster, rollout, serving
from understudy.plan.relative import RELATIVE_CHECKS
from understudy.plan.rollout import RULES

STEPS = [{"weight": 10, "soak": "60s"}, {"weight": 50, "soak": "120s"}, {"weight": 100, "soak": "30s"}]
TERMS = rollout(steps=STEPS, watch="150s")
LONG = rollout(steps=[{"weight": 10, "soak": "600s"}, *STEPS[1:]])
METRICS = [
    ("errors", "WorseErrors", "errors"),
    ("rejected", "MoreRejections", "rejections"),
    ("timeToFirstToken", "SlowerFirstToken", "slow first tokens"),
    ("interTokenLatency", "SlowerTokens", "slow tokens"),
    ("emptyOutput", "MoreEmptyAnswers", "empty answers"),
    ("guardrailBlocks", "MoreBlocks", "answers that Guardrails changed"),
]
GUARDRAIL = {"metadata": {"name": "safety", "namespace": "tales"}, "spec": {"selector": {}, "failurePolicy": "Open"}}


def shows(metric: str, rate: float) -> Behaviour:
    """An image of which so many attempts are bad by this metric, too few for the ceiling of errors."""
    found = {"errors": Behaviour(error_rate=rate), "guardrailBlocks": Behaviour(acted=rate)}
    return found.get(metric) or Behaviour(bad={metric: rate})


def rolling(weight: int = 10, stable: Behaviour | None = None, terms: dict[str, Any] = TERMS) -> Cluster:
    """v2 has `weight` percent of a hundred requests a second, in force; v1 fails as `stable` says; both are guarded."""
    cluster = serving("v1", rollout=terms)
    cluster.guardrails = (GUARDRAIL,)
    cluster.rate = 100.0
    cluster.behaviours["v1"] = stable or Behaviour()
    cluster.apply("v2", rollout=terms)
    return cluster.until(lambda c: c.status["weights"]["candidate"]["programmed"] == weight, limit=400)


def report(cluster: Cluster, image: str = "v2") -> list[dict[str, Any]]:
    record = cluster.of_kind("ModelSnapshot")[f"story-{cluster.revision(image)}"]
    found: list[dict[str, Any]] = record["status"]["report"]
    return found


@pytest.mark.parametrize(("metric", "reason", "words"), METRICS)
@pytest.mark.parametrize("weight", [10, 50])
def test_one_that_is_worse_by_any_metric_goes_back_and_says_by_how_much(
    metric: str, reason: str, words: str, weight: int
) -> None:
    # Given a stable revision that is not perfect, and a candidate that is seven times worse.
    cluster = rolling(weight, shows(metric, 0.02))
    audit = Audit(cluster)
    cluster.behaviours["v2"] = shows(metric, 0.14)
    # When it is looked at for two minutes at most.
    for _ in range(120):
        audit.turn(1.0)
        if cluster.phase == "RolledBack":
            break
    # Then it is branded for just that, with numbers.
    (failure,) = cluster.status["failed"]
    assert failure["reason"] == reason
    assert words in failure["message"]
    assert "more than 1.5 times as many" in failure["message"]
    assert cluster.weights() == {"v1": 100}
    assert report(cluster)[-1]["verdict"].startswith(f"Fail: {reason}: {words}")


def test_one_that_is_as_bad_as_stable_passes_every_step() -> None:
    as_bad = Behaviour(error_rate=0.1, acted=0.1, bad={metric: 0.1 for metric, _, _ in METRICS[1:-1]})
    cluster = rolling(10, as_bad)
    cluster.behaviours["v2"] = as_bad
    cluster.until_phase("Stable", limit=800)
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v2", [])
    assert [(e["step"], e["verdict"]) for e in report(cluster)] == [
        ("10 %", "Pass"),
        ("50 %", "Pass"),
        ("100 %", "Pass"),
        ("watch", "Pass"),
    ]
    lines = report(cluster)[1]["compared"]
    assert [line.split(": ")[0] for line in lines] == [words for _, _, words in METRICS]
    assert all("on its comparator; evidence" in line for line in lines)


@pytest.mark.parametrize("check", RELATIVE_CHECKS)
def test_each_check_is_needed(check: Any) -> None:
    metric, reason, _ = METRICS[RELATIVE_CHECKS.index(check)]
    cluster = rolling(10, shows(metric, 0.02), LONG)
    cluster.rules = replace(RULES, relative_checks=tuple(c for c in RELATIVE_CHECKS if c is not check))
    cluster.behaviours["v2"] = shows(metric, 0.14)
    cluster.turns(120)
    assert (cluster.phase, cluster.status["failed"]) == ("Canary", [])
    cluster.rules = RULES
    cluster.turn()
    assert [f["reason"] for f in cluster.status["failed"]] == [reason]


@pytest.mark.parametrize("weight", [10, 50, 100])
@pytest.mark.parametrize("metric", [m for m, _, _ in METRICS])
def test_an_outage_of_both_turns_nothing_back(weight: int, metric: str) -> None:
    steps = [{"weight": w, "soak": "600s" if w == weight else "5s"} for w in (10, 50, 100)]
    cluster = rolling(weight, shows(metric, 0.01), rollout(steps=steps))
    cluster.behaviours["v1"] = cluster.behaviours["v2"] = shows(metric, 0.9)
    if weight == 100 and metric == "errors":
        # At 100 % what fails is tried on stable again; the world's gateways do not, so stable shows it by its probes.
        cluster.behaviours["v1"] = Behaviour(error_rate=0.9, unhealthy=True)
    cluster.turns(100)
    assert (cluster.phase, cluster.weights()["v2"], cluster.status["failed"]) == ("Canary", weight, [])


def test_a_metric_that_is_not_asked_for_is_not_judged() -> None:
    terms = rollout(steps=LONG["steps"], analysis={**TERMS["analysis"], "metrics": ["errors"]})
    cluster = rolling(10, terms=terms)
    cluster.behaviours["v2"] = shows("rejected", 0.9)
    cluster.turns(100)
    assert (cluster.phase, cluster.status["failed"]) == ("Canary", [])
    assert [line.split(":")[0] for line in report(cluster)[0]["compared"]] == ["errors"]


def test_all_at_once_is_judged_by_hard_faults_alone() -> None:
    terms = rollout(strategy="Immediate", watch="120s")
    cluster = serving("v1", rollout=terms)
    cluster.rate = 100.0
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    cluster.apply("v2", rollout=terms)
    cluster.until_phase("Watching").turns(100)
    assert (cluster.phase, cluster.status["failed"]) == ("Watching", [])


def test_gateways_that_take_no_samples_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = rolling(10)
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    state_of = cluster._state

    def older(gateway: Any) -> Any:
        state = state_of(gateway)
        found = {
            key: replace(d, revisions={r: replace(s, sample=type(s.sample)()) for r, s in d.revisions.items()})
            for key, d in state.deployments.items()
        }
        return replace(state, deployments=found)

    monkeypatch.setattr(cluster, "_state", older)
    cluster.until_phase("Watching", limit=400)


def turned_back(cluster: Cluster, restarts: int) -> float:
    """Seconds to the verdict on a candidate that has turned bad, with so many restarts of operator and gateway."""
    cluster.behaviours["v2"] = Behaviour(error_rate=0.08)
    began = cluster.true_time
    while cluster.phase == "Canary":
        cluster.turn()
        if restarts and int(cluster.true_time - began) % 9 == 0:
            cluster.restart_operator()
            restarts -= 1
    return cluster.true_time - began


def test_restarts_begin_nothing_anew() -> None:
    # A new process has to hear from gateways and pods first, which takes it a second or two.
    calm = turned_back(rolling(10, Behaviour(error_rate=0.02), LONG), 0)
    hurried = turned_back(rolling(10, Behaviour(error_rate=0.02), LONG), 3)
    assert calm > 27
    assert abs(hurried - calm) <= 6


def test_a_fault_reverts_while_paused() -> None:
    cluster = rolling(10)
    cluster.ask("pause")
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    cluster.until_phase("RolledBack")
    assert [f["reason"] for f in cluster.status["failed"]] == ["WorseErrors"]


def test_promote_skips_doubt_but_no_verdict() -> None:
    cluster = doubted()
    cluster.ask(f"promote@{cluster.status['candidate']}")
    cluster.until(lambda c: c.weights()["v2"] == 50, limit=5)
    cluster.behaviours["v2"] = Behaviour(error_rate=0.19)
    cluster.until_phase("RolledBack")
    assert [f["reason"] for f in cluster.status["failed"]] == ["WorseErrors"]


def doubted() -> Cluster:
    """The evidence of the first step speaks against v2, and is not enough for a verdict."""
    cluster = rolling(10, Behaviour(error_rate=0.02), rollout(steps=[{"weight": 10, "soak": "20s"}, *STEPS[1:]]))
    cluster.behaviours["v2"] = Behaviour(error_rate=0.14)
    cluster.until(lambda c: "look worse than tolerated" in c.status["plan"], limit=60)
    assert cluster.weights()["v2"] == 10
    cluster.behaviours["v2"] = Behaviour()
    return cluster


def test_doubt_holds_the_step_and_says_so_until_nothing_feeds_it_any_more() -> None:
    cluster = doubted()
    assert cluster.says("Reconciling") == ("True", "WaitingForEvidence")
    assert cluster.status["verdict"]["result"] == "Inconclusive"
    assert report(cluster)[0]["verdict"].startswith("Inconclusive: errors look worse than tolerated (evidence ")
    cluster.behaviours["v1"] = Behaviour()  # nobody fails any more: no evidence either way
    began = cluster.true_time
    cluster.until(lambda c: c.weights()["v2"] == 50, limit=100)
    assert 50 <= cluster.true_time - began <= 75


def watched() -> Cluster:
    """v2 was promoted after steps at which stable failed two of a hundred."""
    cluster = rolling(10, Behaviour(error_rate=0.02))
    cluster.behaviours["v2"] = Behaviour(error_rate=0.02)
    return cluster.until_phase("Watching", limit=600)


def test_one_that_turns_worse_in_the_watch_is_held_against_what_stable_showed_before() -> None:
    cluster = watched()
    assert cluster.table is not None
    assert cluster.table.salt == cluster.status["stable"]
    cluster.turns(30)
    assert cluster.phase == "Watching"
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    cluster.until_phase("RolledBack", limit=120)
    (failure,) = cluster.status["failed"]
    assert (failure["reason"], cluster.image("stable")) == ("WorseErrors", "v1")
    assert "on its comparator before, when both had a share" in failure["message"]


def test_alone_slowness_is_not_judged() -> None:
    cluster = watched()
    cluster.behaviours["v2"] = Behaviour(error_rate=0.02, bad={"timeToFirstToken": 0.9, "rejected": 0.5})
    cluster.until_phase("Stable", limit=400)
    assert cluster.status["failed"] == []


def test_what_fails_while_the_previous_revision_does_not_answer_either_does_not_count() -> None:
    cluster = watched()
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    cluster.turns(100)
    assert (cluster.phase, cluster.status["failed"]) == ("Watching", [])


def test_once_the_watch_is_over_nothing_is_sampled_any_more() -> None:
    cluster = watched().until_phase("Stable", limit=400).turns(2)
    assert cluster.table is not None
    assert cluster.table.salt == ""


def test_a_second_rollout_of_a_revision_begins_its_report_and_its_evidence_anew() -> None:
    cluster = rolling(10)
    cluster.behaviours["v2"] = Behaviour(error_rate=0.15)
    cluster.until_phase("RolledBack")
    assert [(e["run"], e["step"]) for e in report(cluster)] == [(2, "10 %")]
    cluster.behaviours["v2"] = Behaviour()
    cluster.ask("retry")
    cluster.until(lambda c: c.weights().get("v2") == 50, limit=300)
    assert [(e["run"], e["step"], e["verdict"]) for e in report(cluster)[:1]] == [(3, "10 %", "Pass")]


def test_a_rollout_that_is_superseded_ends_without_a_verdict() -> None:
    cluster = rolling(10).turns(8)
    cluster.apply("v3", rollout=TERMS)
    cluster.until(lambda c: c.image("candidate") == "v3", limit=60)
    assert report(cluster)[-1]["verdict"] == "Ended without a verdict"
