"""A Guardrail on a real cluster: compiled by the operator, enforced by both gateways, on every stream."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.cluster import eventually
from tests.e2e.installation import gateways, measured
from tests.e2e.stage import FAST_ROLLOUT, Reply, Stage
from tests.e2e.test_bad_revisions import at_half, table_is_back

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# What the engine says, and what nobody is to read of it.
SAID = "She whispered the word xyzzy and gave her card 4111 1111 1111 1111 away."
FORBIDDEN, CARD, CURSE = "xyzzy", "4111", "abrax"
GUARD = "adventure-safety"
WORD = {"name": "word", "category": "spell", "literal": FORBIDDEN}
# Too large for hyperscan, which says so at once, and not for RE2.
LARGE = {"name": "large", "category": "spell", "regex": "#.{200}#.{200}#"}
CARDS = {"name": "pii", "type": "pii", "entities": ["CREDIT_CARD"]}


def guardrail(stage: Stage, action: str, **spec: Any) -> dict[str, Any]:
    """Apply the Guardrail: `action` follows from the forbidden word, and card numbers are always masked."""
    whole = {
        "selector": {"matchLabels": {"app": "adventure"}},
        "detectors": words(WORD),
        "rules": [
            {"category": "spell", "where": ["output"], "actions": {"low": [action]}},
            {"category": "pii", "where": ["output"], "actions": {"low": ["Redact"]}},
        ],
        **spec,
    }
    metadata = {"name": GUARD, "namespace": stage.namespace}
    return stage.cluster.apply(
        {"apiVersion": "understudy.dev/v1alpha1", "kind": "Guardrail", "metadata": metadata, "spec": whole}
    )


def words(*patterns: dict[str, str]) -> list[dict[str, Any]]:
    """Detectors of these patterns and of card numbers."""
    return [{"name": "words", "type": "patterns", "patterns": list(patterns)}, CARDS]


def states(stage: Stage) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The status of the Guardrail, and its conditions by type; both empty until it has observed the spec."""
    found = stage.cluster.get("guardrail", GUARD, stage.namespace) or {}
    status = found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return {}, {}
    return dict(status), {c["type"]: c for c in status.get("conditions", ())}


def enforced(stage: Stage) -> dict[str, Any]:
    """Wait until all gateways enforce the Guardrail as it is now; its status."""

    def probe() -> dict[str, Any] | None:
        status, conditions = states(stage)
        # Enforcing speaks of the policy that was compiled last, Ready of the spec as it is.
        return (
            status if all(conditions.get(kind, {}).get("status") == "True" for kind in ("Ready", "Enforcing")) else None
        )

    return eventually("the Guardrail is enforced", probe)


def both(stage: Stage) -> list[Reply]:
    """The same question some times, so that both gateways get it, whole and streamed."""
    return [stage.say("story", max_tokens=40, stream=stream) for stream in (False, True) for _ in range(4)]


def test_what_a_guardrail_forbids_reaches_nobody_and_edits_hold_at_once(
    stage: Stage, each: tuple[Stage, Stage]
) -> None:
    # Given a Guardrail that is Closed, and a deployment that it selects, whose engine says what is forbidden
    guardrail(stage, "Redact")
    stage.model("story")
    manifest = stage.deployment_manifest("story", f"--text={SAID}", "--tokens=40", replicas=2)
    manifest["metadata"]["labels"] = {"app": "adventure"}
    stage.cluster.apply(manifest)
    stage.becomes_ready("story")
    first = enforced(stage)
    assert first["guarantees"] == {"spell": "exact", "pii": "exact"}

    # Then it is served, and what is forbidden is masked, whole or streamed, by either gateway
    for reply in both(stage):
        assert reply.status == 200
        assert FORBIDDEN not in reply.text
        assert CARD not in reply.text
        assert "[spell]" in "".join(said(reply))

    # When the Guardrail is edited to block, Then it holds for new streams as soon as the status says so
    guardrail(stage, "Block")
    second = enforced(stage)
    assert second["policyHash"] != first["policyHash"]
    for reply in both(stage):
        assert FORBIDDEN not in reply.text
        assert "content_filter" in reply.text

    # When an edit is too much for hyperscan, Then the portable engine masks in its place, and the status says so
    guardrail(stage, "Redact", detectors=words(WORD, LARGE))
    enforced(stage)
    for reply in both(stage):
        assert reply.status == 200
        assert FORBIDDEN not in reply.text
        assert CARD not in reply.text
        assert "[spell]" in "".join(said(reply))

    def told() -> bool:
        healthy = states(stage)[1].get("DetectorsHealthy", {})
        return healthy.get("status") == "False" and "hyperscan does not take it" in healthy.get("message", "")

    eventually("the Guardrail's status says that hyperscan does not look", told)
    # and at either gateway answers are looked at again once they have gone, and in none of them something is found.
    for gateway, pod in zip(each, gateways(stage.cluster), strict=True):
        assert FORBIDDEN not in gateway.say("story").text
        eventually(
            "answers have been looked at again",
            lambda pod=pod: measured(stage.cluster, pod, "understudy_guard_second_looks_total")["looked"],  # type: ignore[misc]
        )
        assert measured(stage.cluster, pod, "understudy_guard_leaked_total") == {"none none": 0}
        assert measured(stage.cluster, pod, "understudy_guard_portable_deployments")[""] >= 1

    # When an edit cannot be enforced, Then the one before goes on, and the status says what is wrong
    # (a repetition without end would have to be held back for ever).
    guardrail(stage, "Block", detectors=words({"name": "word", "category": "spell", "regex": "xyz+y"}))

    def refused() -> bool:
        ready = states(stage)[1].get("Ready", {})
        return ready.get("status") == "False" and "word" in ready.get("message", "")

    eventually("the Guardrail's status says what is wrong", refused)
    for reply in both(stage):
        assert FORBIDDEN not in reply.text

    # When it is deleted, Then answers come as they are
    stage.cluster.delete("guardrail", GUARD, stage.namespace)
    eventually("answers are whole", lambda: all(FORBIDDEN in "".join(said(r)) for r in both(stage)))


def test_the_ladder_pauses_a_canary_and_turns_it_back_and_a_probe_set_lets_none_begin(stage: Stage) -> None:
    # Given v1 that serves under a Guardrail with two rungs, and v2 with half of the conversations, all of them clean
    rung = {"per": "revision", "rate": 0.3, "minTurns": 1}
    ladder = [
        {**rung, "category": "spell", "action": "PauseRollout"},
        {**rung, "category": "curse", "action": "Rollback"},
    ]
    literals = {"spell": FORBIDDEN, "curse": CURSE}
    patterns = [{"name": category, "category": category, "literal": word} for category, word in literals.items()]
    spec = {
        "detectors": [{"name": "words", "type": "patterns", "patterns": patterns}],
        "rules": [{"category": category, "where": ["output"], "actions": {"low": ["Block"]}} for category in literals],
        "ladder": ladder,
    }
    guardrail(stage, "Block", **spec)
    rollout = {**FAST_ROLLOUT, "steps": [{"weight": 50, "soak": "20m"}, {"weight": 100, "soak": "1s"}]}
    stage.model("story")
    deploy(stage, rollout, "--text=Once upon a time.", "--seed=1")
    v1 = stage.becomes_ready("story")
    enforced(stage)
    deploy(stage, rollout, "--text=Once upon a time.", "--seed=2")
    status = stage.becomes("story", "50 % programmed", at_half)
    v2 = status["candidate"]

    # When v2 says what the first rung counts, Then the rollout is paused
    speak(stage, v2, f"She whispered {FORBIDDEN}.")
    turn_of(stage, v2)
    stage.mark("from the turn that is one too many to the pause")
    eventually("the rollout is paused", lambda: stage.status("story").get("paused"), every=0.05)
    stage.elapsed("from the turn that is one too many to the pause")
    assert "spell" in stage.condition("story", "GuardrailBreached")["message"]

    # When it says what the second one counts, Then it is turned back, though paused
    speak(stage, v2, f"She whispered {CURSE}.")
    turn_of(stage, v2)
    stage.mark("from the turn that is one too many to every gateway on v1 alone")
    eventually("every gateway serves v1 alone", table_is_back(stage), every=0.05)
    stage.elapsed("from the turn that is one too many to every gateway on v1 alone")
    status = stage.phase("story", "RolledBack")
    (failure,) = status["failed"]
    assert (failure["revision"], failure["reason"], status["stable"]) == (v2, "GuardrailBreached", v1)

    # When a probe set asks for it first, Then v3, which would say it, has no conversation at all
    prompt = 'p={"id": "bedtime", "prompt": "Tell me a story."}'
    stage.cluster.kubectl("-n", stage.namespace, "create", "configmap", "prompts", f"--from-literal={prompt}")
    guardrail(stage, "Block", **spec, probeSet={"configMapRef": {"name": "prompts"}})
    enforced(stage)
    deploy(stage, rollout, f"--text=She whispered {CURSE}.", "--seed=3")
    status = stage.becomes("story", "v3 has failed", lambda s: len(s["failed"]) == 2)
    failure = status["failed"][-1]
    assert (failure["reason"], status["stable"]) == ("ProbeSetFailed", v1)
    assert "bedtime (curse)" in failure["message"]
    assert {turn(stage)[1] for _ in range(8)} == {v1}


def deploy(stage: Stage, rollout: Mapping[str, Any], *args: str) -> None:
    manifest = stage.deployment_manifest("story", *args, rollout=dict(rollout))
    manifest["metadata"]["labels"] = {"app": "adventure"}
    stage.cluster.apply(manifest)


def speak(stage: Stage, revision: str, text: str) -> None:
    """Have the engines of a revision say this from now on."""
    for pod in stage.pods("story", revision):
        command = ("exec", pod["metadata"]["name"], "--", "understudy", "sim", "--set", json.dumps({"text": text}))
        stage.cluster.kubectl("-n", stage.namespace, *command)


def turn(stage: Stage) -> tuple[Reply, str]:
    """One turn of somebody new, and which revision it was put to."""
    reply = stage.say("story", fields={"x-session-id": uuid.uuid4().hex}, max_tokens=20)
    return reply, reply.fields.get("x-understudy-revision", "")


def turn_of(stage: Stage, revision: str) -> None:
    """Turns of somebody new each, until one is put to the revision, and is blocked."""
    for _ in range(200):
        reply, who = turn(stage)
        if who == revision or "content_filter" in reply.text:
            return
    raise AssertionError(f"no turn of 200 was put to {revision}")


def said(reply: Reply) -> list[str]:
    """The pieces of text of an answer."""
    if reply.document:
        return [choice["message"]["content"] or "" for choice in reply.document.get("choices", ())]
    return [
        choice["delta"].get("content") or ""
        for line in reply.text.splitlines()
        if line.startswith("data: {")
        for choice in json.loads(line.removeprefix("data: ")).get("choices", ())
    ]
