"""A Guardrail's way from the operator's hands into a gateway's: what one writes is what the other loads."""

import base64
from pathlib import Path

from tests.gateway.guardrails import InProcess
from tests.gateway.worlds import snapshot, table, world_of
from understudy.domain.key import Key
from understudy.domain.state import LOADED
from understudy.domain.table import Table, table_spec
from understudy.engine.guardrails import texts
from understudy.engine.policies import compiled
from understudy.gateway.guards import Loader
from understudy.guard.policy import policy_hash
from understudy.plan.actions import Apply
from understudy.plan.guardrail import ObservedGuardrail, plan_guardrail
from understudy.plan.guards import published
from understudy.plan.observed import Now

SPEC = {
    "selector": {"matchLabels": {"app": "tales"}},
    "revokeBefore": "0d" * 32,
    "failurePolicy": "Degrade",
    "detectors": [
        {"name": "words", "type": "lexicon", "configMapRef": {"name": "list"}},
        {"name": "pii", "type": "pii", "entities": ["EMAIL"]},
    ],
    "rules": [
        {"category": "words", "where": ["output"], "actions": {"high": ["Block"]}, "fictionAllowance": 1},
        {"category": "pii", "actions": {"medium": ["Redact"]}},
    ],
}


async def test_what_the_operator_writes_is_what_a_gateway_loads() -> None:
    guardrail = {"metadata": {"name": "safe", "namespace": "default", "generation": 1}, "spec": SPEC}
    sources, missing = texts(SPEC, "default", {"list": {"data": {"text": "knave\nVärlet\tmedium\n"}}})
    assert missing == ""
    decided = plan_guardrail(
        ObservedGuardrail(
            key=Key("default", "safe"),
            now=Now(1_800_000_000.0, 1.0, "p"),
            guardrail=guardrail,
            policy=policy_hash(SPEC, sources),
            verdict=compiled("safe", SPEC, sources),
        )
    )
    written = [action.obj for action in decided.actions if isinstance(action, Apply)]
    parts = {obj["metadata"]["name"]: base64.b64decode(obj["binaryData"]["policy"]) for obj in written}
    guard = published({**guardrail, "status": decided.status})
    assert guard is not None
    named = table_spec(Table(epoch=1, served_names=(), variants=(), guards=(guard,)))["guards"]
    world = world_of(snapshot([table(guards=named)], []))

    async def fetch(namespace: str, name: str) -> bytes:
        assert namespace == "default"
        return parts[name]

    await Loader(world.guards, InProcess(Path()), world.wanted, world.guarded, fetch).load()
    assert world.guards.told(world.wanted()) == {guard.policy: LOADED}
    entry = world.compile().deployments["default/story"]
    assert (entry.guarding is not None, entry.unguarded) == (True, "")
