"""What would happen if this ModelDeployment were applied: the planner's own answer, put into a few facts."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from understudy.cli.plugin.rehearsal import Rehearsal, Write, rehearse
from understudy.cli.plugin.screen import plural
from understudy.domain.conditions import find
from understudy.domain.duration import words
from understudy.plan.aspects import WAITS
from understudy.plan.observe import observe
from understudy.plan.observed import Object, Observed
from understudy.plan.rollout import RULES
from understudy.plan.state import State, read_state
from understudy.plan.wanted import Blocked, Wanted
from understudy.plan.world import World

Outcome = Literal["refused", "waits", "first", "rollout", "back", "adjusted", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """A field that differs: its path, and its values, "" where there was or will be none."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answer for one deployment; `then` is what the operator would wait for after its first writes."""

    namespace: str
    name: str
    outcome: Outcome
    sentence: str
    revision: str = ""
    serving: str = ""
    changes: tuple[Change, ...] = ()
    strategy: str = ""
    capacity: str = ""
    writes: tuple[Write, ...] = ()
    then: str = ""
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """It would be taken, and nothing would stand in its way."""
        return self.outcome not in ("refused", "waits")


def forecast(observed: Observed, live: Object | None, *, whole: bool, notes: tuple[str, ...] = ()) -> Forecast:
    """The forecast for `observed.deployment` as it would be stored; `live` is what is stored now.

    Without the `whole` of its children it is told what is asked for, not what would be written.
    """
    key = observed.key
    world = observe(observed, RULES)
    if isinstance(world, Blocked):
        return Forecast(key.namespace, key.name, *_blocked(world), notes=notes)
    if isinstance(world.target, Blocked):
        return Forecast(key.namespace, key.name, *_blocked(world.target), notes=notes)
    played = rehearse(observed) if whole else Rehearsal((), {})
    return _told(observed, live, world, world.target, played, notes)


def _blocked(blocked: Blocked) -> tuple[Outcome, str]:
    if blocked.passing:
        said = f"would wait two minutes for what is missing, and then be Stalled: {blocked.reason}: {blocked.message}"
        return "waits", said
    return "refused", f"would be Stalled, and what serves would go on: {blocked.reason}: {blocked.message}"


def _told(
    observed: Observed, live: Object | None, world: World, target: Wanted, played: Rehearsal, notes: tuple[str, ...]
) -> Forecast:
    before = read_state((live or {}).get("status") or {}) or State()
    changes = tuple(_changes(observed, live, target))
    # Unseen children may have to change wherever the spec does.
    moves = bool(played.writes) or (bool(changes) and not played.status)
    outcome, sentence = _outcome(before, target, played, moves=moves, recreate=world.terms.recreate)
    trying = outcome in ("first", "rollout")
    return Forecast(
        namespace=observed.key.namespace,
        name=observed.key.name,
        outcome=outcome,
        sentence=sentence,
        revision=target.revision,
        serving=before.stable,
        changes=changes,
        strategy=_strategy(world, before) if trying else "",
        capacity=_capacity(world, before, target) if trying else "",
        writes=played.writes,
        then=str(played.status.get("plan", "")),
        notes=notes,
    )


def _outcome(before: State, target: Wanted, played: Rehearsal, *, moves: bool, recreate: bool) -> tuple[Outcome, str]:
    after = read_state(played.status) or State()
    stalled = find(played.status.get("conditions") or (), "Stalled") or {}
    new, stable, other = target.revision, before.stable, before.candidate
    if stalled.get("status") == "True":
        return "waits", f"would be Stalled: {stalled['reason']}: {stalled.get('message', '')}"
    waiting = find(played.status.get("conditions") or (), "Reconciling") or {}
    if waiting.get("status") == "True" and waiting["reason"] in WAITS:
        return _blocked(Blocked(waiting["reason"], waiting.get("message", ""), passing=True))
    if new == stable:
        if other:
            return "back", f"{other}, which is being rolled out, would be taken back; {stable} goes on serving"
        if moves:
            return "adjusted", f"no new revision: the pods of {stable} stay as they are"
        return "unchanged", f"nothing would change: {stable} is what it asks for"
    if new == other:
        if moves:
            return "adjusted", f"no new revision: the rollout of {other} goes on"
        return "unchanged", f"no new revision, and nothing is written: the rollout of {other} goes on"
    first = f"{other}, which is being rolled out, is taken back first; then " if other else ""
    serving = stable or after.stable
    if not serving:
        return "first", f"{first}{new} would be the first revision: it serves as soon as one of its pods answers"
    until = "makes way for it" if recreate else "serves until it has passed"
    return "rollout", f"{first}the new revision {new} would be rolled out; {serving} {until}"


def _strategy(world: World, before: State) -> str:
    terms = world.terms
    if not before.stable:
        return "none: the first revision has nothing to be compared with"
    kept = "comes back the same way if it fails within" if terms.recreate else "stays ready for"
    watch = f"then {before.stable} {kept} {words(terms.watch)}{'' if terms.recreate else ' more'}"
    if terms.immediate:
        return f"Immediate: all conversations at once when its pods answer; only hard faults turn it back; {watch}"
    if terms.gated:
        itself = f", or by itself after {words(terms.promote_after)}" if terms.promote_after is not None else ""
        return f"BlueGreen: all conversations at once by `promote`{itself}; only hard faults turn it back; {watch}"
    steps = ", ".join(f"{weight} % for {words(soak)}" for weight, soak in terms.steps)
    copies = ""
    if terms.shadow_percent:
        pairs = plural(terms.shadow_samples, "pair")
        copies = f"copies of {terms.shadow_percent} % of the requests until {pairs} of answers are compared, then "
    return f"Canary: {copies}{steps}, each with at least {plural(terms.min_samples, 'request')} seen; {watch}"


def _capacity(world: World, before: State, target: Wanted) -> str:
    asks = _asks(target)
    each = f"; each asks for {asks}" if asks else ""
    replicas = world.replicas
    if replicas == 0:
        return "none: replicas is 0, so nothing starts"
    if not before.stable:
        return f"{plural(replicas, 'pod')}{each}"
    if world.terms.recreate:
        gap = f"when those of {before.stable} are gone; nobody is served meanwhile"
        return f"Recreate: {plural(replicas, 'pod')} {gap}{each}"
    first = max(1, math.ceil(world.terms.first_share() * replicas / 100))
    mode = world.spec.rollout.capacity.mode
    purpose = "copies" if world.terms.shadow_percent else "first step"
    steps = (
        f"{plural(first, 'pod')} for the {purpose}, {replicas} at the end" if first < replicas else plural(first, "pod")
    )
    half = math.ceil(replicas / 2)
    way = ""
    if half <= world.terms.spare(replicas):
        way = f"; without room {half} of them {'makes' if half == 1 else 'make'} way"
    elif world.terms.lendable != 0 and replicas > 1:
        way = f"; without room it waits until {half} of them may make way (capacity.maxUnavailable: {half})"
    return f"{mode}: {steps}, beside the {replicas} of {before.stable}: at most {2 * replicas} at once{way}{each}"


def _asks(target: Wanted) -> str:
    """What the engine's container asks for, in the order of the manifest."""
    containers = target.snapshot["spec"]["podTemplate"]["spec"]["containers"]
    resources = containers[0].get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return ", ".join(f"{name} {amount}" for name, amount in sorted(amounts.items()))


def _changes(observed: Observed, live: Object | None, target: Wanted) -> Iterator[Change]:
    """Fields of the spec that differ from what is stored, and what the Model and the references came to."""
    if live is None:
        return
    yield from differing(live.get("spec") or {}, (observed.deployment or {}).get("spec") or {})
    status = live.get("status") or {}
    asked = (status.get("target") or {}).get("revision") or status.get("stable", "")
    record = next((s for s in observed.snapshots if s["spec"]["revision"] == asked), None)
    if record is None:
        return
    old, new = record["spec"]["intent"], target.snapshot["spec"]["intent"]
    yield from differing(old.get("model") or {}, new.get("model") or {}, "Model ")
    hashes = differing(old.get("references") or {}, new.get("references") or {})
    yield from (Change(f"{c.path} (content)", c.before[:12], c.after[:12]) for c in hashes)


def differing(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Every leaf that is not the same in both, in the order of the names."""
    left, right = dict(_leaves(before, path)), dict(_leaves(after, path))
    for where in sorted({*left, *right}):
        if left.get(where) != right.get(where):
            yield Change(where, left.get(where, ""), right.get(where, ""))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path and not path.endswith(" ") else f"{path}{key}")
    elif isinstance(node, list | tuple) and node:
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}[{index}]")
    else:
        yield path, str(node)
