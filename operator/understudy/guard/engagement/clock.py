"""The statutory clock: when a player is to be told again that they talk to a machine, and to take a break.

New York (GBL art. 47) asks for it every three hours of continuing interaction, California (Bus. & Prof. Code 22601 and
on, SB 243) for a reminder at least every three hours where a minor is known to play. It is wall time, whatever was
active of it, it holds in every profile, and nothing sets it.
"""

from dataclasses import dataclass, replace
from typing import Final

NOTICE_EVERY: Final = 3 * 3600.0
# A gap of more seconds ends an interaction; the next begins with its first turn.
INTERACTION_GAP: Final = 30 * 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Of one player. `since`: the first turn of the interaction, or the last notice shown in it; Unix seconds."""

    since: float = float("-inf")
    last_turn: float = float("-inf")


def turned(clock: Clock, at: float) -> Clock:
    """After a turn."""
    since = at if at - clock.last_turn > INTERACTION_GAP else clock.since
    return Clock(since, max(at, clock.last_turn))


def shown(clock: Clock, at: float) -> Clock:
    """After a notice was shown."""
    return replace(clock, since=max(at, clock.since))


def due(clock: Clock, now: float) -> bool:
    """Whether a notice is due while the interaction goes on.

    A notice that was not shown when it fell due is appended to the answer of the next turn: asked after `turned`, this
    says whether to.
    """
    return now - clock.since >= NOTICE_EVERY and now - clock.last_turn <= INTERACTION_GAP
