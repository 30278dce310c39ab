"""What a guard costs: our gateway with everything on, in turns with the same under a Guardrail.

The Guardrail is that of bench/guardrails.py: 1,600 words that are made up, each of which ends an answer. Engines say
none of them, so that every character is looked at and let go. How much is held back is measured on prose, at the gate
itself: engines say the time, of which nothing is a word's beginning.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench import guardrails
from bench.gateway import ours
from bench.gateway.peers import PEERS
from bench.gateway.processes import idle
from bench.gateway.scenarios import BenchError, Scenario, measure

PLAIN = PEERS["understudy"]
GUARDED = replace(
    PLAIN, name="understudy-guard", title="under a guard", command=ours.guarded, features=ours.GUARDED_FEATURES
)
SCENARIOS = (
    Scenario("small", "requests", connections=32, prompt=1024),
    Scenario("streams-200", "streams", connections=200, prompt=1024),
    Scenario("streams-600", "streams", connections=600, prompt=1024),
)
# Of the gate alone: so many streams in turns, and pieces of each.
STREAMS, PIECES = 200, 250


def under_guard(repeat: int, seconds: float, warmup: float, *, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """All measurements of both, and what the gate alone takes and holds back."""
    results: list[dict[str, Any]] = []
    for repetition in range(repeat):
        for scenario in SCENARIOS:
            # Whoever comes first finds the machine as the other left it: they change places.
            for peer in (PLAIN, GUARDED)[:: 1 if repetition % 2 == 0 else -1]:
                before = idle()
                found = measure(peer, scenario, seconds, warmup)
                if found["errors"] or found["lost"]:
                    raise BenchError(
                        f"{peer.name} {scenario.name}: {found['errors']} failed, {found['lost']} connections lost: "
                        "what an answer costs that a guard ends is not to be measured"
                    )
                found |= {"peer": peer.name, "scenario": scenario.name, "repetition": repetition, "idle_before": before}
                results.append(found)
                say(found)
    return {"results": results, "gate": gate(STREAMS, PIECES), "repetitions": repeat, "seconds": seconds}


def gate(streams: int, pieces: int) -> dict[str, Any]:
    """Of the gate alone, on prose: processor time of a piece, and characters held back after it."""
    text = guardrails.documentation()
    spec = guardrails.policy(guardrails.made_up_words(text, guardrails.WORDS), [])
    found = guardrails.measure("words", spec, text, streams, pieces)
    return {
        "pieces": len(found.seconds),
        "p50_ms": guardrails.at(found.seconds, 0.5) * 1000,
        "p99_ms": guardrails.at(found.seconds, 0.99) * 1000,
        "held_mean": guardrails.mean(found.holds),
        "held_p99": guardrails.at(found.holds, 0.99),
        "held_most": found.holds[-1],
    }
