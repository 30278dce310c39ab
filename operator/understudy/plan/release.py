"""When a revision's pods may go: out of the table, known to every gateway, streams at an end or the deadline over."""

from typing import Final

from understudy.domain.duration import words
from understudy.plan.programmed import describe
from understudy.plan.routes import shares, unsafe
from understudy.plan.rulebook import Guard
from understudy.plan.world import World


def routed(world: World, revision: str) -> str:
    """The observed table, or the one about to be written, still names it: someone may be sent there this moment."""
    if not world.listed(revision) and all(share.revision != revision for share in shares(world)):
        return ""
    return f"{revision} is in the routing table with {world.written(revision)} % of the conversations"


def unacknowledged(world: World, revision: str) -> str:
    """Some gateway may still serve by a table that names it."""
    if world.fleet.acknowledged or world.fleet.size == 0:
        return ""
    return f"{revision} stays until every gateway has let go of it: {describe(world.fleet)}"


def streaming(world: World, revision: str) -> str:
    """Requests are open on it, or there is no gateway to ask, and the drain deadline is not over."""
    opened = world.fleet.open_requests(revision)
    if world.elapsed(f"drain:{revision}") >= world.drain or (opened == 0 and world.fleet.size > 0):
        return ""
    if unsafe(world.state, revision):
        return ""  # every further token would be another model's
    left = words(max(0.0, world.drain - world.elapsed(f"drain:{revision}")))
    what = f"{opened} open requests" if world.fleet.size else "no gateway to ask for open requests"
    return f"{revision} drains for at most {left}: {what}"


RELEASE_GUARDS: Final[tuple[Guard, ...]] = (routed, unacknowledged, streaming)


def why_not(world: World, revision: str) -> str:
    """Why the revision's pods must stay; "" when they may go."""
    if revision == world.state.candidate and not world.state.exposed and not world.written(revision):
        return ""  # it never had a conversation
    return next((reason for guard in world.rules.release_guards if (reason := guard(world, revision))), "")
