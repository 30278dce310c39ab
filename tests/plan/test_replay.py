"""Probe sets of Guardrails: what a candidate says to them decides whether anybody hears it."""

from typing import Any

import pytest

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_guards import compiled
from tests.plan.world import Cluster, rollout, serving
from understudy.plan.replay import (
    ProbeSet,
    SetReport,
    Spoken,
    bad,
    compares,
    probe_sets,
    progress,
    told,
    verdict,
    worse,
)

BAD, GRAVE = Spoken("violence", 4), Spoken("self_harm", 6)
MILD, CLEAR = Spoken("violence", 2), Spoken()
UNKNOWN = Spoken(unknown="detector guard: timeout")


def probing(name: str = "safe", prompts: int = 6, text: str = "a", **spec: Any) -> dict[str, Any]:
    """A Guardrail with a probe set that can be replayed; fields of the set by `probeSet`."""
    said = {"configMapRef": {"name": "prompts"}, **spec.pop("probeSet", {})}
    known = compiled(name, selector={}, probeSet=said, **spec)
    read = {"key": "prompts.jsonl", "hash": text * 64, "prompts": prompts}
    return {**known, "status": {**known["status"], "probeSet": read}}


def preparing(
    *guardrails: dict[str, Any], v1: Behaviour | None = None, v2: Behaviour | None = None, **spec: Any
) -> Cluster:
    """v1 serves under these Guardrails, and v2 has just been asked for."""
    cluster = serving("v1", **spec)
    cluster.guardrails = guardrails
    cluster.behaviours["v1"] = v1 or Behaviour()
    cluster.turns(5)
    cluster.behaviours["v2"] = v2 or Behaviour()
    cluster.edit(engine={**cluster.deployment["spec"]["engine"], "image": "v2"})
    return cluster.until_phase("Preparing", limit=5)


def failing(cluster: Cluster) -> str:
    return str(cluster.status["failed"][-1]["message"])


def report(cluster: Cluster, image: str = "v2") -> list[dict[str, Any]]:
    record = next(
        s for s in cluster.of_kind("ModelSnapshot").values() if s["spec"]["revision"] == cluster.revision(image)
    )
    return [entry for entry in record["status"].get("report", ()) if entry["step"] == "probe sets"]


# The verdict.


def a_set(prompts: int = 3, tolerance: int = 0, *, must: bool = True) -> ProbeSet:
    return ProbeSet("safe", "prompts", "key", "hash", prompts, 4, tolerance, must)


@pytest.mark.parametrize(
    ("probes", "said", "expected"),
    [
        (a_set(), SetReport(), "wait"),
        (a_set(), SetReport({"a": CLEAR, "b": MILD}), "wait"),
        (a_set(), SetReport({"a": CLEAR, "b": MILD, "c": CLEAR}), "pass"),
        (a_set(), SetReport({"a": CLEAR, "b": BAD, "c": CLEAR}), "wait"),
        (a_set(), SetReport({"a": BAD}, {"a": CLEAR, "b": CLEAR, "c": CLEAR}), "fail"),
        (a_set(), SetReport({"a": BAD}, {"a": CLEAR, "b": CLEAR}), "wait"),
        (a_set(), SetReport({"a": BAD, "b": BAD}, {"a": CLEAR, "b": CLEAR}), "fail"),
        (a_set(), SetReport({"a": BAD, "b": CLEAR, "c": CLEAR}, {"a": CLEAR, "b": GRAVE}), "pass"),
        (a_set(), SetReport({"a": BAD, "b": CLEAR, "c": CLEAR}, {"a": CLEAR, "b": UNKNOWN, "c": CLEAR}), "wait"),
        (a_set(tolerance=1), SetReport({"a": BAD, "b": CLEAR}), "wait"),
        (a_set(tolerance=1), SetReport({"a": CLEAR, "b": CLEAR}), "pass"),
        (a_set(tolerance=1), SetReport({"a": BAD, "b": CLEAR, "c": CLEAR}), "pass"),
        (a_set(tolerance=1), SetReport({"a": BAD, "b": BAD, "c": CLEAR}, {"a": CLEAR, "b": CLEAR, "c": CLEAR}), "fail"),
        (a_set(), SetReport({"a": CLEAR, "b": CLEAR, "c": UNKNOWN}), "wait"),
        (a_set(), SetReport({"a": CLEAR, "b": CLEAR, "c": UNKNOWN}, settled=True), "wait"),
        (a_set(must=False), SetReport({"a": CLEAR, "b": CLEAR, "c": UNKNOWN}), "wait"),
        (a_set(must=False), SetReport({"a": CLEAR, "b": CLEAR, "c": UNKNOWN}, settled=True), "pass"),
        (
            a_set(must=False),
            SetReport({"a": BAD, "b": UNKNOWN}, {"a": CLEAR, "b": CLEAR, "c": CLEAR}, settled=True),
            "fail",
        ),
    ],
)
def test_what_is_not_known_neither_passes_nor_turns_back(probes: ProbeSet, said: SetReport, expected: str) -> None:
    assert verdict(probes, said) == expected


def test_stable_is_asked_only_if_a_candidate_is_not_good_enough_by_itself() -> None:
    assert not compares(a_set(), SetReport({"a": MILD}))
    assert compares(a_set(), SetReport({"a": BAD}))
    assert not compares(a_set(tolerance=1), SetReport({"a": BAD}))
    assert bad(a_set(), {"b": GRAVE, "a": BAD, "c": MILD}) == ("a", "b")


def test_sentences_name_prompts_and_what_was_found_and_what_nobody_could_judge() -> None:
    probes, names = a_set(8), "bcdefgh"
    said = SetReport({"a": BAD, **dict.fromkeys(names, GRAVE)}, {"a": BAD, **dict.fromkeys(names, CLEAR)})
    assert worse(probes, said) == (
        "Guardrail safe: 8 of 8 answers have findings from severity 4 on, 1 of stable's, at most 0 more are borne: "
        "b (self_harm), c (self_harm), d (self_harm), e (self_harm), f (self_harm) and 2 more"
    )
    assert progress(a_set(), SetReport({"a": CLEAR})) == "Guardrail safe: 1 of 3 answers have been judged"
    assert progress(a_set(), SetReport({"a": BAD, "b": UNKNOWN}, {"a": UNKNOWN, "b": CLEAR})) == (
        "Guardrail safe: 1 of 3 answers, and 1 of stable's, have been judged"
        "; 2 could not be, the first is b: detector guard: timeout"
    )
    assert told(a_set(), SetReport({"a": CLEAR, "b": CLEAR, "c": CLEAR})) == (
        "Guardrail safe: 0 of 3 answers have findings from severity 4 on, at most 0 may without asking stable"
    )
    assert told(a_set(), SetReport({"a": BAD}, {"a": UNKNOWN})).endswith(
        "; 1 could not be, the first is a of stable: detector guard: timeout"
    )


def test_sets_are_those_of_guardrails_that_act_and_can_be_read() -> None:
    usual = {"configMapRef": {"name": "prompts"}}
    named = [
        probing("a", probeSet={"severityAtLeast": 6, "tolerance": 2}),
        probing("b", failurePolicy="Degrade"),
        probing("monitors", mode="monitor"),
        compiled("none"),
        compiled("unread", probeSet=usual),
        {"metadata": {"name": "new"}, "spec": {"probeSet": usual}},
    ]
    assert probe_sets(named) == (
        ProbeSet("a", "prompts", "prompts.jsonl", "a" * 64, 6, 6, 2, must=True),
        ProbeSet("b", "prompts", "prompts.jsonl", "a" * 64, 6, 4, 0, must=False),
    )


# In a rollout.


def test_a_candidate_whose_answers_are_clear_gets_its_first_share_after_all_of_them() -> None:
    cluster = preparing(probing(prompts=6))
    cluster.until(lambda c: c.says("Reconciling") == ("True", "ReplayingProbeSet"))
    assert cluster.weights() == {"v1": 100}
    asked = cluster.last.replay
    assert asked is not None
    assert asked.against == cluster.revision("v1")
    assert [guard.name for guard in asked.guards] == ["safe"]
    assert cluster.status["plan"] == "Guardrail safe: 0 of 6 answers have been judged; then 10 % of the conversations"
    cluster.until(lambda c: "4 of 6 answers have been judged" in c.last.reasons[0])
    cluster.until_phase("Canary")
    assert cluster.last.replay is None
    assert [(entry["verdict"], entry["compared"]) for entry in report(cluster)] == [
        (
            "Pass",
            ["Guardrail safe: 0 of 6 answers have findings from severity 4 on, at most 0 may without asking stable"],
        )
    ]
    cluster.until_phase("Stable")
    assert [entry["step"] for entry in report(cluster)] == ["probe sets"]


def test_one_that_says_worse_than_stable_fails_and_nobody_has_heard_it() -> None:
    cluster = preparing(probing(), v2=Behaviour(says={"p3": BAD}))
    audit = Audit(cluster)
    audit.until(lambda c: c.phase == "RolledBack")
    assert cluster.weights() == {"v1": 100}
    assert sum(gateway.attempts.get(cluster.revision("v2"), 0) for gateway in cluster.gateways) == 0
    assert cluster.status["failed"][-1]["reason"] == "ProbeSetFailed"
    assert failing(cluster) == (
        "Guardrail safe: 1 of 6 answers have findings from severity 4 on, 0 of stable's, at most 0 more are borne: "
        "p3 (violence)"
    )
    assert report(cluster)[0]["verdict"] == f"Fail: ProbeSetFailed: {failing(cluster)}"


def test_one_that_is_no_worse_than_stable_goes_on_though_on_other_prompts() -> None:
    cluster = preparing(probing(), v1=Behaviour(says={"p0": GRAVE}), v2=Behaviour(says={"p3": BAD}))
    cluster.until_phase("Canary")
    assert report(cluster)[0]["compared"] == [
        "Guardrail safe: 1 of 6 answers have findings from severity 4 on, 1 of stable's, at most 0 more are borne"
    ]


def test_what_cannot_be_judged_holds_it_and_takes_somebody_from_outside() -> None:
    cluster = preparing(probing())
    cluster.unjudged = "detector guard: timeout"
    cluster.until(lambda c: c.says("Stalled") == ("True", "ProbeSetNotJudged"))
    assert "2 could not be, the first is p0: detector guard: timeout" in cluster.condition("Stalled")["message"]
    cluster.turns(100)
    assert (cluster.phase, cluster.weights()) == ("Preparing", {"v1": 100})
    cluster.unjudged = ""
    cluster.until_phase("Canary")


def test_where_text_may_pass_that_nobody_can_judge_so_may_a_candidate() -> None:
    cluster = preparing(probing(failurePolicy="Open"))
    cluster.unjudged = "detector guard: timeout"
    cluster.until_phase("Canary")
    assert report(cluster)[0]["compared"][0].endswith("; 2 could not be, the first is p0: detector guard: timeout")


def test_every_guardrail_has_a_say() -> None:
    other = probing("words", prompts=2, probeSet={"severityAtLeast": 6})
    cluster = preparing(probing(), other, v2=Behaviour(says={"p1": GRAVE}), v1=Behaviour(says={"p0": BAD}))
    cluster.until_phase("RolledBack")
    assert failing(cluster).startswith("Guardrail words: 1 of 2 answers")


def test_an_edit_of_the_prompts_begins_it_anew() -> None:
    cluster = preparing(probing(prompts=6))
    cluster.until(lambda c: "4 of 6 answers" in c.last.reasons[0])
    cluster.guardrails = (probing(prompts=8, text="b"),)
    cluster.turn()
    assert "0 of 8 answers" in cluster.last.reasons[0]
    cluster.until_phase("Canary")


def test_another_operator_begins_it_anew() -> None:
    cluster = preparing(probing(prompts=6))
    cluster.until(lambda c: "4 of 6 answers" in c.last.reasons[0])
    cluster.restart_operator()
    cluster.until(lambda c: "0 of 6 answers" in c.last.reasons[0], limit=5)
    cluster.until_phase("Canary")


def test_a_newer_spec_takes_back_a_candidate_that_is_still_asked() -> None:
    cluster = preparing(probing())
    cluster.unjudged = "detector guard: timeout"
    cluster.until(lambda c: c.says("Stalled")[0] == "True")
    cluster.unjudged = ""
    cluster.edit(engine={**cluster.deployment["spec"]["engine"], "image": "v3"})
    cluster.until(lambda c: c.image("candidate") == "v3")
    assert [entry["verdict"] for entry in report(cluster)] == ["Ended without a verdict"]
    cluster.until_phase("Canary")


def test_copies_and_a_switch_by_hand_come_after_it_as_well() -> None:
    shadow = rollout(shadow={"percent": 50, "samples": 5})
    for settings in (shadow, rollout(strategy="BlueGreen", steps=None), rollout(strategy="Immediate", steps=None)):
        terms = {name: value for name, value in settings.items() if value is not None}
        cluster = preparing(probing(), v2=Behaviour(says={"p3": BAD}), rollout=terms)
        cluster.until_phase("RolledBack")
        assert cluster.status["failed"][-1]["reason"] == "ProbeSetFailed"
        assert report(cluster)[0]["verdict"].startswith("Fail: ProbeSetFailed")


def tracks(cluster: Cluster) -> set[str]:
    return {variant.track for variant in cluster.table.variants} if cluster.table else set()


def test_a_blue_revision_can_be_asked_by_name_only_after_it_also_if_its_pods_were_there_before() -> None:
    terms = rollout(strategy="BlueGreen")
    del terms["steps"]
    cluster = preparing(probing(), rollout=terms)
    cluster.unjudged = "detector guard: timeout"
    cluster.until(lambda c: c.says("Stalled")[0] == "True")
    # Back and forth: its pods have not left yet when it is asked for once more, so it may have had requests.
    engine = cluster.deployment["spec"]["engine"]
    cluster.edit(engine={**engine, "image": "v1"})
    cluster.until_phase("Stable")
    cluster.edit(engine=engine)
    cluster.until(lambda c: c.phase == "Preparing" and c.says("Stalled")[0] == "True")
    assert tracks(cluster) == {"stable"}
    cluster.ask(f"promote@{cluster.status['candidate']}")
    cluster.turns(5)
    assert (cluster.phase, tracks(cluster)) == ("Preparing", {"stable"})
    cluster.unjudged = ""
    cluster.until(lambda c: c.says("Reconciling") == ("True", "WaitingForPromote"))
    assert tracks(cluster) == {"stable", "canary"}
    cluster.turn()
    assert report(cluster)[0]["verdict"] == "Pass"
    # Another set is for the next candidate.
    cluster.guardrails = (probing(text="b"),)
    cluster.turns(5)
    assert cluster.says("Reconciling") == ("True", "WaitingForPromote")
    assert cluster.last.replay is None


def test_nobody_waits_for_it_while_stable_has_long_been_down() -> None:
    cluster = preparing(probing())
    cluster.unjudged = "detector guard: timeout"
    cluster.until(lambda c: c.says("Stalled")[0] == "True")
    cluster.behaviours["v1"] = Behaviour(unhealthy=True)
    cluster.until_phase("Canary", limit=60)
    assert cluster.last.replay is None


def test_a_first_revision_a_rollback_and_one_without_room_beside_stable_wait_for_none() -> None:
    first = Cluster()
    first.guardrails = (probing(),)
    first.unjudged = "detector guard: timeout"
    first.apply_model()
    first.apply("v1")
    first.until(lambda c: c.says("Ready")[0] == "True")
    first.unjudged = ""
    first.apply("v2")
    first.until_phase("Stable")
    first.until(lambda c: c.image("stable") == "v2" and c.phase == "Stable")
    first.unjudged = "detector guard: timeout"
    first.ask("rollback=1")
    first.until(lambda c: c.image("stable") == "v1", limit=100)
    terms = rollout(strategy="Immediate", capacity={"mode": "Recreate"})
    del terms["steps"]
    cluster = preparing(probing(), v2=Behaviour(says={"p3": BAD}), rollout=terms)
    cluster.until(lambda c: c.image("stable") == "v2")


def test_a_pod_that_goes_is_not_asked_and_another_one_goes_on() -> None:
    cluster = preparing(probing(prompts=8), replicas=20, capacity=60)
    cluster.until(lambda c: "4 of 8 answers" in c.last.reasons[0])
    asked = cluster.last.replay
    assert asked is not None
    assert len(asked.subjects) == 2
    pod = next(p for p in cluster.pods.values() if p.uid == asked.subjects[0])
    cluster.delete_pod(pod)
    cluster.turn()
    assert cluster.last.replay is not None
    assert pod.uid not in cluster.last.replay.subjects
    cluster.until_phase("Canary")
