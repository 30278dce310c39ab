"""Request ids: ULIDs, so that logs of several gateways sort by time."""

import random
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple((a + b).encode() for a in _ALPHABET for b in _ALPHABET)


class RequestIds:
    """Makes ids of 26 characters: 48 bits of milliseconds, 80 random bits (not secret, only distinct)."""

    __slots__ = ("_bits", "_millisecond", "_prefix")

    def __init__(self) -> None:
        self._bits = random.Random(random.SystemRandom().getrandbits(128)).getrandbits  # noqa: S311  # as above
        self._millisecond = -1
        self._prefix = b""

    def next(self) -> bytes:
        """A new id."""
        millisecond = int(time.time() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = b"".join(_PAIRS[(millisecond >> shift) & 1023] for shift in (40, 30, 20, 10, 0))
        r = self._bits(80)
        p = _PAIRS
        return b"%b%b%b%b%b%b%b%b%b" % (
            self._prefix, p[r & 1023], p[(r >> 10) & 1023], p[(r >> 20) & 1023], p[(r >> 30) & 1023],
            p[(r >> 40) & 1023], p[(r >> 50) & 1023], p[(r >> 60) & 1023], p[(r >> 70) & 1023],
        )  # fmt: skip
