"""Which attempts are samples, where several workers take them: one set for all, in memory that each of them writes.

A client's connections are spread over the workers. If each remembered its own samples, a conversation over eight
connections would have as many voices as there are workers, and the verdict counts voices.
"""

from typing import Final
from zlib import crc32

from understudy.gateway.policy.evidence import SPAN

# More than twice the samples that one process remembers in a span, so that few meet.
CELLS: Final = 1 << 18
BYTES: Final = 8 * CELLS
_PROBES: Final = 8
_SPANS: Final = (1 << 24) - 1
_WORD: Final = (1 << 64) - 1
# An odd number without a pattern (2^64 over the golden ratio): spreads a checksum over all 64 bits.
_SPREAD: Final = 0x9E3779B97F4A7C15


class Seen:
    """Samples of the present span: a hash table whose cells hold forty bits of the hash and the span that they are of.

    There are no locks. Two workers that take the same conversation within the same microsecond both have it, and two
    conversations are taken for one with a chance of 2^-40; neither can turn a verdict. `memory` has BYTES.
    """

    __slots__ = ("_cells",)

    def __init__(self, memory: memoryview) -> None:
        self._cells = memory.cast("Q")

    def take(self, deployment: str, revision: str, where: int, now: float) -> bool:
        """As Taking's; `now` is of one clock for all workers. A conversation for which there is no cell gives none."""
        span = (int(now // SPAN) + 1) & _SPANS
        hashed = (where ^ (crc32(f"{deployment}/{revision}".encode()) * _SPREAD)) & _WORD
        mark = hashed & ~_SPANS | span
        for probe in range(_PROBES):
            at = (hashed + probe) % CELLS
            held = self._cells[at]
            if held == mark:
                return False
            if held & _SPANS != span:
                self._cells[at] = mark
                return True
        return False
