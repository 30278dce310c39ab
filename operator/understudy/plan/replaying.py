"""When the probe sets of Guardrails are replayed to a candidate, which pods are asked, and what that means for it."""

from collections.abc import Iterator

from understudy.plan.faults import Fault
from understudy.plan.phases.trying import STABLE_DOWN_PATIENCE
from understudy.plan.replay import ProbeSet, Replay, ReplayReport, SetReport, progress, verdict, worse
from understudy.plan.world import Revision, World

PROBE_SET_FAILED = "ProbeSetFailed"


def replay(world: World) -> Replay | None:
    """What to ask now; None outside of the time between a candidate's first answer and the first that is heard.

    A first revision has nothing to be compared with, what is rolled back to has served before, with Recreate nobody is
    served while it starts, and while stable has long been down nobody is served at all: none of them waits for this.
    """
    state = world.state
    waits = state.phase == "Preparing" and state.stable and state.candidate and not world.listed(state.candidate)
    hurries = state.candidate == state.pinned or world.terms.recreate
    if not waits or hurries or not world.probe_sets or world.elapsed("stable-down") >= STABLE_DOWN_PATIENCE:
        return None
    return Replay(
        run=state.run,
        revision=state.candidate,
        against=state.stable,
        sets=world.probe_sets,
        guards=world.guarding.guards,
        subjects=_askable(world.candidate),
        others=_askable(world.stable),
    )


def passed(world: World) -> bool:
    """No probe set stands between the candidate and the first that hears it."""
    return all(verdict(probes, report) == "pass" for probes, report in _open(world))


def failed(world: World) -> Fault | None:
    """The candidate's answers are worse than stable's by more than a set bears."""
    said = (worse(probes, report) for probes, report in _open(world) if verdict(probes, report) == "fail")
    message = next(said, "")
    return Fault(PROBE_SET_FAILED, message) if message else None


def awaited(world: World) -> tuple[str, bool]:
    """What is waited for, "" for nothing; and whether answers cannot be judged, which takes somebody from outside."""
    waits = [(probes, report) for probes, report in _open(world) if verdict(probes, report) == "wait"]
    stuck = any(report.settled for _, report in waits)
    return "; ".join(progress(probes, report) for probes, report in waits), stuck


def _open(world: World) -> Iterator[tuple[ProbeSet, SetReport]]:
    """The sets that are being replayed, with what has come so far."""
    asked, known = replay(world), world.observed.replay
    if asked is None:
        return
    # What was found for another candidate, of other prompts or by other policies says nothing.
    report = known if known is not None and known.matter == asked.matter else ReplayReport(asked.matter)
    yield from ((probes, report.of(probes)) for probes in asked.sets)


def _askable(revision: Revision) -> tuple[str, ...]:
    return tuple(pod.uid for pod in revision.pods if pod.proven and pod.address)
