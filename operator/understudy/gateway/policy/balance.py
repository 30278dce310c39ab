"""Which endpoint of a variant takes a request: the less loaded of two drawn at random, never one that is out.

An endpoint goes out at once on a refused or reset connection, and after some failures in a row otherwise; it
comes back by time, one trial request per interval, because slices tell of a killed process a second late. One that
comes back only to go out again is left alone for longer each time.
"""

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


class Endpoint:
    """One engine pod as this gateway sees it. Compared by identity; lives as long as its slice names it.

    `open` requests and their estimated `tokens` are its load. `out_until` is the monotonic time in seconds
    before which it gets nothing, 0 when it is in good standing; `was_out_until` is the last such time there was.
    `name` is its Service's, which its certificate must have where engines are spoken to by TLS.
    """

    __slots__ = (
        "address", "ejection", "failures", "host", "name", "open", "out_until", "port", "tokens", "was_out_until",
    )  # fmt: skip

    def __init__(self, host: str, port: int, name: str = "") -> None:
        self.host = host
        self.port = port
        self.name = name
        self.address = f"{host}:{port}"
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
) -> Endpoint | None:
    """The endpoint to use, or None when every one is out, was tried, or has `most` open requests.

    `draw` are two numbers in [0, 1).
    """
    count = len(endpoints)
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
