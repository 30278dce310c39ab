"""Who is on trial against whom, and the evidence that counts for the current weight."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from understudy.api.v1alpha1.rollout import Metric
from understudy.plan import evidence as counting
from understudy.plan.clocks import since_last_pass
from understudy.plan.counts import NOTHING, Tally, add
from understudy.plan.evidence import Record
from understudy.plan.ladder import Rung, found_on
from understudy.plan.memory import SHADOW, WATCH, Block, Cursor, Evidence, Memory
from understudy.plan.metrics import measured
from understudy.plan.relative import compare
from understudy.plan.sequential import Comparison
from understudy.plan.state import State
from understudy.plan.tampering import tampered
from understudy.plan.world import World


@dataclass(frozen=True, slots=True)
class Trial:
    """`subject` is the revision on trial, `other` what it is compared with ("" = nothing)."""

    subject: str
    other: str


def trial_of(state: State) -> Trial:
    """The trial that a state is in; no subject when nothing is being proved."""
    if state.phase == "Watching":
        return Trial(state.stable, state.previous)
    if state.phase in ("Shadow", "Canary", "Promoting", "Preparing", "Replacing"):
        return Trial(state.candidate, state.stable)
    return Trial("", "")


def tag_of(state: State) -> str:
    """What evidence must be tagged with to count now; empty when none counts."""
    if state.phase == "Canary":
        return f"{state.run}/{state.weight}"
    steps = {"Shadow": SHADOW, "Watching": WATCH}
    return f"{state.run}/{steps[state.phase]}" if state.phase in steps else ""


def trial_name(state: State) -> str:
    """One trial from its candidate's first pod to the end of the watch: cursors and window belong to it."""
    subject = trial_of(state).subject
    return f"{state.run}/{subject}" if subject else ""


def weigh(world: World) -> World:
    """The world with the gateways' counters read: evidence, cursors and window carried on from the last pass."""
    state, now = world.state, world.now
    who = trial_of(state)
    if not who.subject:
        return world
    passed = since_last_pass(world.observed.memory, now)
    memory = world.observed.memory if passed is not None else None
    own = memory if memory is not None and memory.trial == trial_name(state) else None
    record = counting.read_record(world.revision(who.subject).status)
    if record is not None and not record.evidence.tag.startswith(f"{state.run}/"):
        record = None
    cursors, looked = _where_from(own, record, passed, now.wall)
    terms, gateways, guarded, rungs = world.terms, world.observed.gateways, world.guarded, world.rungs
    counted = counting.count(
        world.observed.key,
        who.subject,
        who.other,
        gateways,
        cursors,
        looked,
        lambda seen: {**measured(seen, terms, guarded=guarded), **{rung.key: found_on(seen, rung) for rung in rungs}},
        copies=state.phase == "Shadow",
    )
    tallies = _tallied(_kept(own, record), rungs, counted.samples)
    if state.phase == "Shadow":
        counted = counted.of_pairs()
    evidence = _carried(own, record, tag_of(state), looked)
    before = evidence is not None and evidence.disturbed
    disturbed = bool(tampered(world)) or (before and not _recovered(world, who))
    window: tuple[Block, ...] = ()
    complete = _complete(world, who.subject) and not disturbed
    if complete:
        old = own.window if own is not None else ()
        window = counting.slide(old, counted.subject, counted.other, now.monotonic, world.terms.min_requests)
    world = replace(world, judged=who.subject, comparisons=_compared(own, record), tallies=tallies)
    if evidence is not None:
        seen = evidence.counted and complete and _in_force(world)
        evidence = _grown(world, replace(evidence, disturbed=disturbed), counted, passed)
        if seen:
            world = replace(world, comparisons=compare(world, evidence.tag, counted.samples, looked or 0.0))
    return replace(world, evidence=evidence, cursors=counted.cursors, window=window)


def _complete(world: World, subject: str) -> bool:
    """All pods for its share are there: what fails while some are lost is not the revision's doing.

    Why they are missing is judged by their own states.
    """
    revision = world.revision(subject)
    needed = world.need(world.borne(subject))
    return revision.serving >= needed and not any(pod.disrupted for pod in revision.pods)


def _recovered(world: World, who: Trial) -> bool:
    """Both sides have the pods that their shares need."""
    share = 100 if world.state.phase == "Watching" else world.state.weight
    subject, other = world.revision(who.subject), world.revision(who.other)
    return subject.serving >= world.need(share) and (share == 100 or other.serving >= world.need(100 - share))


def _where_from(
    own: Memory | None, record: Record | None, passed: float | None, wall: float
) -> tuple[dict[str, Cursor], float | None]:
    if own is not None:
        return dict(own.cursors), passed
    if record is not None:
        return dict(record.cursors), max(0.0, wall - record.polled)
    return {}, None


def _carried(own: Memory | None, record: Record | None, tag: str, looked: float | None) -> Evidence | None:
    """Evidence under this tag, from memory before the snapshot, with the time that passed; new if there is none."""
    if not tag:
        return None
    kept = (own.evidence if own is not None else None, record.evidence if record is not None else None)
    found = next((e for e in kept if e is not None and e.tag == tag), None)
    return Evidence(tag) if found is None else replace(found, lasted=found.lasted + (looked or 0.0))


def _compared(own: Memory | None, record: Record | None) -> Mapping[Metric, Comparison]:
    """The comparisons of this rollout so far, from memory before the snapshot."""
    if own is not None:
        return own.comparisons
    return record.comparisons if record is not None else {}


def _kept(own: Memory | None, record: Record | None) -> Mapping[str, Tally]:
    """The tallies of this rollout so far, from memory before the snapshot."""
    if own is not None:
        return own.tallies
    return record.tallies if record is not None else {}


def _tallied(before: Mapping[str, Tally], rungs: Iterable[Rung], counted: Mapping[str, Tally]) -> dict[str, Tally]:
    """The tallies of today's rungs with what was just counted: an answer that is out is out, whatever the step."""
    found = {}
    for key in (rung.key for rung in rungs):
        (own, others), (more, more_others) = before.get(key, (NOTHING, NOTHING)), counted[key]
        found[key] = add(own, more), add(others, more_others)
    return found


def _in_force(world: World) -> bool:
    """Every gateway serves by the present weight, or makes copies; in the watch there is but one weight."""
    state = world.state
    if state.phase == "Shadow":
        return world.copied(state.candidate) > 0 and world.programmed
    return state.phase == "Watching" or (world.written(state.candidate) == state.weight and world.programmed)


def _grown(world: World, evidence: Evidence, counted: counting.Counted, passed: float | None) -> Evidence:
    """Evidence with this pass added: nothing before the weight is programmed, or while pods are missing."""
    state = world.state
    if evidence.disturbed:
        return replace(evidence, held=False)
    if state.phase == "Watching":
        soak = min(passed or 0.0, 2 * world.observed.settings.poll_interval)
        return replace(evidence, counted=True, soak=evidence.soak + soak)
    subject = world.candidate
    if not _in_force(world):
        return replace(evidence, held=False)
    held = subject.serving >= world.need(state.weight)
    if not evidence.counted:
        # The first sight of the programmed weight is where counting begins.
        return replace(evidence, counted=True, held=held)
    # Only time between two passes that both saw it in force was time under observation.
    observed = held and evidence.held
    soak = min(passed or 0.0, 2 * world.observed.settings.poll_interval) if observed else 0.0
    return replace(
        evidence,
        soak=evidence.soak + soak,
        held=held,
        subject=add(evidence.subject, counted.subject),
        other=add(evidence.other, counted.other),
    )
