"""The whole status of a ModelDeployment: the registers, what is seen, and what it means."""

from collections.abc import Mapping
from typing import Any, Final

from understudy.domain.conditions import Condition, transition
from understudy.domain.names import LABEL_DEPLOYMENT
from understudy.plan.analysis import hard_fault, lacking
from understudy.plan.aspects import Case, conditions
from understudy.plan.clocks import read_starts, write_starts
from understudy.plan.names import served
from understudy.plan.sentences import next_sentence
from understudy.plan.state import state_fields
from understudy.plan.wanted import Blocked
from understudy.plan.world import World

# Sentences that count up change the status at most this often, in seconds.
TELL: Final = 5.0
_TEXT: Final = 1000


def describe(case: Case) -> dict[str, Any]:
    """The status to write; `case.world` has the new registers."""
    world, decision = case.world, case.decision
    state = world.state
    verdict = _verdict(case)
    live = [world.revision(name) for name in state.live()]
    shown = [world.revision(name) for name in (state.stable, state.candidate) if name]
    written = world.written(state.candidate)
    registers = state_fields(state)
    since = write_starts(world.clocks, read_starts(world.before), world.now.wall)
    return {
        "observedGeneration": world.generation,
        **registers,
        **({"rollout": {**registers["rollout"], "since": since}} if since else {}),
        **_target(world),
        "step": world.terms.position(state.weight) if state.phase in ("Canary", "Promoting") else 0,
        "weights": {
            "candidate": {"desired": state.weight, "written": written, "programmed": _programmed(world, written)}
        },
        "weightText": f"{written}%" if state.candidate else "",
        "readyText": f"{sum(r.serving for r in shown)}/{sum(r.wanted for r in shown)}",
        **({"verdict": verdict} if verdict else {}),
        "plan": next_sentence(world, decision)[:4000],
        "replicas": sum(len(r.pods) for r in live),
        "readyReplicas": sum(r.serving for r in live),
        "selector": f"{LABEL_DEPLOYMENT}={world.name}",
        "servedNames": list(served(world)) if world.table is not None else [],
        "url": world.observed.settings.gateway_url,
        "conditions": transition(
            world.before.get("conditions") or (), conditions(case), world.generation, world.now.wall
        ),
    }


def unreadable(before: Mapping[str, Any], blocked: Blocked, generation: int, wall: float) -> dict[str, Any]:
    """The status of a deployment whose spec cannot be read at all: what was true stays, nothing is done."""
    said = [
        Condition("Ready", "False", blocked.reason, blocked.message),
        Condition("Reconciling", "False", blocked.reason, ""),
        Condition("Stalled", "True", blocked.reason, blocked.message),
    ]
    old = before.get("conditions") or ()
    others = [
        Condition(c["type"], c["status"], c["reason"], c.get("message", ""))
        for c in old
        if c["type"] not in ("Ready", "Reconciling", "Stalled")
    ]
    return {
        **before,
        "observedGeneration": generation,
        "conditions": transition(old, [*said, *others], generation, wall),
    }


def calm(old: Mapping[str, Any], new: Mapping[str, Any], since_told: float) -> Mapping[str, Any]:
    """`old` while only sentences differ and it has not been said for long; else `new`."""
    if since_told < TELL and _skeleton(old) == _skeleton(new):
        return old
    return new


def _skeleton(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status without its sentences."""
    verdict = status.get("verdict") or {}
    return {
        **{name: value for name, value in status.items() if name not in ("plan", "verdict", "conditions")},
        "verdict": verdict.get("result"),
        "conditions": [
            {name: value for name, value in condition.items() if name != "message"}
            for condition in status.get("conditions") or ()
        ],
    }


def _target(world: World) -> dict[str, Any]:
    target = world.target
    if isinstance(target, Blocked):
        return {"target": world.before["target"]} if world.before.get("target") else {}
    return {"target": {"revision": target.revision, "model": target.model}}


def _programmed(world: World, written: int) -> int:
    """The candidate's share that every gateway serves by; the last known one while that is in doubt."""
    if world.fleet.acknowledged:
        return written
    before = (world.before.get("weights") or {}).get("candidate") or {}
    return int(before.get("programmed", 0))


def _verdict(case: Case) -> dict[str, str] | None:
    world, state = case.world, case.world.state
    entry = state.failure(state.candidate)
    if state.phase in ("Reverting", "Replacing") and entry is not None:
        return {"result": "Fail", "reason": f"{entry.reason}: {entry.message}"[:_TEXT]}
    if state.phase not in ("Shadow", "Canary", "Watching"):
        return None
    fault = hard_fault(world)
    if fault is not None:
        return {"result": "Fail", "reason": f"{fault.reason}: {fault.message}"[:_TEXT]}
    wait = lacking(world) if state.phase != "Watching" else "the watch is not over"
    return (
        {"result": "Inconclusive", "reason": wait} if wait else {"result": "Pass", "reason": "no fault, enough samples"}
    )
