"""A Guardrail on a real cluster: compiled by the operator, enforced by both gateways, on every stream."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import eventually
from tests.e2e.stage import Reply, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# What the engine says, and what nobody is to read of it.
SAID = "She whispered the word xyzzy and gave her card 4111 1111 1111 1111 away."
FORBIDDEN, CARD = "xyzzy", "4111"
GUARD = "adventure-safety"


def guardrail(stage: Stage, action: str, **spec: Any) -> dict[str, Any]:
    """Apply the Guardrail: `action` follows from the forbidden word, and card numbers are always masked."""
    whole = {
        "selector": {"matchLabels": {"app": "adventure"}},
        "detectors": [
            {
                "name": "words",
                "type": "patterns",
                "patterns": [{"name": "word", "category": "spell", "literal": FORBIDDEN}],
            },
            {"name": "pii", "type": "pii", "entities": ["CREDIT_CARD"]},
        ],
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


def test_what_a_guardrail_forbids_reaches_nobody_and_edits_hold_at_once(stage: Stage) -> None:
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

    # When an edit cannot be enforced, Then the one before goes on, and the status says what is wrong
    # (a repetition without end would have to be held back for ever).
    endless = {"name": "word", "category": "spell", "regex": "xyz+y"}
    cards = {"name": "pii", "type": "pii", "entities": ["CREDIT_CARD"]}
    guardrail(stage, "Block", detectors=[{"name": "words", "type": "patterns", "patterns": [endless]}, cards])

    def refused() -> bool:
        ready = states(stage)[1].get("Ready", {})
        return ready.get("status") == "False" and "word" in ready.get("message", "")

    eventually("the Guardrail's status says what is wrong", refused)
    for reply in both(stage):
        assert FORBIDDEN not in reply.text

    # When it is deleted, Then answers come as they are
    stage.cluster.delete("guardrail", GUARD, stage.namespace)
    eventually("answers are whole", lambda: all(FORBIDDEN in "".join(said(r)) for r in both(stage)))


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
