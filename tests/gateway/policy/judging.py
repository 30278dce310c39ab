"""What answers are judged by in tests of the pure part, and the ways to cut them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tests.gateway.guardrails import CRISIS, NUMBERS, WORDS, rule
from understudy.gateway.policy.guarding import Guarding, guarding_of
from understudy.gateway.policy.verdicts import Facts, Guarded, Verdicts
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.json_gate import json_plans
from understudy.guard.plan import FailurePolicy
from understudy.guard.policy import compile_policy

BLOCK = {"detectors": [WORDS], "rules": [rule("rude", "Block")]}
REDACT = {"detectors": [WORDS, NUMBERS], "rules": [rule("rude", "Redact"), rule("pii", "Redact")]}


def guarding(*specs: Mapping[str, Any]) -> Guarding:
    """What these Guardrails come to, called `g0`, `g1` and so on."""
    policies = [compile_policy(f"g{number}", spec, {}) for number, spec in enumerate(specs)]
    return guarding_of("default", policies, specs, hyperscan_engine)


@cache
def usual(*actions: str) -> Guarding:
    """One that does this to the word `darn`."""
    return guarding({"detectors": [WORDS], "rules": [rule("rude", *actions)], "crisis": CRISIS})


def verdicts(holds: Guarding | None = None, facts: Facts | None = None) -> Verdicts:
    """Those over one answer; ids are v1, v2 and so on."""
    holds = holds or usual("Block")
    numbers = itertools.count(1)
    assert holds.output is not None
    return Verdicts(holds, holds.output, facts or Facts(), lambda: f"v{next(numbers)}")


def cuts(text: str) -> Iterator[Sequence[str]]:
    """The whole text, its characters, and all ways to cut it into two pieces."""
    yield [text]
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]


def asking(policy: FailurePolicy = "Closed") -> Guarding:
    """A detector of tier 1 is waited for, and tier 0 finds nothing that a rule speaks of."""
    holds = guarding(BLOCK)
    assert holds.output is not None
    judges = frozenset({"g0/j"})
    rules = {"g0/j": holds.output.text.rules["g0/words"]}
    text = replace(holds.output.text, rules=rules, asked=judges, awaited=judges, on_failure={"g0/j": policy})
    return replace(holds, output=replace(holds.output, text=text, json=json_plans(text)))


def whole(judge: Guarded, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What goes out for a whole answer."""
    return [out for piece in judge.pieces(answer) for out in judge.piece(piece)]
