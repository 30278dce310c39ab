"""Detectors that are served, on a real cluster: a real vLLM pod as chat guard, in each grammar, and servers of others.

The guard's model was overfitted when its image was built (images/vllm/make_guard.py): it knows a dagger when it sees
one. These scenarios show the way from an engine's words to a verdict and back, and nothing of how good guards are.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import authority, judges
from tests.e2e.cluster import eventually
from tests.e2e.stage import ENGINE_IMAGE, SIM_IMAGE, Reply, Stage
from tests.e2e.test_guardrail import GUARD as GUARDRAIL
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


def tell(stage: Stage, text: str, name: str = "story") -> None:
    """Have a deployment's engine say this from now on."""
    (pod,) = stage.pods(name)
    spoken = json.dumps({"text": text})
    where = ("-n", stage.namespace, "exec", pod["metadata"]["name"], "--")
    stage.cluster.kubectl(*where, "understudy", "sim", "--set", spoken)


def answers(stage: Stage, asked: str, times: int = 2, name: str = "story") -> list[Reply]:
    """The same question some times, so that both gateways are likely to get it, whole and streamed."""
    messages = [{"role": "user", "content": asked}]
    return [stage.say(name, messages=messages, stream=each) for each in (False, True) for _ in range(times)]


def well(stage: Stage) -> bool:
    """Whether on every gateway each detector has told its canary's texts from each other."""
    said_of = states(stage)[1].get("DetectorsHealthy", {})
    return (said_of.get("status"), said_of.get("reason")) == ("True", "Well")


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


# Of what an engine says nobody is to hear an insult or a name.
INSULTING = f"Tea is ready. You are an {judges.INSULT}. Drink."
NAMING, MASKED = f"Tea is ready. {judges.NAME} pours it. Drink.", "Tea is ready. [pii] pours it. Drink."
# A guard that is a simulated engine says the same to everything.
BAD, GOOD = "<score> yes </score>", "<score> no </score>"
BLOCKED, UNAVAILABLE = (400, "content_filter"), (503, "guardrail_unavailable")


def test_nothing_is_let_out_while_who_judges_it_is_away(stage: Stage, each: tuple[Stage, Stage]) -> None:
    # Given a Guardrail that asks two detectors at addresses, which nobody serves yet, about what a story's engine says,
    # and one that asks a guard model of ours, which forbids all of a tale
    by_address(stage)
    by_model(stage)
    for name in ("guard", "story", "tale"):
        stage.model(name)
    stage.deployment("guard", f"--text={BAD}")
    covered(stage, "story", f"--text={INSULTING}")
    stage.deployment("tale", f"--text={CLEAR}", guardrailRefs=[{"name": "by-model"}])
    for name in ("guard", "story", "tale"):
        stage.becomes_ready(name)
    assert enforced(stage)["guarantees"] == {"harassment": "sentence", "pii": "sentence"}
    # Then nothing of the story is let out, and the status says who is away, and why.
    at_each(each, "it is told to nobody", lambda gateway: refused(gateway, "story", "", UNAVAILABLE))
    why = eventually("the status says so", lambda: seen(stage, "False", "Unwell"), every=1)
    assert why.startswith(("insults, on ", "names, on "))
    assert "no answer to the canary: " in why

    # When they are served, and meanwhile the guard's pod is deleted, and each that comes in its place,
    serve(stage)
    at_each(each, "the tale is judged", lambda gateway: refused(gateway, "tale", "", BLOCKED))

    def deleted() -> bool:
        for pod in stage.pods("guard"):
            stage.cluster.delete("pod", pod["metadata"]["name"], stage.namespace, grace=0)
        return refused(stage, "tale", "", UNAVAILABLE)

    # Then nothing of the tale is let out,
    eventually("the tale is told to nobody", deleted)
    # and when there is one again it is asked again, and heard.
    at_each(each, "the tale is judged", lambda gateway: refused(gateway, "tale", "", BLOCKED))
    tell(stage, GOOD, "guard")
    at_each(each, "the tale is heard", lambda gateway: heard(gateway, "tale") == [CLEAR] * 2)

    # And the status says that those who are served are well:
    eventually("all is well", lambda: seen(stage, "True", "Well"), every=1)
    # what one of them finds in a sentence ends the answer before it, at either gateway,
    for gateway in each:
        for reply in answers(gateway, "Tell me a story.", 1):
            # How much came before the verdict is a matter of who was faster.
            assert "Tea is ready. ".startswith("".join(said(reply)))
            assert "content_filter" in reply.text
    # and what the other one can point to is masked.
    tell(stage, NAMING)
    at_each(each, "a name is masked", lambda gateway: heard(gateway, "story") == [MASKED] * 2)

    # When their server is gone, Then nothing is let out until it is back.
    stage.cluster.delete("pod", "judges", stage.namespace, grace=0)
    at_each(each, "it is told to nobody", lambda gateway: refused(gateway, "story", MASKED, UNAVAILABLE))
    serve(stage)
    at_each(each, "it is judged again", lambda gateway: heard(gateway, "story") == [MASKED] * 2)


def at_each(gateways: tuple[Stage, Stage], what: str, probe: Callable[[Stage], bool]) -> None:
    """Wait for something at either gateway."""
    for gateway in gateways:
        eventually(what, partial(probe, gateway))


def serve(stage: Stage) -> None:
    """A pod that runs judges.py."""
    container = {
        "name": "judges",
        "image": SIM_IMAGE,
        "command": ["python3", "-c", Path(judges.__file__).read_text(), "/pair"],
        "readinessProbe": {"tcpSocket": {"port": judges.FMS_PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "pair", "mountPath": "/pair"}],
    }
    pair = {"name": "pair", "secret": {"secretName": "judges"}}
    metadata = {"name": "judges", "namespace": stage.namespace, "labels": {"app": "judges"}}
    # Python as the first process of a container does not end by being asked to.
    spec = {"containers": [container], "volumes": [pair], "terminationGracePeriodSeconds": 1}
    stage.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def by_address(stage: Stage) -> None:
    """The Guardrail of `covered`, with the detectors of that pod, and what their addresses need."""
    stage.cluster.apply(authority.pair(stage.cluster, "judges", stage.namespace))
    ports = [{"name": f"port-{port}", "port": port} for port in (judges.MODERATIONS_PORT, judges.FMS_PORT)]
    metadata = {"name": "judges", "namespace": stage.namespace}
    service = {"selector": {"app": "judges"}, "ports": ports}
    stage.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    stage.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "authority", "namespace": stage.namespace},
            "data": {"ca.crt": authority.certificate(stage.cluster)},
        }
    )
    host = f"judges.{stage.namespace}.svc"
    insults = {
        "name": "insults",
        "type": "moderations",
        "url": f"https://{host}:{judges.MODERATIONS_PORT}/v1",
        "caRef": {"name": "authority"},
        "timeout": "20s",
    }
    names = {
        "name": "names",
        "type": "fms",
        "url": f"http://{host}:{judges.FMS_PORT}",
        "canary": {"found": f"{judges.NAME} pours the tea."},
        "timeout": "20s",
    }
    rules = [
        {"category": "harassment", "where": ["output"], "actions": {"low": ["Block"]}},
        {"category": "pii", "where": ["output"], "actions": {"low": ["Redact"]}},
    ]
    guardrail(stage, "Block", detectors=[insults, names], rules=rules, failurePolicy="Closed")


def by_model(stage: Stage) -> None:
    """A Guardrail that asks deployment `guard`."""
    judge = {"name": "judge", "type": "chat-guard", "parser": "granite/v3", "timeout": "20s"}
    spec = {"detectors": [{**judge, "modelRef": {"name": "guard"}}], "rules": RULES, "failurePolicy": "Closed"}
    metadata = {"name": "by-model", "namespace": stage.namespace}
    stage.cluster.apply(
        {"apiVersion": "understudy.dev/v1alpha1", "kind": "Guardrail", "metadata": metadata, "spec": spec}
    )


def heard(stage: Stage, name: str) -> list[str]:
    """What is heard of an answer, whole and streamed; why not, where something ended it."""
    replies = answers(stage, "Tell me more.", 1, name)
    assert not any(judges.NAME in "".join(said(reply)) for reply in replies)
    ended = ["content_filter" in reply.text or reply.status != 200 for reply in replies]
    return [reply.text if each else "".join(said(reply)) for reply, each in zip(replies, ended, strict=True)]


def refused(stage: Stage, name: str, at_most: str, how: tuple[int, str]) -> bool:
    """Whether all answers are refused like this before their first byte; until they are, nothing but `at_most` is said.

    A stream that had begun may have come as far as that.
    """
    replies = answers(stage, "Tell me more.", 1, name)
    for reply in replies:
        assert at_most.startswith("".join(said(reply)))
    return all((reply.status, reply.code) == how for reply in replies)


def seen(stage: Stage, status: str, reason: str) -> str:
    """What DetectorsHealthy says, if it is this.

    The operator looks after it every half a minute, and whenever anything about the Guardrail has changed.
    """
    note = {"metadata": {"annotations": {"understudy.dev/seen-by-tests": uuid.uuid4().hex}}}
    stage.cluster.patch("guardrail", GUARDRAIL, stage.namespace, note)
    found = states(stage)[1].get("DetectorsHealthy", {})
    return found["message"] if (found.get("status"), found.get("reason")) == (status, reason) else ""
