"""Served names: a name belongs to one deployment at a time, and changes hands without a gap."""

from understudy.domain.key import Key
from understudy.plan.world import World

# A dropped name that nobody claims is served this much longer, in seconds.
LINGER = 30.0


def wanted(world: World) -> tuple[str, ...]:
    """The names that the spec asks for; the deployment's own by default."""
    return tuple(world.spec.served_names) or (world.name,)


def taken(world: World) -> dict[str, Key]:
    """Wanted names that another deployment holds."""
    return {name: world.observed.name_holders[name] for name in wanted(world) if name in world.observed.name_holders}


def served(world: World) -> tuple[str, ...]:
    """The names for the table.

    `<namespace>/<name>` always works. A claim that waits leaves the old names in place; a dropped
    name stays until its claimant serves it, or half a minute.
    """
    lost = taken(world)
    granted = [name for name in wanted(world) if name not in lost]
    qualified = f"{world.namespace}/{world.name}"
    old = world.table.table.served_names if world.table is not None and world.table.table is not None else ()
    kept = [
        name
        for name in old
        if name not in wanted(world)
        and name != qualified
        and name not in world.observed.name_holders
        and (lost or world.elapsed(f"drop:{name}") < LINGER)
    ]
    return tuple(dict.fromkeys((*granted, *kept, qualified)))
