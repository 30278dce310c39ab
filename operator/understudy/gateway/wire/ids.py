"""Request ids: ULIDs, so that logs of several gateways sort by time."""

import secrets
import time
from typing import Final
from uuid import UUID

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple((a + b).encode() for a in _ALPHABET for b in _ALPHABET)
_COUNTER: Final = (1 << 30) - 1


class RequestIds:
    """Makes ids of 26 characters: 48 bits of milliseconds, 50 bits that tell processes apart, a 30-bit counter.

    They are distinct, not secret.
    """

    __slots__ = ("_count", "_millisecond", "_prefix", "_process")

    def __init__(self) -> None:
        self._process = _encoded(secrets.randbits(50))
        self._count = secrets.randbits(30)
        self._millisecond = -1
        self._prefix = b""

    def next(self) -> bytes:
        """A new id."""
        millisecond = int(time.time() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = _encoded(millisecond) + self._process
        self._count = count = (self._count + 1) & _COUNTER
        return self._prefix + _PAIRS[count >> 20] + _PAIRS[(count >> 10) & 1023] + _PAIRS[count & 1023]


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562), for what is kept in a database: sorted by time, and else at random."""
    high = int(time.time() * 1000) << 16 | 7 << 12 | secrets.randbits(12)
    number = high << 64 | 2 << 62 | secrets.randbits(62)
    return str(UUID(int=number))


def _encoded(number: int) -> bytes:
    """The lowest 50 bits, highest first. On a busy gateway each request comes in another millisecond."""
    high = _PAIRS[number >> 40 & 1023] + _PAIRS[number >> 30 & 1023] + _PAIRS[number >> 20 & 1023]
    return high + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
