"""What must hold of every plan, whatever the world looks like.

Each is a function of the draft: the world as observed, the registers to be, and the writes. They are
asserted on every plan in the tests, and checked on every plan at run time: a violated one stops the
writes and shows as Stalled=InvariantViolated. I10 and I13 to I15 speak of whole histories and live in the tests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.names import LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.domain.table import InvalidTableError, parse_table
from understudy.plan.actions import Action, Apply, Delete
from understudy.plan.capacity import BORROWING
from understudy.plan.observed import Object
from understudy.plan.replaying import passed
from understudy.plan.routes import unsafe
from understudy.plan.world import World


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan before it is handed out: `world` has the registers that were decided on, `after` the new ones."""

    world: World
    after: World
    actions: tuple[Action, ...]


Invariant = Callable[[Draft], str]


def i1_weight_has_pods(draft: Draft) -> str:
    """A revision with a share has pods, and no pool with a share is taken away."""
    if draft.world.replicas == 0 or draft.after.state.phase == "Replacing":
        return ""
    replicas = _replicas(draft)
    for revision, weight in _weights(draft).items():
        if draft.world.revision(revision).snapshot is None and revision not in replicas:
            continue  # removed by hand, its record too: nothing is left that could be started
        if weight > 0 and replicas.get(revision, draft.world.revision(revision).wanted) == 0:
            return f"{revision} has {weight} % and no pods"
    for revision, wanted in replicas.items():
        if wanted == 0 and draft.world.revision(revision).wanted > 0 and draft.world.written(revision) > 0:
            return f"{revision} is scaled to zero with {draft.world.written(revision)} % in the table"
    return ""


def i2_weights_whole(draft: Draft) -> str:
    """A table gives whole shares that sum to 100, to stable and candidate only, and these are two; copies in Shadow."""
    state = draft.after.state
    if state.candidate and state.candidate in (state.stable, state.previous):
        return f"{state.candidate} would have two parts"
    for table in _applied(draft, "RoutingTable"):
        try:
            parsed = parse_table(draft.world.name, table["spec"])
        except InvalidTableError as error:
            return str(error)
        strangers = {v.revision for v in parsed.variants} - {state.stable, state.candidate}
        if strangers:
            return f"{', '.join(sorted(strangers))} is neither stable nor candidate"
        if parsed.shadow is not None and state.phase != "Shadow":
            return f"copies would be made in {state.phase}"
        if state.stable and not parsed.variants and state.phase != "Replacing":
            return "the table is empty although something is stable"
    return ""


def i3_stable_keeps_its_pods(draft: Draft) -> str:
    """Stable has all its pods but for those that it lends, within bounds, until the commit, unless it makes way.

    No fewer stay than were found to carry the load; of one that failed nobody looks for that.
    """
    after, state = draft.after, draft.after.state
    if state.lent and state.phase not in BORROWING:
        return f"{state.lent} pods of {state.stable} would stay lent in {state.phase}"
    if state.lent > draft.world.state.lent and state.lent > after.terms.spare(after.replicas):
        return f"{state.lent} of {after.replicas} pods of {state.stable} would be lent"
    if state.lent and state.phase != "Restoring" and after.carrying < state.kept:
        return f"{after.carrying} pods of {state.stable} would stay, and {state.kept} were found to carry the load"
    wanted = _replicas(draft).get(state.stable)
    if not state.candidate or wanted is None or wanted >= after.carrying or _made_way(draft):
        return ""
    return f"stable {state.stable} would have {wanted} of {after.replicas} pods, {after.lent} of them lent"


def i4_failed_stays_down(draft: Draft) -> str:
    """A failed revision does not become the candidate by itself, nor what a restore goes back to."""
    before, after = draft.world.state, draft.after.state
    chosen = after.candidate
    if not chosen or chosen == before.candidate or after.failure(chosen) is None:
        return ""
    return f"{chosen} failed and would be started again"


def i5_streams_end_first(draft: Draft) -> str:
    """No pool is taken away while requests are open on it, before the drain deadline."""
    for revision in (*_stopped(draft), *_deleted(draft)):
        opened = draft.world.fleet.open_requests(revision)
        over = draft.world.elapsed(f"drain:{revision}") >= draft.world.drain
        if opened and draft.world.revision(revision).pods and not over and not unsafe(draft.after.state, revision):
            return f"{revision} would stop with {opened} open requests"
    return ""


def i6_share_rises_on_ready_pods(draft: Draft) -> str:
    """A share never rises on a revision without a ready pod while another has one."""
    world = draft.world
    if world.table is None or world.replicas == 0:
        return ""
    for revision, weight in _weights(draft).items():
        others = [r for r in draft.after.state.live() if r != revision and world.revision(r).serving]
        bad = any(unsafe(draft.after.state, r) for r in others)
        rises = weight > world.written(revision) and not world.revision(revision).serving
        if rises and not bad and any(world.written(r) for r in others):
            return f"{revision} would rise to {weight} % without a ready pod"
    return ""


def i7_two_hold_accelerators(draft: Draft) -> str:
    """No third revision gets pods."""
    replicas = _replicas(draft)
    holding = {name for name, revision in draft.world.revisions.items() if revision.exists}
    new = {name for name, wanted in replicas.items() if wanted > 0} - holding
    if new and len(holding | new) > 2:
        return f"{', '.join(sorted(new))} would be one more beside {', '.join(sorted(holding))}"
    return ""


def i8_spec_is_the_users(draft: Draft) -> str:
    """Nothing but the status of a ModelDeployment is written."""
    return "the spec would be written" if _applied(draft, "ModelDeployment") else ""


def i9_exact_writes(draft: Draft) -> str:
    """Every write of shares, replicas, phase or deletion names the object that was seen, in the version seen."""
    seen: dict[str, dict[str, Object | None]] = {
        "RoutingTable": {draft.world.name: draft.world.observed.table},
        "Deployment": {draft.world.child(r): o for r, o in draft.world.observed.pools.items()},
    }
    for action in draft.actions:
        if isinstance(action, Delete) and not (action.uid and action.resource_version):
            return f"deletion of {action.kind} {action.name} names no version"
        if isinstance(action, Apply) and action.obj["kind"] in seen:
            observed = seen[action.obj["kind"]].get(action.obj["metadata"]["name"])
            if observed is not None and not (action.uid and action.resource_version):
                return f"write of {action.obj['kind']} {action.obj['metadata']['name']} names no version"
    return ""


def i11_no_data_never_passes(draft: Draft) -> str:
    """A step is passed only on a programmed table, with samples and soak or a waiver, and never backwards.

    A table whose stable has no pod is never programmed: once all steps are waived, that holds up none.
    """
    before, after = draft.world.state, draft.after.state
    passed = before.phase in ("Shadow", "Canary") and (
        after.phase == "Promoting" or (after.phase == "Canary" and after.weight > before.weight)
    )
    if not passed or after.skip_to >= 100 > before.skip_to:
        return ""
    if before.skip_to >= 100 and draft.world.stable.serving == 0:
        return ""
    evidence, terms = draft.world.evidence, draft.world.terms
    if before.phase == "Shadow" and not terms.shadow_percent:
        return ""
    if not draft.world.programmed or evidence is None or not evidence.counted:
        return "a step is passed that was never in force"
    if before.waived:
        return ""
    if evidence.subject[0] < terms.samples(before.weight) or evidence.soak < terms.soak(before.weight):
        return f"a step is passed with {evidence.subject[0]} samples and {evidence.soak:.0f} s"
    return ""


def i12_weight_falls_by_revert_only(draft: Draft) -> str:
    """Within a canary the candidate's share never falls."""
    state, weights = draft.after.state, _weights(draft)
    if state.phase not in ("Canary", "Promoting") or draft.world.table is None or not weights:
        return ""
    written = draft.world.written(state.candidate)
    given = weights.get(state.candidate, 0)
    return f"{state.candidate} would fall from {written} to {given} %" if given < written else ""


def i14_only_ours(draft: Draft) -> str:
    """Every object that is touched is a child of this deployment."""
    world = draft.world
    ours = {o["metadata"]["uid"] for o in _observed_children(draft)}
    for action in draft.actions:
        if isinstance(action, Delete) and action.uid not in ours:
            return f"{action.kind} {action.name} is not ours"
        if isinstance(action, Apply) and action.obj["metadata"]["namespace"] != world.namespace:
            return f"{action.obj['kind']} {action.obj['metadata']['name']} is in another namespace"
        if isinstance(action, Apply) and not action.subresource:
            labels = action.obj["metadata"].get("labels") or {}
            if labels.get(LABEL_DEPLOYMENT) != world.name:
                return f"{action.obj['kind']} {action.obj['metadata']['name']} has not our label"
    return ""


def i16_guards_stay(draft: Draft) -> str:
    """A table names the policy of every Guardrail that holds and has one; none is made where one that must has none."""
    guarding = draft.world.guarding
    for table in _applied(draft, "RoutingTable"):
        named = {guard.get("name") for guard in table["spec"].get("guards") or ()}
        left_out = [guard.name for guard in guarding.guards if guard.name not in named]
        if left_out:
            return f"the table would not name Guardrail {', '.join(left_out)}"
        if draft.world.table is None and guarding.bare:
            return f"a table would be made without Guardrail {', '.join(guarding.bare)}"
    return ""


def i17_nobody_hears_what_is_not_judged(draft: Draft) -> str:
    """A candidate comes into the table once its answers to the probe sets are no worse than stable's."""
    state = draft.after.state
    for table in _applied(draft, "RoutingTable"):
        named = {variant["revision"] for variant in table["spec"]["variants"]}
        if state.candidate in named and not passed(draft.world):
            return f"{state.candidate} would be heard before its answers to probe sets are known to be good enough"
    return ""


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "I1": i1_weight_has_pods,
    "I2": i2_weights_whole,
    "I3": i3_stable_keeps_its_pods,
    "I4": i4_failed_stays_down,
    "I5": i5_streams_end_first,
    "I6": i6_share_rises_on_ready_pods,
    "I7": i7_two_hold_accelerators,
    "I8": i8_spec_is_the_users,
    "I9": i9_exact_writes,
    "I11": i11_no_data_never_passes,
    "I12": i12_weight_falls_by_revert_only,
    "I14": i14_only_ours,
    "I16": i16_guards_stay,
    "I17": i17_nobody_hears_what_is_not_judged,
}


def violations(draft: Draft) -> tuple[str, ...]:
    """Every invariant that the draft breaks, as `<name>: <how>`."""
    answers = ((name, invariant(draft)) for name, invariant in INVARIANTS.items())
    return tuple(f"{name}: {how}" for name, how in answers if how)


def _made_way(draft: Draft) -> bool:
    """Stable makes way for the candidate, or has done so for the one that is about to be stable."""
    return draft.after.terms.recreate and draft.after.state.phase in ("Replacing", "Promoting")


def _applied(draft: Draft, kind: str) -> list[Mapping[str, Any]]:
    applies = (a for a in draft.actions if isinstance(a, Apply) and not a.subresource)
    return [a.obj for a in applies if a.obj["kind"] == kind]


def _weights(draft: Draft) -> dict[str, int]:
    return {
        v["revision"]: int(v["weight"]) for table in _applied(draft, "RoutingTable") for v in table["spec"]["variants"]
    }


def _replicas(draft: Draft) -> dict[str, int]:
    return {
        pool["metadata"]["labels"][LABEL_REVISION]: int(pool["spec"]["replicas"])
        for pool in _applied(draft, "Deployment")
    }


def _stopped(draft: Draft) -> Iterator[str]:
    for revision, wanted in _replicas(draft).items():
        if wanted == 0 and draft.world.revision(revision).wanted > 0 and draft.world.replicas > 0:
            yield revision


def _deleted(draft: Draft) -> Iterator[str]:
    names = {draft.world.child(revision): revision for revision in draft.world.revisions}
    for action in draft.actions:
        if isinstance(action, Delete) and action.kind == "Deployment":
            yield names[action.name]


def _observed_children(draft: Draft) -> Iterable[Mapping[str, Any]]:
    observed = draft.world.observed
    yield from observed.snapshots
    if observed.policy is not None:
        yield observed.policy
    for group in (observed.pools, observed.services, observed.engine_keys, observed.configmaps):
        yield from group.values()
