"""Whether somebody is in acute danger, and that nothing locks them out while they may be.

The state of a player, of a session where no player is known. Two moments are all of it, so it does not matter in which
order signs become known, or how often, and what two processes know is put together without asking which knew first.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

# The category of findings that are signs, and from which severity on one in the input is: medium.
SELF_HARM: Final = "self_harm"
SIGN_SEVERITY: Final = 4
# Seconds after the last sign for which it stays active.
STAYS: Final = 24 * 3600.0
# Seconds for which an allowance counts.
ALLOWANCE_PERIOD: Final = 24 * 3600.0

Refusal = Literal["cool_down", "session_block", "rate", "budget"]
Answer = Literal["serve", "refuse", "refer"]


@dataclass(frozen=True, slots=True)
class Crisis:
    """When the last sign was, and when somebody last said that it is over; Unix seconds."""

    signed: float = float("-inf")
    cleared: float = float("-inf")


def is_sign(severity: int) -> bool:
    """Whether a finding of self-harm in the input is a sign, by its severity of 0 to 6."""
    return severity >= SIGN_SEVERITY


def sign(crisis: Crisis, at: float) -> Crisis:
    """After a sign: a finding, or a flag of the API."""
    return replace(crisis, signed=max(crisis.signed, at))


def clear(crisis: Crisis, at: float) -> Crisis:
    """After somebody said by the API that it is over."""
    return replace(crisis, cleared=max(crisis.cleared, at))


def merged(one: Crisis, other: Crisis) -> Crisis:
    """What two know together."""
    return Crisis(max(one.signed, other.signed), max(one.cleared, other.cleared))


def until(crisis: Crisis) -> float | None:
    """To when it stays active if nothing happens; None if it was cleared, or never was. A tie is active."""
    return None if crisis.signed < max(crisis.cleared, 0) else crisis.signed + STAYS


def active(crisis: Crisis, now: float) -> bool:
    """Whether it is active."""
    end = until(crisis)
    return end is not None and now < end


@dataclass(frozen=True, slots=True)
class Allowance:
    """What of a key's requests was served only because of a crisis, since `began`: a faked one is not free use."""

    began: float = float("-inf")
    used: int = 0


def answer(
    in_crisis: bool, refusals: frozenset[Refusal], spent: Allowance, limit: int, now: float
) -> tuple[Answer, Allowance]:
    """What a request gets that `refusals` would have refused.

    In a crisis they are suspended for up to `limit` requests of its key a day; past that it is answered with the
    referral, never refused. A request that nothing refuses uses nothing up.
    """
    if not refusals:
        return "serve", spent
    if not in_crisis:
        return "refuse", spent
    if now - spent.began >= ALLOWANCE_PERIOD:
        spent = Allowance(began=now)
    if spent.used >= limit:
        return "refer", spent
    return "serve", replace(spent, used=spent.used + 1)
