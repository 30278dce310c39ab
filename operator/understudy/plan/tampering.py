"""Children that somebody else scaled or deleted: they are applied again, with an event, and what was counted goes.

What we write follows from the registers in any case; this only finds out that it is not there any more.
"""

from collections.abc import Iterator

from understudy.domain.names import engine_key_secret
from understudy.plan.world import Revision, World


def tampered(world: World) -> tuple[str, ...]:
    """What was done to the children of revisions that have a part, as sentences; empty if nothing was."""
    if not world.state.stable and not world.state.candidate:
        return ()
    found = [what for name in world.state.live() for what in _of(world, world.revision(name))]
    if world.state.stable and world.table is None and not world.guarding.bare:
        found.insert(0, f"RoutingTable {world.name} was deleted")
    return tuple(found)


def _of(world: World, revision: Revision) -> Iterator[str]:
    child = world.child(revision.name)
    if revision.pool is None:
        # A pool with a share was there before; of any other one its absence tells nothing.
        if world.written(revision.name) and world.replicas:
            yield f"Deployment {child} was deleted"
        return
    if revision.wanted != revision.told:
        yield f"Deployment {child} was scaled from {revision.told} to {revision.wanted}"
    # Both are written before the pool.
    if revision.service is None:
        yield f"Service {child} was deleted"
    if revision.engine_key is None:
        yield f"Secret {engine_key_secret(world.name, revision.name)} was deleted"
