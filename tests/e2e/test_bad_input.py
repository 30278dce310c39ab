"""Whatever a user or an attacker sends is answered with what was wrong; nothing else is disturbed, nothing is left."""

import json
import socket
from typing import Any

import pytest

from tests.e2e.cluster import PATIENCE, RefusedError, eventually
from tests.e2e.stage import FAST_ROLLOUT, Stage
from tests.load.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

IMMEDIATE = {"strategy": "Immediate", "watch": "1s", "drain": "5s"}


def stalled(stage: Stage, name: str, reason: str) -> str:
    """Wait for Stalled=True with the reason; returns its message."""

    def probe() -> str:
        condition = stage.condition(name, "Stalled")
        right = condition.get("status") == "True" and condition.get("reason") == reason
        return str(condition.get("message")) if right else ""

    return eventually(f"{name} is Stalled: {reason}", probe)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"rollout": {"strategy": "Canary", "steps": [{"weight": 50}, {"weight": 10}, {"weight": 100}]}},
            "higher than the one before",
        ),
        ({"rollout": {"strategy": "Canary", "steps": [{"weight": 10}, {"weight": 50}]}}, "100"),
        ({"replicas": -1}, "greater than or equal to 0"),
        ({"modelRef": None}, "modelRef"),
        ({"engine": {"type": "tgi"}}, "vllm"),
        ({"engine": {"type": "sim", "args": ["--port=9000"]}}, "--port"),
    ],
)
def test_an_invalid_resource_is_refused_with_what_to_write(stage: Stage, spec: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        stage.deployment("story", **spec)
    assert says in refused.value.message


def test_what_the_schema_cannot_see_is_answered_in_the_status(stage: Stage) -> None:
    stage.model("story")
    stage.deployment("story", podTemplate={"hostNetwork": True})
    message = stalled(stage, "story", "InvalidSpec")
    assert "podTemplate.hostNetwork" in message
    assert stage.pods("story") == []


def test_a_missing_model_only_stalls_its_own_deployment(stage: Stage) -> None:
    stage.serving("good")
    with Traffic(stage.base_url, stage.key, stage.served("good"), streams=2) as traffic:
        stage.deployment("story", modelRef={"name": "nowhere"})
        stage.becomes(
            "story",
            "waiting for the model",
            lambda s: any(c["reason"] == "ModelNotFound" for c in s.get("conditions", ())),
        )
        # Apply order must not matter: it goes on as soon as the Model is there.
        stage.model("nowhere")
        stage.becomes_ready("story")
    assert traffic.failed() == []


def test_a_taken_served_name_stays_with_its_holder(stage: Stage) -> None:
    shared = f"shared.{stage.namespace}"
    first = stage.serving("first", servedNames=[shared])
    stage.model("second")
    stage.deployment("second", servedNames=[shared])
    eventually(
        "NameTaken is said",
        lambda: any(
            c["reason"] == "NameTaken" and "first" in c["message"] for c in stage.status("second")["conditions"]
        ),
    )
    with Traffic(stage.base_url, stage.key, shared, streams=2) as traffic:
        eventually("answers flow", lambda: sum(r.done for r in traffic.records) > 10)
    assert {r.revision for r in traffic.records if r.done} == {first}
    # The claimant has its own name all the same.
    with Traffic(stage.base_url, stage.key, f"{stage.namespace}/second", streams=2) as traffic:
        eventually("answers flow", lambda: sum(r.done for r in traffic.records) > 10)


def test_a_changed_secret_is_said_and_restarts_nothing(stage: Stage) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tokens", "namespace": stage.namespace},
        "stringData": {"token": "one"},
    }
    stage.cluster.apply(secret)
    engine = {
        "type": "sim",
        "image": "understudy:dev",
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "token"}}}],
        "startupTimeout": "60s",
    }
    revision = stage.serving("story", engine=engine, rollout=IMMEDIATE)
    pods = {p["metadata"]["uid"] for p in stage.pods("story", revision)}
    stage.cluster.apply({**secret, "stringData": {"token": "two"}})
    # New content is a new revision: it is rolled out like any other, and the old pods are never restarted in place.
    eventually("a new revision serves", lambda: stage.status("story")["stable"] != revision)
    assert all(c["restartCount"] == 0 for p in stage.pods("story") for c in p["status"].get("containerStatuses", ()))
    assert pods.isdisjoint({p["metadata"]["uid"] for p in stage.pods("story", stage.status("story")["stable"])})


def test_a_closed_guardrail_that_cannot_be_enforced_means_no_table(stage: Stage) -> None:
    stage.cluster.apply(
        {
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "Guardrail",
            "metadata": {"name": "safe", "namespace": stage.namespace},
            "spec": {
                "failurePolicy": "Closed",
                "detectors": [{"name": "pii", "type": "pii", "entities": ["EMAIL"]}],
                "rules": [
                    {"category": "pii", "where": ["output"], "actions": {"medium": ["Redact"]}},
                    {"category": "violence", "actions": {"high": ["Block"]}},
                ],
            },
        }
    )
    stage.model("story")
    stage.deployment("story", guardrailRefs=[{"name": "safe"}])
    eventually(
        "GuardrailsEnforced=False",
        lambda: stage.condition("story", "GuardrailsEnforced").get("reason") == "GuardrailInvalid",
    )
    eventually("it says why", lambda: "no detector finds 'violence'" in stage.condition("story", "Stalled")["message"])
    assert stage.cluster.get("rtable", "story", stage.namespace) is None


RAW = {
    "two lengths": b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"
    ),
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "huge header": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "dot segments": b"GET /v1/../metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form to the admin port": b"GET http://127.0.0.1:9901/state HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_malformed_http_gets_a_clean_4xx(stage: Stage, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", 30080), timeout=PATIENCE) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer and answer.count(b"HTTP/1.1") > 1:
                break
    assert answer.startswith(b"HTTP/1.1 4")
    # Exactly one answer: nothing behind the bad request was taken for another one.
    assert answer.count(b"HTTP/1.1 ") == 1
    body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert body["error"]["message"]
    assert body["error"]["code"]


def test_deletion_leaves_nothing_but_snapshots(stage: Stage) -> None:
    revision = stage.serving("story")
    stage.cluster.delete("mdep", "story", stage.namespace)
    kinds = ("deployment", "service", "rtable", "secret", "pod")
    mine = "understudy.dev/deployment=story"
    eventually(
        "every child is gone",
        lambda: not any(stage.cluster.list(kind, stage.namespace, mine) for kind in kinds),
    )
    (snapshot,) = stage.cluster.list("msnap", stage.namespace)
    assert snapshot["spec"]["revision"] == revision
    eventually(
        "the snapshot is marked as orphaned",
        lambda: (stage.cluster.get("msnap", f"story-{revision}", stage.namespace) or {})["status"].get("orphanedAt"),
    )


def test_made_again_it_comes_back_on_its_last_promoted_revision(stage: Stage) -> None:
    # Given v1 promoted, then v2 promoted
    v1 = stage.serving("story", "--seed=1", rollout=IMMEDIATE)
    stage.deployment("story", "--seed=2", rollout=IMMEDIATE)
    stage.becomes("story", "v2 is stable", lambda s: s.get("stable") not in ("", v1))
    v2 = stage.status("story")["stable"]
    eventually(
        "v2 is promoted",
        lambda: (stage.cluster.get("msnap", f"story-{v2}", stage.namespace) or {})["status"]["state"] == "Promoted",
    )
    stage.cluster.delete("mdep", "story", stage.namespace)
    eventually("all pods are gone", lambda: stage.pods("story") == [])
    # When it is made again, asking for something new
    stage.deployment("story", "--seed=3", rollout={**FAST_ROLLOUT, "steps": [{"weight": 100, "soak": "20m"}]})
    # Then v2 comes back first, and v3 is a candidate like any other
    status = stage.becomes("story", "a candidate is proved", lambda s: s.get("phase") == "Canary")
    assert status["stable"] == v2
    assert status["candidate"] not in (v1, v2)
