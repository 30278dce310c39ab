"""Where a candidate's pods come from when accelerators are scarce: places beside stable, or some that stable lends.

A pod is lent only when the candidate has none to go to, when what is lent takes it all the way to 100 %, and while
the pods that stay carry the whole load: at every moment everybody can go back to them. Why so, and what
else could have been: docs/adr/0016-lend-by-waiting-times.md.
"""

from dataclasses import replace
from typing import Final

from understudy.domain.duration import words
from understudy.plan.desired.pod import ending
from understudy.plan.load import Load, follow, load, look, part
from understudy.plan.programmed import describe
from understudy.plan.rulebook import Case
from understudy.plan.world import World

# Phases in which the candidate may hold places of stable.
BORROWING: Final = ("Preparing", "Shadow", "Canary", "Promoting", "Restoring")
# Lend while at most this part of first tokens (or gaps) is late, counted as if those that stay had the load already;
# call back when more than that part is late in truth, and at least so many are. Between the two nothing moves.
LATE_TO_LEND: Final = 0.05
LATE_TO_RECALL: Final = 0.1
MIN_LATE: Final = 5
# Nothing is lent again so soon after it had to be called back, in seconds.
REST: Final = 600.0


def followed(world: World) -> World:
    """The world with what stable's clients wait for, while the candidate wants its pods or has them."""
    state, fleet, memory = world.state, world.fleet, world.observed.memory
    watched = state.stable and world.terms.lendable != 0 and (state.lent or world.candidate.unschedulable)
    if not watched or fleet.size == 0 or fleet.silent:
        return world
    states = (pod.state for pod in world.observed.gateways if pod.state is not None)
    now = look(world.observed.key, state.stable, world.stable.serving, states, world.now.monotonic)
    kept = memory.glances if memory is not None and memory.process == world.now.process else ()
    return replace(world, glances=follow(kept, now))


def wanted(world: World) -> int:
    """Pods that the candidate needs for its share, and for the first step."""
    state, terms = world.state, world.terms
    first = terms.first_share() if state.phase in ("Preparing", "Shadow") else terms.next_weight(0)
    return world.need(max(state.weight, first))


def short(world: World) -> int:
    """Pods for its share that the candidate has no place for; the scheduler has said so of one at least."""
    candidate = world.candidate
    return max(0, wanted(world) - candidate.placed) if world.state.stable and candidate.unschedulable else 0


def enough(world: World) -> int:
    """So many pods of stable must make way until the candidate has as many as stable keeps, which carry everything.

    Places that the candidate has found beside stable count; others may come, or go.
    """
    beside = max(0, world.candidate.placed - world.lent)
    return max(0, -(-(world.replicas - beside) // 2))


def notice(world: World) -> str:
    """What becomes of requests on a pod that makes way, to follow a sentence that says so.

    Which pod leaves is the ReplicaSet's choice, and gateways count open requests of a revision, not of a pod: it
    cannot be drained alone.
    """
    pool, record = world.stable.pool, world.stable.snapshot
    template = pool["spec"]["template"] if pool is not None else record and record["spec"]["podTemplate"]
    left = ending(template) if template else None
    return f"; what is open on a pod that leaves has {words(left)} to end" if left is not None else ""


def not_allowed(world: World) -> str:
    """Stable's pods are not the candidate's to have, or there is only one."""
    if world.terms.lendable == 0:
        return "capacity.mode lets no pod of stable make way: write Borrow to allow it, or make room"
    if world.replicas < 2:
        return "the only pod of stable cannot make way: write capacity.mode: Recreate, or make room"
    return ""


def dead_end(world: World) -> str:
    """What may be lent does not take the candidate to 100 %: it would end half-way, with less of stable."""
    least = enough(world)
    if least <= world.terms.spare(world.replicas):
        return ""
    return f"{least} of {world.replicas} pods of stable would have to make way: write capacity.maxUnavailable: {least}"


def not_found(world: World) -> str:
    """The scheduler has not given the candidate what was lent before: another pod of stable would be lent in vain."""
    if world.candidate.placed >= world.lent:
        return ""
    return "a pod of stable has made way already, and its place has not been found yet"


def may_still_come(world: World) -> str:
    """A pending pod is the cluster autoscaler's signal, and it has not had its time. Once it has had it, it has."""
    waited = max((pod.waiting_for or 0.0 for pod in world.candidate.unschedulable), default=0.0)
    left = world.terms.patience - waited
    return f"a node may still come for {words(left)}" if left > 0 and not world.lent else ""


def paused(world: World) -> str:
    """Nothing is to move."""
    return "paused: nothing is taken from stable" if world.state.paused else ""


def called_back_lately(world: World) -> str:
    """What was lent had to be called back not long ago."""
    left = REST - world.elapsed("recalled")
    if not world.state.recalled or left <= 0:
        return ""
    return f"stable has needed back what it lent; it lends nothing for {words(left)}"


def not_whole(world: World) -> str:
    """Pods of stable are missing, or still on their way out."""
    stable = world.stable
    if stable.serving == len(stable.pods) == stable.wanted == world.carrying:
        return ""
    return f"{stable.serving} of {world.carrying} pods of stable are ready, and {len(stable.pods)} are there"


def unknown(world: World) -> str:
    """Gateways have not said for half a minute what stable's clients wait for. No data is no leave to take anything."""
    if not world.glances:
        return f"what stable's clients wait for is unknown: {describe(world.fleet)}"
    seen = load(world.glances)
    if seen.blind:
        return "requests are open on stable and none goes on, so what it carries is unknown"
    return "" if seen.whole else "what stable's clients wait for is being looked at"


def burdened(world: World) -> str:
    """Those that would stay cannot be expected to carry the load."""
    pods = world.stable.serving
    return too_late(load(world.glances), world, (pods - 1) / pods) if pods else ""


# Why a pod of stable cannot be lent now; the first that says something wins.
LOAN_GUARDS: Final[tuple[Case, ...]] = (
    not_allowed,
    dead_end,
    not_found,
    may_still_come,
    paused,
    called_back_lately,
    not_whole,
    unknown,
    burdened,
)


def why_no_loan(world: World) -> str:
    """Why no pod of stable makes way for the candidate now; "" when one may."""
    return next((why for guard in world.rules.loan_guards if (why := guard(world))), "")


def too_late(seen: Load, world: World, scale: float) -> str:
    """Too many would wait for too long if everybody waited 1 / `scale` times as long as now.

    Engines share themselves among requests: with twice the requests each takes twice as long, at the least.
    """
    terms = world.terms
    late = seen.reaching(terms.first_token * scale, terms.between_tokens * scale)
    if part(late) <= LATE_TO_LEND:
        return ""
    return f"fewer pods would be too slow: {late[1]} of {late[0]} times waited are too long to become longer"


def too_heavy(world: World, weight: int) -> str:
    """Why the candidate cannot be given `weight` percent: with fewer pods than usual each would have more to bear.

    The pods of stable show what that comes to; both revisions are taken to be equally fast.
    """
    now = (100 - world.state.weight) / max(1, world.stable.serving)
    then = weight / world.need(weight)
    if not world.lent or then <= now:
        return ""
    return unknown(world) or too_late(load(world.glances), world, now / then)


def taken_back(world: World) -> str:
    """The spec allows less now than is lent."""
    lent = world.state.lent
    return f"the spec allows {world.lent} of {lent} pods of stable to make way" if lent > world.lent else ""


def crowded(world: World) -> str:
    """Those that stayed are too slow, and have more of the load than of the pods.

    If not, the candidate carries its part of it, and going back would help nobody.
    """
    share = -(-(100 - world.written(world.state.candidate)) * world.replicas // 100)
    seen = load(world.glances)
    late = seen.exceeding(world.terms.first_token, world.terms.between_tokens)
    if world.stable.serving >= share or not seen.whole or late[1] < MIN_LATE or part(late) <= LATE_TO_RECALL:
        return ""
    return (
        f"{world.stable.serving} pods of stable are too slow without those that made way: {late[1]} of {late[0]} late"
    )


def in_vain(world: World) -> str:
    """What was lent was not found by the candidate: somebody else has taken the place."""
    if world.elapsed("idle") < world.terms.scheduling:
        return ""
    return "what stable lent has not become a place for the candidate"


# Why what was lent is called back; the first that says something wins.
LOAN_CALLS: Final[tuple[Case, ...]] = (taken_back, crowded, in_vain)


def why_recalled(world: World) -> str:
    """Why stable needs back what it lent; "" while it does not."""
    if not world.state.lent:
        return ""
    return next((why for call in world.rules.loan_calls if (why := call(world))), "")
