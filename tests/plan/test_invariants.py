"""Every invariant says no to the plan that it is there for, and a plan that breaks one is not carried out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.parts import Behaviour
from tests.plan.test_canary import canary
from tests.plan.world import NAME, NAMESPACE, Cluster, serving
from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION, guard_shard
from understudy.domain.table import Guard
from understudy.plan.actions import Action, Apply, Delete, Emit
from understudy.plan.guards import Guarding
from understudy.plan.invariants import INVARIANTS, Draft, violations
from understudy.plan.memory import Evidence
from understudy.plan.observe import observe
from understudy.plan.planner import plan
from understudy.plan.replay import ProbeSet
from understudy.plan.rollout import RULES
from understudy.plan.state import State, brand
from understudy.plan.world import World

NOBODY = "0" * 8


def world_of(cluster: Cluster) -> World:
    world = observe(cluster.observe(), RULES)
    assert isinstance(world, World)
    return world


@pytest.fixture(scope="module")
def half() -> World:
    """v2 has half of the conversations."""
    return world_of(canary(50, replicas=2))


@pytest.fixture(scope="module")
def rest() -> World:
    """v1 is stable, nothing else is there."""
    return world_of(serving("v1"))


def draft(world: World, *actions: Action, **registers: Any) -> Draft:
    return Draft(world, world.moved(replace(world.state, **registers)), actions)


def table(weights: dict[str, int], uid: str = "u", version: str = "9", **fields: Any) -> Apply:
    variants = [{"revision": r, "track": "canary", "weight": w, "service": f"{NAME}-{r}"} for r, w in weights.items()]
    return Apply(
        obj={
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "RoutingTable",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {LABEL_DEPLOYMENT: NAME}, **fields},
            "spec": {"epoch": 1, "variants": variants},
        },
        uid=uid,
        resource_version=version,
    )


def pool(revision: str, replicas: int, uid: str = "u", version: str = "9") -> Apply:
    labels = {LABEL_DEPLOYMENT: NAME, LABEL_REVISION: revision}
    meta = {"name": f"{NAME}-{revision}", "namespace": NAMESPACE, "labels": labels}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas}}
    return Apply(obj=body, uid=uid, resource_version=version)


def deletion(world: World, revision: str, version: str = "9") -> Delete:
    observed = world.observed.pools[revision]["metadata"]
    return Delete("apps/v1", "Deployment", NAMESPACE, observed["name"], observed["uid"], version)


def busy(world: World) -> World:
    """The same with requests open on everything."""
    answers = tuple(
        replace(a, revisions={r: replace(s, open_requests=3) for r, s in a.revisions.items()})
        for a in world.fleet.answers
    )
    return replace(world, fleet=replace(world.fleet, answers=answers))


def idle(world: World) -> World:
    """The same with no request open on anything."""
    return replace(world, fleet=replace(world.fleet, answers=()))


def unready(world: World, revision: str) -> World:
    found = world.revisions[revision]
    pods = tuple(replace(p, serving=False, proven=False) for p in found.pods)
    return replace(world, revisions={**world.revisions, revision: replace(found, pods=pods)})


def evidence(world: World, **fields: Any) -> World:
    whole = Evidence(f"{world.state.run}/50", counted=True, soak=99.0, subject=(99, 0))
    return replace(world, evidence=replace(whole, **fields))


SAFE = Guard("safe", "5a" * 32, (guard_shard("safe", "5a" * 32, 0),))


def guarded(world: World, **guarding: Any) -> World:
    return replace(world, guarding=Guarding(**guarding))


def unheard(world: World) -> World:
    """The same before the first share, with a probe set that nobody has answered."""
    sets = (ProbeSet("safe", "prompts", "key", "5a" * 32, 1, 4, 0, must=True),)
    alone = replace(world.table, table=None) if world.table is not None else None
    before = world.moved(replace(world.state, phase="Preparing", weight=0))
    return replace(before, table=alone, probe_sets=sets)


def stepped(world: World) -> Draft:
    return draft(world, weight=100)


def copying(world: World) -> Apply:
    """A table by which the candidate gets copies."""
    whole = table({world.state.candidate: 0, world.state.stable: 100})
    shadow, stable = whole.obj["spec"]["variants"]
    settings = {"percent": 10, "firstTokenSeconds": 2.0, "betweenTokensSeconds": 0.2}
    spec = {**whole.obj["spec"], "variants": [{**shadow, "track": "shadow"}, stable], "shadow": settings}
    return replace(whole, obj={**whole.obj, "spec": spec})


def rehearsed(world: World, pairs: int) -> Draft:
    """The first step after so many pairs of a hundred."""
    terms = replace(world.terms, shadow_percent=10, shadow_samples=100)
    shadowed = replace(world.moved(replace(world.state, phase="Shadow", weight=0)), terms=terms)
    return draft(evidence(shadowed, soak=0.0, subject=(pairs, 0)), phase="Canary", weight=10)


Made = Callable[[World], Draft]

BROKEN: list[tuple[str, Made]] = [
    ("I1", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 50}), pool(w.state.stable, 0))),
    ("I1", lambda w: draft(w, pool(w.state.candidate, 0))),
    ("I2", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 40}))),
    ("I2", lambda w: draft(w, table({w.state.candidate: 50, NOBODY: 50}))),
    ("I2", lambda w: draft(w, table({}))),
    ("I2", lambda w: draft(w, candidate=w.state.stable)),
    ("I2", lambda w: draft(w, copying(w))),
    ("I3", lambda w: draft(w, pool(w.state.stable, 1))),
    ("I3", lambda w: Draft(w, replace(making_way(w), state=w.state), (pool(w.state.stable, 0),))),
    ("I3", lambda w: draft(w, pool(w.state.stable, 0), lent=1)),
    ("I3", lambda w: draft(w, lent=2)),
    ("I3", lambda w: draft(w, phase="Reverting", weight=0, lent=1)),
    ("I3", lambda w: draft(replace(w, terms=replace(w.terms, lendable=0)), lent=1)),
    ("I3", lambda w: draft(w, lent=1, kept=2)),
    ("I4", lambda w: failed_candidate(w)),
    ("I5", lambda w: draft(busy(w), pool(w.state.candidate, 0))),
    ("I5", lambda w: draft(busy(w), deletion(w, w.state.candidate))),
    ("I6", lambda w: draft(unready(w, w.state.candidate), table({w.state.candidate: 100, w.state.stable: 0}))),
    ("I7", lambda w: draft(w, pool(NOBODY, 1))),
    (
        "I8",
        lambda w: draft(w, Apply(obj={"kind": "ModelDeployment", "metadata": {"namespace": NAMESPACE, "name": NAME}})),
    ),
    ("I9", lambda w: draft(w, pool(w.state.stable, 2, version=""))),
    ("I9", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 50}, uid=""))),
    ("I9", lambda w: draft(w, deletion(w, w.state.candidate, version=""))),
    ("I11", lambda w: stepped(evidence(w, subject=(4, 0)))),
    ("I11", lambda w: stepped(evidence(w, soak=2.0))),
    ("I11", lambda w: rehearsed(w, 99)),
    ("I11", lambda w: stepped(evidence(w, counted=False))),
    ("I11", lambda w: stepped(replace(evidence(w), evidence=None))),
    ("I11", lambda w: stepped(replace(evidence(w), programmed=False))),
    ("I11", lambda w: draft(evidence(w, soak=0.0), phase="Promoting")),
    ("I12", lambda w: draft(w, table({w.state.candidate: 10, w.state.stable: 90}))),
    ("I16", lambda w: draft(guarded(w, guards=(SAFE,)), table({w.state.candidate: 50, w.state.stable: 50}))),
    ("I16", lambda w: draft(replace(guarded(w, bare=("safe",)), table=None), table({w.state.stable: 100}))),
    ("I17", lambda w: draft(unheard(w), table({w.state.candidate: 0, w.state.stable: 100}), phase="Shadow", weight=0)),
    ("I14", lambda w: draft(w, Delete("v1", "Service", NAMESPACE, "other", "somebody's", "9"))),
    ("I14", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 50}, namespace="kube-system"))),
    ("I14", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 50}, labels={}))),
]


def making_way(world: World, **registers: Any) -> World:
    """The same under capacity.mode: Recreate."""
    after = replace(world.state, phase="Replacing", **registers)
    return replace(world, state=after, terms=replace(world.terms, recreate=True))


def replaced(world: World, *actions: Action, **registers: Any) -> Draft:
    return Draft(world, making_way(world, **registers), actions)


FINE: list[tuple[str, Made]] = [
    ("no writes", lambda w: draft(w)),
    ("enough pairs", lambda w: rehearsed(w, 100)),
    ("copies in Shadow", lambda w: draft(w, copying(w), phase="Shadow", weight=0)),
    ("an event", lambda w: draft(w, Emit("Normal", "X", "y"))),
    ("the table as it is", lambda w: draft(w, table({w.state.candidate: 50, w.state.stable: 50}))),
    ("pods as they are", lambda w: draft(w, pool(w.state.stable, 2), pool(w.state.candidate, 1))),
    ("a pod lent", lambda w: draft(w, pool(w.state.stable, 1), lent=1)),
    ("a step with its evidence", lambda w: stepped(evidence(w))),
    ("a step that was waived", lambda w: stepped(waived(w))),
    ("a takeover from a stable that is down", lambda w: draft(w, weight=100, skip_to=100)),
    ("a revert", lambda w: draft(w, table({w.state.stable: 100}), phase="Reverting", weight=0)),
    ("a first pool", lambda w: draft(w, pool(w.state.stable, 2, uid="u"))),
    ("a revert to stable from a wrong model", lambda w: wrong_model(w)),
    ("an empty table while stable makes way", lambda w: replaced(w, table({}))),
    ("stable making way", lambda w: replaced(idle(w), pool(w.state.stable, 0))),
    ("pods that are down already", lambda w: draft(replace(w, table=None), pool(NOBODY, 0))),
]


def failed_candidate(world: World) -> Draft:
    branded = brand(world.state, NOBODY, "X", "x", 0.0, 1)
    return Draft(world, world.moved(replace(branded, candidate=NOBODY)), ())


def waived(world: World) -> World:
    return evidence(world.moved(replace(world.state, skip_to=50)), subject=(0, 0), soak=0.0)


def wrong_model(world: World) -> Draft:
    branded = brand(world.state, world.state.candidate, "WrongModelIdentity", "x", 0.0, 1)
    seen = unready(busy(world), world.state.stable)
    after = replace(branded, phase="Reverting", weight=0)
    return Draft(seen, seen.moved(after), (table({world.state.stable: 100}),))


@pytest.mark.parametrize(("name", "made"), BROKEN)
def test_a_plan_that_breaks_it_is_named(half: World, name: str, made: Made) -> None:
    assert INVARIANTS[name](made(half))


@pytest.mark.parametrize(("name", "made"), FINE, ids=[name for name, _ in FINE])
def test_a_plan_that_is_right_breaks_none(half: World, name: str, made: Made) -> None:
    assert violations(made(half)) == ()


def test_nothing_runs_at_replicas_zero_and_that_is_right(rest: World) -> None:
    spec = rest.spec.model_copy(update={"replicas": 0})
    asleep = replace(rest, reading=replace(rest.reading, spec=spec))
    stable = rest.state.stable
    assert violations(draft(asleep, table({stable: 100}), pool(stable, 0))) == ()


def test_a_stable_whose_record_and_pool_were_removed_by_hand_keeps_its_table(rest: World) -> None:
    gone = replace(rest, revisions={})
    assert violations(draft(gone, table({rest.state.stable: 100}))) == ()


def test_without_a_stable_revision_the_table_is_empty(rest: World) -> None:
    bare = rest.moved(State())
    assert violations(Draft(bare, bare, (table({}),))) == ()


def test_a_plan_that_breaks_one_is_not_carried_out_and_says_so() -> None:
    cluster = serving("v1")
    # Without its rule that what serves need not be prepared again, the machine would split v1 with itself.
    stable = tuple(rule for rule in RULES.phases["Stable"] if rule.__name__ != "steady")
    broken = replace(RULES, phases={**RULES.phases, "Stable": stable})
    cluster.rules = broken
    cluster.turns(20)
    assert cluster.says("Stalled") == ("True", "InvariantViolated")
    assert cluster.condition("Stalled")["message"].startswith("I")
    assert cluster.weights() == {"v1": 100}
    assert cluster.last.actions == ()
    cluster.rules = RULES
    cluster.behaviours["v1"] = Behaviour()
    cluster.apply("v1")
    cluster.turns(40)
    assert cluster.says("Ready")[0] == "True"


def test_equal_observations_give_equal_plans() -> None:
    observed = canary(10).observe()
    assert plan(observed) == plan(observed)
