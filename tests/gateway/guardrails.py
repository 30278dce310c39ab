"""Guardrails for tests of the gateway: policies as the operator hands them over, loaded without another process."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.gateway.gateways import Gateway
from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from understudy.domain.names import guard_shard
from understudy.gateway.databases import Databases
from understudy.gateway.guards import Loader
from understudy.guard.engines import Engine
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import Needle
from understudy.guard.policy import compile_policy
from understudy.guard.shards import pack

WORD = "darn"
CARD = "4111 1111 1111 1111"
WORDS = {"name": "words", "type": "patterns", "patterns": [{"name": "darn", "literal": WORD, "category": "rude"}]}
NUMBERS = {"name": "numbers", "type": "pii", "entities": ["CREDIT_CARD"]}
CRISIS = {"locales": {"en": {"text": "You are not alone.", "phone": "988"}, "de": {"text": "Du bist nicht allein."}}}


def rule(category: str, *actions: str, **more: Any) -> dict[str, Any]:
    """What follows from findings of every severity."""
    return {"category": category, "actions": {"low": list(actions)}, **more}


def policy_spec(*actions: str, **more: Any) -> dict[str, Any]:
    """A Guardrail that does this to `darn`."""
    return {"detectors": [WORDS], "rules": [rule("rude", *(actions or ("Block",)))], "crisis": CRISIS, **more}


def guard(spec: Mapping[str, Any], name: str = "calm", **more: Any) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What a table says of a Guardrail, and the parts that hold it."""
    policy = compile_policy(name, spec, {}).hash
    parts = pack(name, spec, {})
    names = [guard_shard(name, policy, number) for number in range(len(parts))]
    shards = [
        {"namespace": "default", "name": shard, "data": base64.b64encode(part).decode()}
        for shard, part in zip(names, parts, strict=True)
    ]
    return {"name": name, "policy": policy, "shards": names, **more}, shards


def guarded(port: int, *specs: Mapping[str, Any] | tuple[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A snapshot of one deployment under Guardrails, with an engine at this port."""
    named = [spec if isinstance(spec, tuple) else (f"calm-{number}", spec) for number, spec in enumerate(specs)]
    made = [guard(spec, name) for name, spec in named]
    document = snapshot([table(guards=[said for said, _ in made], **more)], [endpoints(STABLE, [port])])
    return {**document, "shards": [shard for _, shards in made for shard in shards]}


class InProcess(Databases):
    """Databases that are compiled here and now: starting a process takes longer than a test may."""

    def engine(self, needles: Sequence[Needle]) -> Engine:
        return hyperscan_engine(needles)

    async def compile(self, several: Sequence[Sequence[Needle]]) -> None:
        pass


async def load(gateway: Gateway, databases: Databases | None = None) -> None:
    """Have the gateway's Guardrails loaded."""
    await loader(gateway, databases).load()
    gateway.world.compile()
    gateway.plane.rerouted()


def loader(gateway: Gateway, databases: Databases | None = None) -> Loader:
    """What loads them."""
    world = gateway.world
    return Loader(world.guards, databases or InProcess(Path()), world.wanted, world.guarded)
