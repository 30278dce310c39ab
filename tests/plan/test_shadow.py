"""Shadow: before the first step the candidate answers copies of requests, and pairs of answers are compared."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour, Gateway
from tests.plan.test_guards import compiled, mistaken
from tests.plan.test_relative import METRICS, report, shows
from tests.plan.world import Cluster, rollout, serving
from understudy.domain.state import GatewayState, Pairs
from understudy.domain.table import Shadow
from understudy.plan.eprocess import GAINS, tilt

PROMPT = {"name": "answers", "messages": [{"role": "user", "content": "Say yes."}]}
COPIES = {"percent": 50, "samples": 100}
TERMS = rollout(shadow=COPIES)
LONG = rollout(shadow={"percent": 50, "samples": 100_000})
# What both halves of a pair can tell: nobody is asked about an answer that reaches nobody.
IN_PAIRS = [row for row in METRICS if row[0] != "guardrailBlocks"]
NO_DATA = {"minSamples": 5, "ceilings": {"errorRate": 0.2, "minRequests": 5}}


def shadowing(terms: dict[str, Any] = TERMS, stable: Behaviour | None = None, **spec: Any) -> Cluster:
    """v1 serves twenty requests a second; v2 has begun to get copies of them."""
    cluster = serving("v1", rollout=terms, **spec)
    cluster.rate = 20.0
    cluster.behaviours["v1"] = stable or Behaviour()
    cluster.apply("v2", rollout=terms, **spec)
    return cluster.until(lambda c: copied(c) > 0).turns(2)


def pairs(cluster: Cluster) -> int:
    """Pairs that count as evidence."""
    assert cluster.memory is not None
    assert cluster.memory.evidence is not None
    assert cluster.memory.evidence.tag.endswith("/shadow")
    return cluster.memory.evidence.subject[0]


def copied(cluster: Cluster) -> int:
    """Percent of the requests that are copied by the table as it is stored."""
    return cluster.table.shadow.percent if cluster.table is not None and cluster.table.shadow is not None else 0


def reasons(cluster: Cluster) -> list[str]:
    return [failure["reason"] for failure in cluster.status["failed"]]


def test_before_the_first_step_the_candidate_answers_copies_until_enough_pairs_were_compared() -> None:
    # Given a candidate whose pods do not answer yet, then nobody copies anything.
    cluster = serving("v1", rollout=TERMS)
    audit = Audit(cluster)
    cluster.rate = 20.0
    cluster.apply("v2", rollout=TERMS)
    audit.until(lambda c: c.phase == "Preparing")
    assert "then copies of 50 % of the requests" in cluster.status["plan"]
    while cluster.phase == "Preparing":
        assert cluster.weights() == {"v1": 100}
        audit.turn(1.0)
    # When they answer, then they get copies, and all conversations stay where they are.
    assert cluster.status["phase"] == "Shadow"
    assert cluster.weights() == {"v1": 100, "v2": 0}
    assert cluster.table is not None
    assert cluster.table.shadow == Shadow(percent=50, first_token=2.0, between_tokens=0.2)
    assert cluster.table.salt == cluster.revision("v2")
    audit.until(lambda c: " of 100 pairs of answers (about " in c.status["plan"])
    assert cluster.status["plan"].endswith(" at today's rate), then 10 %")
    assert cluster.says("Reconciling") == ("True", "WaitingForEvidence")
    assert cluster.status["verdict"] == {"result": "Inconclusive", "reason": f"{pairs(cluster)} of 100 pairs"}
    assert (cluster.status["step"], cluster.status["weightText"]) == (0, "0%")
    # When enough pairs were compared, then the steps begin, and no further copy is made.
    audit.until(lambda c: c.phase == "Canary")
    assert copied(cluster) == 0
    assert cluster.weights() == {"v1": 90, "v2": 10}
    audit.until(lambda c: c.phase == "Stable")
    assert (cluster.image("stable"), cluster.status["failed"]) == ("v2", [])
    first = report(cluster)[0]
    assert (first["step"], first["verdict"]) == ("shadow", "Pass")
    assert first["compared"][0].startswith(f"errors in pairs: 0 of 100 (0.00%) on {cluster.status['stable']}, 0 of 100")


@pytest.mark.parametrize(("metric", "reason", "words"), IN_PAIRS)
def test_one_that_answers_worse_goes_back_before_anybody_has_seen_an_answer_of_it(
    metric: str, reason: str, words: str
) -> None:
    cluster = shadowing(LONG, shows(metric, 0.02))
    audit = Audit(cluster)
    cluster.behaviours["v2"] = shows(metric, 0.19)
    for _ in range(200):
        audit.turn(1.0)
        assert "v2" not in cluster.weights() or cluster.weights()["v2"] == 0
        if cluster.phase == "RolledBack":
            break
    (failure,) = cluster.status["failed"]
    assert failure["reason"] == reason
    assert f"{words} in pairs: " in failure["message"]
    assert "more than 1.5 times as many" in failure["message"]
    assert report(cluster)[-1]["verdict"].startswith(f"Fail: {reason}: {words} in pairs")
    assert cluster.weights() == {"v1": 100}


def test_one_that_answers_as_badly_as_stable_passes() -> None:
    as_bad = Behaviour(error_rate=0.1, bad={metric: 0.1 for metric, _, _ in IN_PAIRS if metric != "errors"})
    cluster = shadowing(rollout(shadow={"percent": 100, "samples": 3000}), as_bad)
    cluster.behaviours["v2"] = as_bad
    cluster.until_phase("Canary", limit=300)
    assert reasons(cluster) == []


def test_what_both_fail_speaks_for_nobody() -> None:
    # Given requests of which nine in ten fail on both, and therefore mostly in the same pairs.
    cluster = shadowing(LONG, Behaviour(error_rate=0.9))
    cluster.behaviours["v2"] = Behaviour(error_rate=0.9)
    cluster.turns(200)
    assert (cluster.phase, reasons(cluster)) == ("Shadow", [])


@pytest.mark.parametrize("tolerance", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("alone", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("together", [0.0, 0.05, 0.3])
def test_no_stake_wins_on_a_pair_while_the_candidate_is_within_the_tolerance(
    tolerance: float, alone: float, together: float
) -> None:
    # Given the most that is tolerated, however much of it both sides have in common.
    mine = tolerance * (alone + together) - together
    chance = tilt(0.5, tolerance)
    for gain in GAINS:
        hit, miss = gain / (1 + chance * (gain - 1)), 1 / (1 + chance * (gain - 1))
        worth = mine * hit + alone * miss + together * hit * miss + (1 - mine - alone - together)
        assert worth <= 1 + 1e-12


def test_what_pairs_have_shown_counts_at_the_steps_too() -> None:
    """One capital for the whole rollout: the chance of a false verdict is not spent twice, and no evidence is lost."""
    terms = rollout(shadow={"percent": 50, "samples": 150}, steps=[{"weight": 50, "soak": "600s"}, {"weight": 100}])
    slightly = shows("errors", 0.06)

    def evidence(cluster: Cluster) -> float:
        line = next(e["compared"][0] for e in report(cluster) if e["step"] == "50 %")
        return float(line.partition("evidence ")[2].partition(",")[0])

    found = []
    for settings in (terms, {k: v for k, v in terms.items() if k != "shadow"}):
        cluster = serving("v1", rollout=settings)
        cluster.rate = 20.0
        cluster.behaviours |= {"v1": shows("errors", 0.01), "v2": slightly}
        cluster.apply("v2", rollout=settings)
        cluster.until(lambda c: c.status["weights"]["candidate"]["programmed"] == 50).turns(12)
        found.append(evidence(cluster))
    assert found[0] > 1.5 * found[1]


def test_a_crash_turns_back_at_once_and_open_copies_end_before_the_pods_leave() -> None:
    cluster = shadowing(LONG)
    audit = Audit(cluster)
    cluster.long_streams = True
    audit.turn(1.0)
    cluster.crash(cluster.pods_of("v2")[0])
    audit.turn(1.0)
    assert (cluster.phase, cluster.weights(), reasons(cluster)) == ("Reverting", {"v1": 100}, ["EngineCrash"])
    assert copied(cluster) == 0
    audit.until(lambda c: "open requests" in c.status["plan"])
    assert cluster.replicas()["v2"] == 1
    audit.until(lambda c: c.replicas().get("v2") in (0, None))
    assert cluster.open_requests(cluster.revision("v2")) > 0  # the drain deadline was over


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (Behaviour(identity="answers as another model"), "WrongModelIdentity"),
        (Behaviour(unhealthy=True), "ProbeFailed"),
        (Behaviour(error_rate=1.0), "ErrorRate"),
    ],
)
def test_hard_faults_turn_back(how: Behaviour, reason: str) -> None:
    cluster = shadowing(LONG)
    cluster.behaviours["v2"] = how
    cluster.until_phase("RolledBack", limit=60)
    assert reasons(cluster) == [reason]


def test_a_newer_spec_takes_it_back_unbranded_first() -> None:
    cluster = shadowing(LONG)
    cluster.apply("v3", rollout=LONG)
    cluster.turn()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})
    cluster.until(lambda c: c.phase == "Shadow" and c.image("candidate") == "v3")
    assert reasons(cluster) == []


def test_abort_takes_it_back() -> None:
    cluster = shadowing(LONG)
    cluster.ask("abort")
    cluster.until_phase("RolledBack")
    assert (reasons(cluster), cluster.weights()) == (["Aborted"], {"v1": 100})


def test_a_pause_holds_the_steps_and_pairs_go_on() -> None:
    cluster = shadowing()
    cluster.ask("pause")
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Shadow", "Paused")
    assert pairs(cluster) > 100
    cluster.ask("resume")
    cluster.turns(2)
    assert cluster.phase == "Canary"


def test_promote_waives_pairs_and_not_the_samples_of_the_first_step() -> None:
    cluster = shadowing(LONG)
    cluster.ask(f"promote@{cluster.status['candidate']}")
    cluster.turns(2)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)
    assert cluster.status["rollout"]["skipTo"] == 0
    cluster.rate = 0.0
    cluster.turns(20)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)


def test_promote_full_waives_every_step_too() -> None:
    cluster = shadowing(LONG)
    cluster.ask(f"promote-full@{cluster.status['candidate']}")
    cluster.until_phase("Watching", limit=15)


def test_promote_waits_until_copies_were_really_made() -> None:
    cluster = serving("v1", rollout=LONG)
    cluster.apply("v2", rollout=LONG)
    cluster.gateways[0].lag = 1e9
    cluster.until_phase("Shadow")
    cluster.ask(f"promote@{cluster.status['candidate']}")
    cluster.turns(10)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Shadow", "NotProgrammed")


def test_doubt_holds_the_first_step() -> None:
    cluster = shadowing(rollout(shadow={"percent": 50, "samples": 250}), shows("errors", 0.02))
    cluster.behaviours["v2"] = shows("errors", 0.16)
    cluster.until(lambda c: "look worse than tolerated" in c.status["plan"], limit=60)
    assert cluster.phase == "Shadow"
    assert cluster.status["plan"].startswith(f"less doubt about {cluster.status['candidate']}: errors look worse")
    cluster.behaviours["v1"] = cluster.behaviours["v2"] = Behaviour()
    cluster.until_phase("Canary", limit=100)


@pytest.mark.parametrize("then", ["Hold", "Revert"])
def test_without_traffic_it_holds_or_goes_back_as_the_terms_say(then: str) -> None:
    terms = rollout(shadow=COPIES, analysis={**NO_DATA, "noData": {"timeout": "20s", "then": then}})
    cluster = shadowing(terms)
    cluster.rate = 0.0
    cluster.turns(40)
    if then == "Hold":
        assert cluster.says("Reconciling") == ("True", "WaitingForEvidence")
        assert cluster.weights() == {"v1": 100, "v2": 0}
    else:
        assert reasons(cluster) == ["Inconclusive"]
        assert " of 100 pairs after 20 s" in cluster.status["failed"][0]["message"]


def test_a_silent_gateway_or_none_is_no_evidence() -> None:
    cluster = shadowing()
    cluster.gateways[0].silent = True
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Shadow", "NotProgrammed")
    kept, cluster.gateways = cluster.gateways, []
    cluster.turns(5)
    assert cluster.says("Reconciling")[1] == "NoGateway"
    kept[0].silent, cluster.gateways = False, kept
    cluster.until_phase("Canary", limit=60)


def test_what_was_counted_while_somebody_tampered_with_it_does_not_count() -> None:
    cluster = shadowing(LONG).turns(6)
    before = pairs(cluster)
    cluster.scale("v2", 2)
    cluster.turn()
    cluster.rate = 0.0
    cluster.turns(10)
    assert pairs(cluster) == before


def test_restarts_of_operator_and_gateway_lose_and_double_nothing() -> None:
    cluster = shadowing(LONG)
    begun = {g.uid: g.pairs[cluster.revision("v2")] for g in cluster.gateways}
    made = 0
    for second in range(60):
        if second % 20 == 7:
            cluster.restart_operator()
        if second % 20 == 13:
            gateway = cluster.gateways[0]
            made += gateway.pairs[cluster.revision("v2")] - begun.pop(gateway.uid, 0)
            cluster.restart_gateway(gateway)
        cluster.turn()
    made += sum(g.pairs.get(cluster.revision("v2"), 0) - begun.get(g.uid, 0) for g in cluster.gateways)
    cluster.rate = 0.0
    cluster.turns(10)
    assert made - 40 <= pairs(cluster) <= made + 10


def test_a_stable_that_is_down_leaves_the_field_to_a_candidate_that_answers() -> None:
    cluster = shadowing(LONG)
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.until(lambda c: c.weights().get("v2") == 100, limit=60)
    assert cluster.phase == "Canary"


def test_scaled_to_zero_it_is_withdrawn_first() -> None:
    cluster = shadowing(LONG)
    cluster.edit(replicas=0)
    cluster.turn()
    assert (cluster.phase, cluster.weights()) == ("Reverting", {"v1": 100})
    cluster.until(lambda c: c.says("Ready") == ("True", "ScaledToZero"))
    assert reasons(cluster) == []


def test_pods_that_are_lost_for_long_take_it_back_unbranded() -> None:
    cluster = shadowing(LONG, replicas=2)
    cluster.capacity = 2
    cluster.delete_pod(cluster.pods_of("v2")[0], evicted=True)
    cluster.turns(3)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Shadow", "PodsNotReady")
    cluster.until_phase("Reverting", limit=40)
    assert reasons(cluster) == []
    assert "0 of 1 pods that 50 % need, for 30 s" in next(e.message for e in cluster.events if e.reason == "PodsLost")


def test_its_pods_are_as_many_as_the_copies_need() -> None:
    terms = rollout(shadow={"percent": 100, "samples": 100_000})
    cluster = shadowing(terms, replicas=3)
    assert cluster.replicas() == {"v1": 3, "v2": 3}


def test_shadow_settings_apply_live_and_more_copies_wait_for_pods() -> None:
    # Given one that gets few copies, and would have to wait for long.
    cluster = shadowing(rollout(shadow={"percent": 10, "samples": 100_000}), replicas=3)
    assert (copied(cluster), cluster.replicas()["v2"]) == (10, 1)
    cluster.turns(10)
    before = pairs(cluster)
    # When more are asked for, then its pods come first, and what was compared still counts.
    cluster.behaviours["v2"] = Behaviour(start=5.0)
    cluster.edit(rollout=rollout(shadow={"percent": 100, "samples": 100_000}))
    cluster.turns(3)
    assert (copied(cluster), cluster.replicas()["v2"]) == (10, 3)
    assert cluster.says("Reconciling")[1] == "Scaling"
    assert cluster.status["plan"].endswith("; then copies of 100 % of the requests")
    cluster.until(lambda c: copied(c) == 100, limit=30)
    assert pairs(cluster) >= before
    # When fewer are asked for, then at once; and fewer pairs may be enough already.
    cluster.edit(rollout=rollout(shadow={"percent": 20, "samples": 100_000}))
    cluster.turns(2)
    assert copied(cluster) == 20
    cluster.edit(rollout=rollout(shadow={"percent": 20, "samples": 5}))
    cluster.until_phase("Canary", limit=5)


def test_more_copies_wait_for_a_node_and_say_so() -> None:
    cluster = shadowing(rollout(shadow={"percent": 10, "samples": 100_000}), replicas=3)
    cluster.capacity = 4
    cluster.edit(rollout=rollout(shadow={"percent": 100, "samples": 100_000}))
    cluster.turns(5)
    assert cluster.says("Reconciling") == ("True", "InsufficientCapacity")
    assert copied(cluster) == 10


def test_without_shadow_in_the_spec_any_more_the_steps_begin() -> None:
    cluster = shadowing(LONG)
    cluster.ask("pause")
    cluster.edit(rollout=rollout())
    cluster.turns(3)
    assert (cluster.phase, cluster.weights()) == ("Shadow", {"v1": 100})
    cluster.ask("resume")
    cluster.turns(2)
    assert (cluster.phase, cluster.weights()["v2"]) == ("Canary", 10)


def test_a_spec_that_becomes_invalid_holds_it_until_it_is_mended() -> None:
    cluster = shadowing()
    engine = cluster.deployment["spec"]["engine"]
    cluster.edit(engine={**engine, "args": ["--port=1"]})
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Stalled")) == ("Shadow", ("True", "InvalidSpec"))
    cluster.edit(engine=engine)
    cluster.until_phase("Canary", limit=5)


def test_a_guardrail_that_is_wrong_holds_it() -> None:
    cluster = shadowing()
    cluster.guardrails = (mistaken(compiled(selector={})),)
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Stalled")) == ("Shadow", ("True", "GuardrailInvalid"))


def test_a_guardrail_that_a_gateway_does_not_enforce_holds_it() -> None:
    cluster = shadowing()
    cluster.guardrails = (compiled(selector={}),)
    cluster.gateways[0].refuses = "no"
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Reconciling")) == ("Shadow", ("True", "GuardrailNotEnforced"))
    cluster.gateways[0].refuses = ""
    cluster.until_phase("Canary")


def test_a_prompt_that_fails_on_both_holds_it() -> None:
    cluster = shadowing(probes={"prompts": [PROMPT], "interval": "1s"})
    cluster.behaviours["v1"] = cluster.behaviours["v2"] = Behaviour(fails_prompt=True)
    cluster.turns(30)
    assert (cluster.phase, cluster.says("Reconciling")[1]) == ("Shadow", "ProbeFailed")


def test_texts_are_kept_where_logging_keeps_texts() -> None:
    cluster = shadowing(LONG, logging={"text": "released"})
    assert cluster.table is not None
    assert cluster.table.shadow is not None
    assert cluster.table.shadow.text


def test_a_rollback_and_the_very_first_revision_need_no_copies() -> None:
    cluster = Cluster()
    cluster.apply_model()
    cluster.apply("v1", rollout=TERMS)
    phases = set()
    for _ in range(12):
        cluster.turn()
        phases.add(cluster.phase)
    assert phases == {"Preparing", "Promoting", "Stable"}


def gateways_tell(cluster: Cluster, change: Callable[[Pairs], Pairs]) -> None:
    """From now on gateways tell other pairs than they made."""
    state_of = cluster._state

    def told(gateway: Gateway) -> GatewayState:
        state = state_of(gateway)
        found = {
            key: replace(d, revisions={r: replace(s, pairs=change(s.pairs)) for r, s in d.revisions.items()})
            for key, d in state.deployments.items()
        }
        return replace(state, deployments=found)

    cluster._state = told  # type: ignore[method-assign]


def test_the_report_says_how_alike_answers_are_and_what_gateways_had_no_time_for() -> None:
    cluster = shadowing()
    gateways_tell(
        cluster, lambda pairs: replace(pairs, similarity=(2, 0, 0, 0, 0, 0, 0, 0, 1, 7), dropped=3, other_finish=2)
    )
    cluster.until_phase("Canary", limit=60)
    alike = "have nine tenths of their words in common, or more"
    assert report(cluster)[0]["compared"][-2:] == [
        f"14 of 20 pairs of texts {alike}; 4 answers ended for another reason, 0 called other tools",
        "6 copies were not made or not compared, because a gateway was busy",
    ]


def test_without_the_pairs_of_older_gateways_it_waits() -> None:
    cluster = shadowing()
    gateways_tell(cluster, lambda _: Pairs())
    cluster.turns(40)
    assert cluster.phase == "Shadow"
