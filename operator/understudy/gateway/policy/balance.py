"""Which endpoint of a variant takes a request: the less loaded of two drawn at random, never one that is out.

Long prompts that begin alike go to the same endpoint, which has that beginning in its cache, as long as it has hardly
more to do than others (consistent hashing with bounded loads, V. Mirrokni, M. Thorup and M. Zadimoghaddam, 2018; here
by rendezvous, so that nothing is kept, every gateway comes to the same answer, and an endpoint that goes moves its own
prompts alone).

An endpoint goes out at once on a refused or reset connection, and after some failures in a row otherwise; it
comes back by time, one trial request per interval, because slices tell of a killed process a second late. One that
comes back only to go out again is left alone for longer each time.
"""

import hashlib
import math
import sys
from collections.abc import Collection, Sequence
from typing import Final

EJECTION: Final = 1.0
LONGEST_EJECTION: Final = 30.0
# Whoever has been back for so long and goes out has done so for the first time.
REMEMBERED: Final = 60.0
FAILURES_IN_A_ROW: Final = 5
UNBOUNDED: Final = sys.maxsize
BREAKERS: Final = ("closed", "open", "half_open")
# How much more than the mean an endpoint may have open because of what is in its cache.
HOME_FACTOR: Final = 1.25
_MIDDLE: Final = (1 << 64) - 1


class Endpoint:
    """One engine pod as this gateway sees it. Compared by identity; lives as long as its slice names it.

    `open` requests and their estimated `tokens` are its load. `out_until` is the monotonic time in seconds
    before which it gets nothing, 0 when it is in good standing; `was_out_until` is the last such time there was.
    `name` is its Service's, which its certificate must have; empty for one that is spoken to by plain HTTP.
    """

    __slots__ = (
        "address", "ejection", "failures", "host", "name", "open", "out_until", "port", "seed", "tokens",
        "was_out_until",
    )  # fmt: skip

    def __init__(self, host: str, port: int, name: str = "") -> None:
        self.host = host
        self.port = port
        self.name = name
        self.address = f"{host}:{port}"
        # The same in every gateway.
        self.seed = int.from_bytes(hashlib.blake2b(self.address.encode(), digest_size=7).digest(), "big")
        self.open = 0
        self.tokens = 0
        self.failures = 0
        self.out_until = 0.0
        self.was_out_until = -REMEMBERED
        self.ejection = EJECTION


def pick(
    endpoints: Sequence[Endpoint],
    now: float,
    tried: Collection[Endpoint],
    draw: tuple[float, float],
    most: int = UNBOUNDED,
    beginning: int = 0,
) -> Endpoint | None:
    """The endpoint to use, or None when every one is out, was tried, or has `most` open requests.

    `draw` are two numbers in [0, 1). `beginning` stands for how a long prompt begins, 0 for any other.
    """
    count = len(endpoints)
    if beginning and count > 1:
        return _home(endpoints, now, tried, most, beginning)
    if count > 1:
        first = int(draw[0] * count)
        second = int(draw[1] * (count - 1))
        a = endpoints[first]
        b = endpoints[second if second < first else second + 1]
        if a.out_until <= now and b.out_until <= now and a not in tried and b not in tried:
            lighter = a if (a.open, a.tokens) <= (b.open, b.tokens) else b
            if lighter.open < most:
                return _admit(lighter, now)
    elif count == 1:
        only = endpoints[0]
        return _admit(only, now) if only.out_until <= now and only.open < most and only not in tried else None
    usable = [e for e in endpoints if e.out_until <= now and e.open < most and e not in tried]
    if not usable:
        return None
    return _admit(min(usable, key=_load), now)


def pick_ejected(endpoints: Sequence[Endpoint], tried: Collection[Endpoint], most: int = UNBOUNDED) -> Endpoint | None:
    """The last resort when a variant has nothing better: the untried endpoint that has been out longest.

    None while one of them has `most` open requests: it answers, and will have fewer.
    """
    left = [e for e in endpoints if e not in tried]
    if any(e.open >= most for e in left):
        return None
    return min(left, key=_return_time) if left else None


def usable(endpoints: Sequence[Endpoint], now: float) -> int:
    """How many endpoints may take a request now."""
    return sum(1 for e in endpoints if e.out_until <= now)


def breakers(endpoints: Sequence[Endpoint], now: float) -> dict[str, int]:
    """How many endpoints are in good standing (closed), out (open), or get one trial request next (half_open)."""
    counts = dict.fromkeys(BREAKERS, 0)
    for endpoint in endpoints:
        counts["open" if endpoint.out_until > now else "half_open" if endpoint.out_until else "closed"] += 1
    return counts


def eject(endpoint: Endpoint, now: float) -> bool:
    """Out at once; whether it was in until now. Of many requests that fail together only the first counts."""
    was_in = endpoint.out_until <= now
    if was_in:
        if now - endpoint.was_out_until >= REMEMBERED:
            endpoint.ejection = EJECTION
        elif not endpoint.out_until:
            endpoint.ejection = min(endpoint.ejection * 2, LONGEST_EJECTION)
        _put_out(endpoint, now)
    endpoint.failures = 0
    return was_in


def failed(endpoint: Endpoint, now: float) -> bool:
    """Count one failed answer; out after FAILURES_IN_A_ROW of them. Whether it went out by this one."""
    endpoint.failures += 1
    return endpoint.failures >= FAILURES_IN_A_ROW and eject(endpoint, now)


def succeeded(endpoint: Endpoint) -> None:
    """Good standing again."""
    endpoint.failures = 0
    endpoint.out_until = 0.0


def acquitted(endpoint: Endpoint) -> None:
    """It was not to blame: good standing, and nothing is remembered."""
    succeeded(endpoint)
    endpoint.was_out_until = -REMEMBERED


def _home(
    endpoints: Sequence[Endpoint], now: float, tried: Collection[Endpoint], most: int, beginning: int
) -> Endpoint | None:
    """The first in this beginning's order of those that would have at most HOME_FACTOR times the mean with it."""
    usable = [e for e in endpoints if e.out_until <= now and e.open < most and e not in tried]
    if not usable:
        return None
    bound = math.ceil(HOME_FACTOR * (sum([e.open for e in usable]) + 1) / len(usable))
    return _admit(max([e for e in usable if e.open < bound], key=lambda e: _rank(beginning ^ e.seed)), now)


def _rank(number: int) -> int:
    # The middle of the square: the bits on which all bits of a number have their say. A hash of a tuple is as quick,
    # and its order is far from even.
    return (number * number >> 32) & _MIDDLE


def _admit(endpoint: Endpoint, now: float) -> Endpoint:
    # One trial per interval, and twice as long until the next: only success brings the endpoint back.
    if endpoint.out_until:
        endpoint.ejection = min(endpoint.ejection * 2, LONGEST_EJECTION)
        _put_out(endpoint, now)
    return endpoint


def _put_out(endpoint: Endpoint, now: float) -> None:
    endpoint.out_until = endpoint.was_out_until = now + endpoint.ejection


def _load(endpoint: Endpoint) -> tuple[int, int]:
    return (endpoint.open, endpoint.tokens)


def _return_time(endpoint: Endpoint) -> float:
    return endpoint.out_until
