"""A real vLLM pod answers through the gateway, and two real revisions are told apart and rolled out."""

import json
from typing import Any

import openai
import pytest

from tests.e2e import authority
from tests.e2e.cluster import PATIENCE
from tests.e2e.installation import SYSTEM, gateways
from tests.e2e.stage import ENGINE_IMAGE, Stage
from tests.load.traffic import Traffic, flips

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

ENGINE: dict[str, Any] = {
    "type": "vllm",
    "image": ENGINE_IMAGE,
    "args": ["--enforce-eager", "--dtype=float32", "--max-model-len=256"],
    "env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}],
    "startupTimeout": "10m",
    "shutdownTimeout": "60s",
}
SPEC: dict[str, Any] = {
    "engine": ENGINE,
    "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
    "rollout": {
        "strategy": "Canary",
        "steps": [{"weight": 50, "soak": "5s"}, {"weight": 100, "soak": "5s"}],
        "watch": "5s",
        "drain": "60s",
        "analysis": {"minSamples": 10},
    },
}
INSIDE = """
import json, os, sys, urllib.request
body = {"model": sys.argv[1], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
request = urllib.request.Request(
    "http://understudy-gateway.understudy-system:8080/v1/chat/completions",
    data=json.dumps(body).encode(),
    headers={"Authorization": "Bearer " + os.environ["KEY"], "Content-Type": "application/json"},
)
print(urllib.request.urlopen(request, timeout=180).read().decode())
"""


def test_real_vllm_answers_and_two_seeds_are_rolled_out(stage: Stage) -> None:
    # Given a real vLLM pod with a tiny model of seed A
    stage.model("tiny-a", "/models/tiny-a")
    stage.model("tiny-b", "/models/tiny-b")
    stage.cluster.apply(authority.pair(stage.cluster, "engines", stage.namespace))
    stage.deployment("tiny", modelRef={"name": "tiny-a"}, **SPEC)
    first = stage.becomes_ready("tiny", within=500)

    # Then the official client gets an answer, whole and streamed, from outside
    client = openai.OpenAI(base_url=f"{stage.base_url}/v1", api_key=stage.key, timeout=PATIENCE, max_retries=0)
    messages: Any = [{"role": "user", "content": "Once upon a time"}]
    whole = client.chat.completions.create(model=stage.served("tiny"), messages=messages, max_tokens=12, temperature=0)
    assert whole.model == stage.served("tiny")
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    said_by_a = whole.choices[0].message.content
    streamed = ""
    for chunk in client.chat.completions.create(
        model=stage.served("tiny"), messages=messages, max_tokens=12, temperature=0, stream=True
    ):
        assert chunk.model == stage.served("tiny")
        streamed += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert streamed == said_by_a

    # and from inside the cluster, and nobody without a key
    (gateway, *_) = gateways(stage.cluster)
    inside = stage.cluster.kubectl(
        *("-n", SYSTEM, "exec", gateway, "--"),
        *("env", f"KEY={stage.key}", "python3", "-c", INSIDE, stage.served("tiny")),
    )
    assert json.loads(inside)["choices"][0]["message"]["content"]
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="us-wrong").chat.completions.create(model=stage.served("tiny"), messages=messages)

    # When the deployment asks for the model of seed B
    with Traffic(stage.base_url, stage.key, stage.served("tiny"), streams=4, tokens=4) as traffic:
        speaking_tls = {**ENGINE, "tls": {"secretRef": {"name": "engines"}, "requireClientCertificate": True}}
        stage.deployment("tiny", modelRef={"name": "tiny-b"}, **{**SPEC, "engine": speaking_tls})
        second = stage.becomes_ready("tiny", within=500)
    print(traffic.report())

    # Then it is another revision with another voice, and nobody was cut off
    assert second != first
    said_by_b = client.chat.completions.create(
        model=stage.served("tiny"), messages=messages, max_tokens=12, temperature=0
    )
    assert said_by_b.choices[0].message.content != said_by_a
    assert traffic.failed() == []
    assert traffic.truncated() == []
    assert flips(traffic.records) == {}
