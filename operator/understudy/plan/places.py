"""Where a candidate's pods come from, in the words that `status.plan` has for it before anything moves."""

from understudy.domain.duration import words
from understudy.plan.capacity import dead_end, enough, not_allowed, notice, wanted
from understudy.plan.fit import listed, need_of, places, room
from understudy.plan.observed import Object
from understudy.plan.wanted import Blocked
from understudy.plan.world import World


def told(world: World) -> str:
    """Which way will be gone and why, as a sentence; "" while the candidate needs no more pods."""
    state, missing = world.state, wanted(world) - world.candidate.placed
    if state.phase not in ("Preparing", "Shadow", "Canary") or not state.stable or world.terms.recreate:
        return ""
    if world.lent:
        return (
            f"Borrow: {world.lent} of {world.replicas} pods of {state.stable} {_make(world.lent)} way until it is over"
        )
    if missing <= 0:
        return ""
    beside, fits = _beside(world, missing)
    if fits or not_allowed(world):
        return f"Surge: {beside}"
    stuck, patience = dead_end(world), world.terms.patience
    if stuck:
        return f"Surge: {beside}; {stuck if fits is False else f'if no node is found, it waits: {stuck}'}"
    lent = enough(world)
    loan = f"{lent} of {world.replicas} pods of {state.stable} {_make(lent)} way while the rest carry the load"
    loan += notice(world)
    if fits is None:
        return f"Surge: {beside}; if no node is found{f' for {words(patience)}' if patience else ''}, {loan}"
    return f"Surge: {beside}; if that lasts for {words(patience)}, {loan}" if patience else f"Borrow: {beside}; {loan}"


def _beside(world: World, missing: int) -> tuple[str, bool | None]:
    """Words for whether nodes have accelerators for so many more pods, and whether; None if that is not known."""
    template = _template(world)
    need, taken = need_of(template) if template is not None else None, world.observed.taken
    pods = f"{missing} more pod{'s' if missing > 1 else ''}"
    if need is None or taken is None or template is None:
        return f"{pods} beside the {world.stable.wanted} of {world.state.stable}", None
    free = room(world.observed.nodes, taken, template, need)
    total, where = sum(free.values()), listed(places(free, missing))
    if total >= missing:
        return f"{pods} fit{'s' if missing == 1 else ''} on {where}", True
    if total:
        return f"{total} of {pods} fit{'s' if total == 1 else ''}, on {where}", False
    return f"no node has {f'{need.count} free' if need.count > 1 else 'a free'} {need.what}", False


def _template(world: World) -> Object | None:
    """The candidate's pods, as recorded or as about to be."""
    record, target = world.candidate.snapshot, world.target
    if record is None and not isinstance(target, Blocked) and target.revision == world.state.candidate:
        record = target.snapshot
    template: Object | None = record["spec"]["podTemplate"] if record is not None else None
    return template


def _make(pods: int) -> str:
    return "makes" if pods == 1 else "make"
