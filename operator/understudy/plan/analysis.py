"""The verdict on the revision on trial: hard checks (T0) and relative ones (T1) that turn it back, the gate (T2).

Checks are functions of the world that return a fault or None, in chains. A fault that something else
may have caused (`shared`) counts only while a comparator runs that does not show it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from understudy.plan.breaches import too_many_findings
from understudy.plan.counts import Counts
from understudy.plan.evidence import alongside, totals
from understudy.plan.faults import Fault
from understudy.plan.relative import doubtful
from understudy.plan.rulebook import Check
from understudy.plan.trial import trial_of
from understudy.plan.world import Pod, Revision, World

# Fewer requests on the comparator say nothing about its own error rate.
MIN_COMPARED: Final = 5
# The comparator fails too from this part of the ceiling on: one outage rarely hits both exactly alike.
FAILS_TOO: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bench:
    """The two sides of a trial; `other` is None when nothing runs that could be compared."""

    subject: Revision
    other: Revision | None


def wrong_identity(_: World, bench: Bench) -> Fault | None:
    """A pod answers as another model than it should be."""
    for pod in bench.subject.pods:
        if pod.report is not None and pod.report.identity not in ("", "ok") and not pod.disrupted:
            return Fault("WrongModelIdentity", f"{pod.name}: {pod.report.identity}", safety=True)
    return None


def pod_fault(_: World, bench: Bench) -> Fault | None:
    """A pod crashed, cannot get its image, missed its start deadline, or fails its health probe."""
    theirs = bench.other.fault if bench.other is not None else None
    for pod in bench.subject.pods:
        if pod.fault is not None and not (pod.fault.shared and theirs is not None and theirs.shared):
            return pod.fault
    return None


def image_moved(world: World, bench: Bench) -> Fault | None:
    """The candidate's pods do not all run the same image: its tag was pushed anew. What serves is not turned back."""
    if bench.subject.name != world.state.candidate or not differ(bench.subject.image_ids):
        return None
    return Fault("ImageMoved", moved(bench.subject.name, bench.subject.image_ids))


def differ(images: Iterable[str]) -> bool:
    """Whether these image ids are of more than one image.

    A runtime gives a pulled image by the digest of its manifest, `repository@sha256:…`, and one that was put on
    the node otherwise by that of its configuration, `sha256:…`: one cannot be compared with the other.
    """
    split = [image.rpartition("@") for image in images]
    return any(len({digest for _, at, digest in split if at == kind}) > 1 for kind in ("@", ""))


def moved(revision: str, images: Iterable[str]) -> str:
    """How a revision's image has moved, as a sentence."""
    return f"the image of {revision} has not come to the same on all its pods: {', '.join(images)}; name it by digest"


def probe_prompts(world: World, bench: Bench) -> Fault | None:
    """A prompt fails too often on a pod, and the comparator passed it each time at the same moment."""
    threshold = world.spec.probes.failure_threshold
    for pod in bench.subject.pods:
        for name, message in _failing(pod, threshold, compared=bench.other is not None):
            return Fault("ProbeFailed", f"{pod.name}: probe {name}: {message}", shared=True)
    return None


def error_ceiling(world: World, bench: Bench) -> Fault | None:
    """More requests fail than is ever acceptable, and not on the comparator at the same moments."""
    subject, _ = totals(world.window)
    other = alongside(world.window)
    limit, least = world.terms.error_rate, world.terms.min_requests
    if subject[0] < least or rate(subject) < limit:
        return None
    if bench.other is not None and other[0] >= MIN_COMPARED and rate(other) >= limit * FAILS_TOO:
        return None
    return Fault(
        "ErrorRate",
        f"{subject[1]} of {subject[0]} requests failed on {bench.subject.name}"
        f" (limit {limit:.0%}; {other[1]} of {other[0]} on its comparator)",
        shared=True,
    )


HARD_CHECKS: Final[tuple[Check, ...]] = (
    wrong_identity,
    too_many_findings,
    pod_fault,
    image_moved,
    probe_prompts,
    error_ceiling,
)


def hard_fault(world: World) -> Fault | None:
    """What turns the revision on trial back now, None if nothing does."""
    who = trial_of(world.state)
    return judge(world, world.revision(who.subject), world.revision(who.other), _checks(world))


def suspicion(world: World) -> Fault | None:
    """A fault that the revision on trial shows, whether or not its comparator shows it too: no reason to go on."""
    bench = Bench(world.revision(trial_of(world.state).subject), None)
    faults = (check(world, bench) for check in _checks(world))
    return next((fault for fault in faults if fault is not None), None)


def _checks(world: World) -> tuple[Check, ...]:
    return (*world.rules.hard_checks, *world.rules.relative_checks)


def judge(world: World, subject: Revision, against: Revision, checks: Iterable[Check]) -> Fault | None:
    """The first hard fault of `subject`; `against` is its comparator if any pod of it serves."""
    bench = Bench(subject, against if against.serving else None)
    faults = (check(world, bench) for check in checks)
    return next((f for f in faults if f is not None and counts(f, bench)), None)


def counts(fault: Fault, bench: Bench) -> bool:
    """Without a comparator only what is the revision's own doing counts."""
    return bench.other is not None or not fault.shared


def lacking(world: World) -> str:
    """What T2 still waits for at the current weight, or in Shadow, as a phrase; "" when the gate is passed."""
    evidence, state, terms = world.evidence, world.state, world.terms
    if state.phase == "Shadow" and not terms.shadow_percent:
        return ""
    if evidence is None or not evidence.counted:
        return "the weight has not been seen in force" if state.weight else "no copies have been made yet"
    if state.waived:
        return ""
    seen, wanted = evidence.subject[0], terms.samples(state.weight)
    if seen < wanted:
        return f"{seen} of {wanted} {'samples' if state.weight else 'pairs'}"
    doubt = doubtful(world)
    if doubt:
        return doubt
    soak = terms.soak(state.weight)
    return f"{evidence.soak:.0f} of {soak:.0f} s under observation" if evidence.soak < soak else ""


def rate(counted: Counts) -> float:
    """Failed attempts per attempt, 0 to 1; 0 when there were none."""
    return counted[1] / counted[0] if counted[0] else 0.0


def _failing(pod: Pod, threshold: int, *, compared: bool) -> list[tuple[str, str]]:
    """Prompts of which `threshold` of the last five runs failed, with the latest failure's message.

    If `compared`, a failure counts only if the comparator was asked at once and did better.
    """
    if pod.report is None or pod.disrupted:
        return []
    failed: dict[str, list[str]] = {}
    for run in pod.report.recent:
        if not run.ok and (run.other_ok or not compared):
            failed.setdefault(run.name, []).append(run.message)
    return [(name, messages[-1]) for name, messages in failed.items() if len(messages) >= threshold]
