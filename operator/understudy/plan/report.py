"""What a step of a rollout came to, for people: what was compared, the numbers, and why it passed or did not."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from understudy.plan import breaches
from understudy.plan.analysis import lacking
from understudy.plan.likeness import likeness
from understudy.plan.memory import SHADOW, WATCH, Evidence
from understudy.plan.relative import compared
from understudy.plan.replay import ReplayReport, told
from understudy.plan.trial import tag_of
from understudy.plan.world import World

MAX_STEPS: Final = 21
PROBES: Final = "probe sets"
_SENTENCES: Final = 8
_WENT_ON: Final = ("Shadow", "Canary", "Promoting")
_TEXT: Final = 1000


def reported(world: World, evidence: Evidence, before: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The report with the step of `evidence` brought up to date; `world` has the new registers.

    A report is of one rollout: another one begins it anew.
    """
    run, _, step = evidence.tag.partition("/")
    besides = likeness(world) if step == SHADOW else breaches.compared(world)
    entry = {
        "run": int(run),
        "step": step if step in (SHADOW, WATCH) else f"{step} %",
        "verdict": _verdict(world, evidence)[:_TEXT],
        "compared": [line[:_TEXT] for line in (*compared(world, evidence.tag), *besides)],
    }
    others = [dict(e) for e in before if e["run"] == entry["run"] and e["step"] != entry["step"]]
    return [*others, entry][-MAX_STEPS:]


def replayed(world: World, report: ReplayReport, before: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The report with what the probe sets came to; `world` has the new registers, by which nothing waits for them."""
    matter = report.matter
    failure = world.state.failure(matter.revision)
    if failure is not None:
        verdict = f"Fail: {failure.reason}: {failure.message}"
    elif world.state.phase in _WENT_ON or world.listed(matter.revision):
        verdict = "Pass"
    else:
        verdict = "Ended without a verdict"
    entry = {
        "run": matter.run,
        "step": PROBES,
        "verdict": verdict[:_TEXT],
        "compared": [told(probes, report.of(probes))[:_TEXT] for probes in matter.sets[:_SENTENCES]],
    }
    others = [dict(e) for e in before if e["run"] == entry["run"] and e["step"] != PROBES]
    return [entry, *others]


def ended(world: World, evidence: Evidence) -> bool:
    """The new registers have left the step that the evidence is of."""
    return tag_of(world.state) != evidence.tag


def _verdict(world: World, evidence: Evidence) -> str:
    if not ended(world, evidence):
        wait = lacking(world)
        return f"Inconclusive: {wait}" if wait else "Pass"
    failure = world.state.failure(world.judged)
    if failure is not None:
        return f"Fail: {failure.reason}: {failure.message}"
    went_on = world.state.phase in ("Canary", "Promoting", "Stable")
    return "Pass" if went_on else "Ended without a verdict"
