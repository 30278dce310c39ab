"""Nothing is being proved: before the first revision, in Stable, and in RolledBack."""

from typing import Final

from understudy.domain.duration import instant
from understudy.plan.decision import Decision, asked, blocked_hold, effective, hold, move
from understudy.plan.evidence import read_record
from understudy.plan.rulebook import Rule
from understudy.plan.state import MAX_FAILED, Failure
from understudy.plan.strategy import freeze
from understudy.plan.wanted import Blocked
from understudy.plan.world import World


def recall(world: World) -> Decision | None:
    """Made again: the snapshots know which revision was promoted last, and which failed."""
    stable = _last_promoted(world)
    if not stable:
        return None
    failed = tuple(
        Failure(name, f.get("reason") or f["class"], f.get("message", ""), f["at"], 0)
        for name, r in world.revisions.items()
        if r.status.get("state") == "Failed" and (f := r.status.get("failure"))
    )
    latest = tuple(sorted(failed, key=lambda f: instant(f.at))[-MAX_FAILED:])
    message = f"made again: {stable}, the last revision that was promoted, comes back first"
    return move(world, "Recalled", message, phase="Stable", stable=stable, failed=latest, run=_last_run(world))


def lost(world: World) -> Decision | None:
    """Stable cannot be made again: what was promoted before comes back."""
    gone, back = world.state.stable, _last_promoted(world)
    if not world.irretrievable(world.stable) or not back:
        return None
    message = f"neither record nor pool is left of {gone or 'what was stable'}; {back} comes back first"
    return move(world, "StableLost", message, warn=True, phase="Stable", stable=back, previous="")


def asleep(world: World) -> Decision | None:
    """No pods are wanted: a revision edited now is only noted."""
    if world.replicas > 0:
        return None
    return hold(world, "ScaledToZero", "replicas is 0: nothing runs, requests get 503")


def unclear(world: World) -> Decision | None:
    """The spec cannot become a revision; a rollback needs none."""
    if not isinstance(world.target, Blocked) or called_back(world) is not None:
        return None
    return blocked_hold(world, world.target)


def unguarded(world: World) -> Decision | None:
    """A guardrail that must hold says nothing that can be enforced, or is not there to say whether it must."""
    why = world.guarding.blocked
    return blocked_hold(world, why) if why is not None else None


def unenforced(world: World) -> Decision | None:
    """A guardrail that must hold is not enforced by every gateway."""
    why = world.unenforced
    return hold(world, "GuardrailNotEnforced", why) if why else None


def already_failed(world: World) -> Decision | None:
    """What the spec asks for has failed before."""
    state = world.state
    if state.pinned not in ("", state.stable) or state.failure(asked(world)) is None:
        return None
    return move(world, "RolledBack", f"{asked(world)} has failed before; {state.stable} serves", phase="RolledBack")


def steady(world: World) -> Decision | None:
    """What should serve, serves."""
    if effective(world) not in ("", world.state.stable):
        return None
    return hold(world, "Stable", f"{world.state.stable} serves")


def waking(world: World) -> Decision | None:
    """Stable comes up before anything new, unless it cannot."""
    stable = world.stable
    if stable.serving or stable.fault is not None or stable.lost:
        return None
    if any((pod.waiting_for or 0.0) >= world.terms.scheduling for pod in stable.pods):
        return None
    return hold(world, "StableStarting", f"{stable.name} starts before anything new does")


def choose(world: World) -> Decision | None:
    """A new revision is asked for: it becomes the candidate, on the terms of today's spec."""
    wish = effective(world)
    if not wish:
        return None
    run = max(world.state.run, _last_run(world)) + 1
    return move(
        world,
        "Preparing",
        f"preparing {wish}",
        phase="Preparing",
        candidate=wish,
        previous="",
        weight=0,
        exposed=world.revision(wish).exists,
        skip_to=0,
        run=run,
        acted=(),
        restarts=world.revision(wish).restarts(),
        frozen=freeze(world.spec.rollout, proved=wish == world.state.pinned),
    )


def called_back(world: World) -> Decision | None:
    """A rollback asks for another revision than the one that serves."""
    state = world.state
    if state.pinned in ("", state.stable):
        return None
    return move(world, "Stable", f"{state.pinned} is asked for by rollback", phase="Stable")


def forgiven(world: World) -> Decision | None:
    """The spec asks for something that has not failed: by an edit, or by `retry`."""
    wish = asked(world)
    if not wish or world.state.failure(wish) is not None:
        return None
    return move(world, "Stable", f"{wish} has not failed; going on", phase="Stable")


def rolled_back(world: World) -> Decision | None:
    """The spec asks for a revision that failed; what serves is another."""
    entry = world.state.failure(asked(world))
    why = f"{entry.revision} failed: {entry.reason}: {entry.message}" if entry is not None else "the revision failed"
    advice = f"; {world.state.stable} serves; change the spec, or request `retry`"
    return hold(world, "RolledBack", why + advice, stalled=True)


def _last_promoted(world: World) -> str:
    """The revision that was promoted last, of those that are recorded and did not fail; "" if there is none."""
    promoted = {
        int(p["number"]): name
        for name, r in world.revisions.items()
        if r.status.get("state") != "Failed"
        for p in r.status.get("promotions") or ()
    }
    return promoted[max(promoted)] if promoted else ""


def _last_run(world: World) -> int:
    """The highest rollout number in any snapshot's evidence: a number is never used twice."""
    records = (read_record(r.status) for r in world.revisions.values())
    runs = (record.evidence.tag.partition("/")[0] for record in records if record is not None)
    return max((int(run) for run in runs if run.isdecimal()), default=0)


NASCENT: Final[tuple[Rule, ...]] = (recall, asleep, unclear, unguarded, choose)
STABLE: Final[tuple[Rule, ...]] = (lost, asleep, unclear, already_failed, steady, unguarded, waking, choose)
ROLLED_BACK: Final[tuple[Rule, ...]] = (lost, called_back, forgiven, rolled_back)
