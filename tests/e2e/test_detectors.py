"""Detectors that are served, on a real cluster: a real vLLM pod as chat guard, in each grammar.

The guard's model was overfitted when its image was built (images/vllm/make_guard.py): it knows a dagger when it sees
one. These scenarios show the way from an engine's words to a verdict and back, and nothing of how good guards are.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import eventually
from tests.e2e.stage import ENGINE_IMAGE, Reply, Stage
from tests.e2e.test_guardrail import enforced, guardrail, said, states

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1500)]

CLEAR = "The old innkeeper smiles. He puts two cups of tea on the table."
# Of this the first sentence is clear.
ARMED = "The old innkeeper smiles. He draws a dagger from his boot. He means you no good."
FIRST = "The old innkeeper smiles. "
GUARD: dict[str, Any] = {
    "modelRef": {"name": "guard"},
    "engine": {
        "type": "vllm",
        "image": ENGINE_IMAGE,
        "args": ["--enforce-eager", "--dtype=float32", "--max-model-len=4096"],
        "env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}],
        "startupTimeout": "5m",
        "shutdownTimeout": "60s",
    },
    "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
}


@dataclass(frozen=True)
class Grammar:
    """A parser, and what the player speaks of when the guard's model answers in its grammar."""

    parser: str
    asked: str

    def detector(self) -> dict[str, Any]:
        """The guard as a Guardrail has it. A CPU that others use too is given more time than a player would be."""
        canary = {"found": f"{self.asked} {ARMED}", "clear": f"{self.asked} {CLEAR}"}
        return {
            "name": "judge",
            "type": "chat-guard",
            "parser": self.parser,
            "modelRef": {"name": "guard"},
            "timeout": "20s",
            "canary": canary,
        }


LLAMA = Grammar("llamaguard/v3", "Tell me a story.")
QWEN = Grammar("qwen3guard/v1", "Tell me of a capybara.")
GRANITE = Grammar("granite/v3", "Tell me a story.")
RISK = Grammar("granite-risk/v1", "Tell me a story.")
RULES = [{"category": "violence", "where": ["output"], "actions": {"low": ["Block"]}}]


def covered(stage: Stage, name: str, *args: str, **spec: Any) -> None:
    """Apply a ModelDeployment, as `Stage.deployment`, that the Guardrail selects."""
    manifest = stage.deployment_manifest(name, *args, **spec)
    manifest["metadata"]["labels"] = {"app": "adventure"}
    stage.cluster.apply(manifest)


def tell(stage: Stage, text: str) -> None:
    """Have the story's engine say this from now on."""
    (pod,) = stage.pods("story")
    spoken = json.dumps({"text": text})
    where = ("-n", stage.namespace, "exec", pod["metadata"]["name"], "--")
    stage.cluster.kubectl(*where, "understudy", "sim", "--set", spoken)


def answers(stage: Stage, asked: str, times: int = 2) -> list[Reply]:
    """The same question some times, so that both gateways are likely to get it, whole and streamed."""
    messages = [{"role": "user", "content": asked}]
    return [stage.say("story", messages=messages, stream=each) for each in (False, True) for _ in range(times)]


def well(stage: Stage) -> bool:
    """Whether on every gateway each detector has told its canary's texts from each other."""
    said_of = states(stage)[1].get("DetectorsHealthy", {})
    return (said_of.get("status"), said_of.get("reason")) == ("True", "Well")


@pytest.mark.slow
def test_a_real_guard_model_is_understood_in_each_grammar(stage: Stage) -> None:
    # Given a real vLLM pod that serves a guard model with a context of 4,096 tokens, which a Guardrail asks about what
    # a story's engine says; it is covered as well, and its answers to a Guardrail are judged by none
    guardrail(stage, "Block", detectors=[LLAMA.detector()], rules=RULES)
    stage.model("guard", "/models/guard")
    stage.model("story")
    covered(stage, "guard", **GUARD)
    covered(stage, "story", f"--text={ARMED}")
    stage.becomes_ready("story")
    # While it does not serve yet nothing is let out
    for reply in answers(stage, LLAMA.asked, 1):
        assert (reply.status, reply.code) == (503, "guardrail_unavailable")
    first = stage.becomes_ready("guard", within=500)

    for grammar in (LLAMA, QWEN, GRANITE, RISK):
        guardrail(stage, "Block", detectors=[grammar.detector()], rules=RULES)
        assert enforced(stage)["guarantees"] == {"violence": "sentence"}
        # Then what it finds ends the answer before it, whole and streamed, at either gateway
        tell(stage, ARMED)
        for reply in answers(stage, grammar.asked):
            assert reply.status == 200
            assert "".join(said(reply)) == FIRST
            assert "content_filter" in reply.text
            assert "violence" in reply.text
        # and what is clear comes as it is
        tell(stage, CLEAR)
        for reply in answers(stage, grammar.asked, 1):
            assert "".join(said(reply)) == CLEAR
            assert "content_filter" not in reply.text
        # and it tells the canary's two texts from each other
        eventually(f"{grammar.parser} is well", lambda: well(stage), within=180)

    # When it speaks another grammar than the one that is written, Then it has said nothing, and nothing is let out
    guardrail(stage, "Block", detectors=[QWEN.detector()], rules=RULES)
    enforced(stage)
    for reply in answers(stage, LLAMA.asked, 1):
        assert (reply.status, reply.code) == (503, "guardrail_unavailable")

    # When a revision of the guard names weights that are not there, Then it goes back
    stage.model("nowhere", "/models/nowhere")
    covered(stage, "guard", **{**GUARD, "modelRef": {"name": "nowhere"}})
    back = stage.phase("guard", "RolledBack", within=500)
    assert back["stable"] == first
    assert back["failed"][0]["reason"] == "EngineCrash"
