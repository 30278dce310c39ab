"""The entry of the pure core: one deployment's world in, what to do about it out.

    observe ─► the world as typed values                                  observe.py, world.py
    relent, obey ─► registers after an edit or a request of the user      state.py, verbs.py, rollback.py
    decide ─► registers after the machine's rules, and the reason         rollout.py, phases/
    shares, writes ─► the children that these registers ask for           routes.py, children.py, snapshots.py
    violations ─► a plan that must not be is not carried out              invariants.py
    describe ─► the status that says all this                             status.py, aspects.py

When the registers change, the status is written before anything else: whatever stops half-way, the
next pass reads in the status what was decided and goes on from there. All writes of one pass are
therefore safe in the world as observed, under the new registers.
"""

from dataclasses import replace

from understudy.plan.actions import Action, Emit, Plan
from understudy.plan.aspects import MOVING, Case, alerts
from understudy.plan.children import admission, farewell, revision_writes, table_write
from understudy.plan.clocks import since_last_pass
from understudy.plan.decision import Decision, asked, hold
from understudy.plan.gone import plan_gone
from understudy.plan.invariants import Draft, violations
from understudy.plan.memory import Evidence, Memory
from understudy.plan.observe import observe
from understudy.plan.observed import Observed
from understudy.plan.probing import probes
from understudy.plan.replaying import replay
from understudy.plan.rollback import release
from understudy.plan.rollout import RULES, decide
from understudy.plan.routes import shares
from understudy.plan.rulebook import Rulebook
from understudy.plan.snapshots import PERSIST, record, surplus
from understudy.plan.state import State, relent
from understudy.plan.status import calm, describe, unreadable
from understudy.plan.tampering import tampered
from understudy.plan.trial import trial_name
from understudy.plan.verbs import obey
from understudy.plan.wanted import Blocked
from understudy.plan.world import World

# Seconds until the next pass when nothing moves, and while something outside is waited for.
IDLE = 60.0
WAITING = 5.0


def plan(observed: Observed, rules: Rulebook = RULES) -> Plan:
    """What to do now for one ModelDeployment, and the status that says so.

    Pure: equal observations give equal plans; no I/O, no clock, no randomness. Never raises for
    what a user wrote; a spec that cannot be read becomes `Stalled=InvalidSpec`.
    """
    if observed.deployment is None or "deletionTimestamp" in observed.deployment["metadata"]:
        return plan_gone(observed)
    world = observe(observed, rules)
    if isinstance(world, Blocked):
        return _unreadable(observed, world)
    asked_for = world.moved(relent(world.state, asked(world)))
    commanded, note = obey(asked_for)
    settled = world.moved(release(commanded, asked(world)))
    return _drafted(settled, read=world.state, note=note)


def _drafted(world: World, read: State, note: Emit | None) -> Plan:
    """The plan; `read` are the registers as observed, `world` has them after edits and requests."""
    decision = decide(world)
    persist = _due(world)
    actions = _writes(world.moved(decision.state), persist)
    broken = violations(Draft(world, world.moved(decision.state), actions))
    if broken:
        # Nothing is written but the status; the registers stay as they were.
        decision = hold(world, "InvariantViolated", "; ".join(broken), stalled=True)
        actions, persist = (), False
    after = world.moved(decision.state)
    before = world.before
    case = Case(after, _said(after, decision), broken, alerts(after))
    told = world.observed.memory.told if world.observed.memory is not None else float("-inf")
    again = _again(after, case.decision)
    status = calm(before, describe(case), world.now.monotonic - told)
    return Plan(
        actions=(*actions, *_events(decision, note), *_alarms(world, case)),
        status=status,
        status_first=decision.state != read,
        probes=probes(after),
        replay=replay(after),
        requeue_after=again,
        reasons=(f"{decision.reason}: {decision.message}", *broken),
        memory=_memory(after, persist, fresh=status is not before, told=told, moving=again < WAITING),
        violated=broken,
    )


def _said(after: World, decision: Decision) -> Decision:
    """What the status says: after a move, the words of the phase that it led to, if that one waits for anything."""
    if not decision.event:
        return decision
    following = decide(after)
    return decision if following.event else following


def _writes(after: World, persist: bool) -> tuple[Action, ...]:
    return (
        *table_write(after, shares(after)),
        *revision_writes(after),
        *record(after, persist),
        *farewell(after),
        *surplus(after),
        *admission(after),
    )


def _events(decision: Decision, note: Emit | None) -> list[Emit]:
    moved = [Emit(decision.event, decision.reason, decision.message)] if decision.event else []
    return [note, *moved] if note is not None else [*moved]


def _alarms(world: World, case: Case) -> list[Emit]:
    """An event for each alert that the status did not have before, and for each child that somebody changed."""
    known = {c["type"] for c in case.world.before.get("conditions") or ()}
    fresh = [Emit("Warning", alert.type, alert.message) for alert in case.alerts if alert.type not in known]
    return [*fresh, *(Emit("Warning", "ChildChanged", f"{what}; it is applied again") for what in tampered(world))]


def _due(world: World) -> bool:
    """The evidence has not been written for a while, or a new process would count what must not count."""
    memory = world.observed.memory
    if since_last_pass(memory, world.now) is None or memory is None:
        return True
    if _disturbed(world.evidence) and not _disturbed(memory.evidence):
        return True
    return world.now.monotonic - memory.persisted >= PERSIST


def _disturbed(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.disturbed


def _memory(after: World, persist: bool, *, fresh: bool, told: float, moving: bool) -> Memory:
    now, old = after.now, after.observed.memory
    own = old if old is not None and old.process == now.process else None
    wrote = persist and after.evidence is not None
    return Memory(
        process=now.process,
        monotonic=now.monotonic,
        clocks=after.clocks,
        trial=trial_name(after.state),
        evidence=after.evidence,
        cursors=after.cursors,
        window=after.window,
        comparisons=after.comparisons,
        tallies=after.tallies,
        glances=after.glances,
        persisted=now.monotonic if wrote else (own.persisted if own is not None else float("-inf")),
        told=now.monotonic if fresh else told,
        reading=after.reading if moving else None,
    )


def _again(after: World, decision: Decision) -> float:
    """Seconds until the next pass if nothing happens before."""
    state, pace = decision.state, after.observed.settings.poll_interval
    leaving = any(r.exists or r.pool is not None for r in after.others())
    lingering = any(clock.startswith("drop:") for clock in after.clocks)
    if state.phase in (*MOVING, "Watching") and state.live() and not decision.stalled:
        return pace
    if leaving or lingering or (state.live() and not after.programmed and after.fleet.size):
        return pace
    waiting = decision.stalled or decision.reason != "Stable" or after.stable.serving < after.replicas
    return WAITING if waiting else IDLE


def _unreadable(observed: Observed, blocked: Blocked) -> Plan:
    deployment = observed.deployment or {}
    generation = int(deployment["metadata"].get("generation", 0))
    status = unreadable(deployment.get("status") or {}, blocked, generation, observed.now.wall)
    memory = observed.memory
    return Plan(
        status=status,
        requeue_after=IDLE,
        reasons=(f"{blocked.reason}: {blocked.message}",),
        memory=replace(memory, monotonic=observed.now.monotonic) if memory is not None else None,
    )
