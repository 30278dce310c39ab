"""The memory of one worker that its parent reads too: the rows that it counts in, and its last notice.

It is anonymous and belongs to both: what was written to it is there after the writer was killed. Nobody waits for
anybody: the writer never looks who reads, and the reader sees by what it read whether it was whole.
"""

import mmap
import os
from typing import Final
from zlib import crc32

from understudy.gateway.policy.cells import BYTES, Cells

# A notice names every deployment; those of ten thousand take a tenth of this. Pages that were never written to take no
# memory, so the rows suffice for the revisions of a year: three hundred thousand.
_NOTICE: Final = 32 * 1024 * 1024
_HEAD: Final = mmap.PAGESIZE
_ROWS: Final = _HEAD + 2 * _NOTICE
SIZE: Final = _ROWS + 300_000 * BYTES
_TRIES: Final = 1000


class Slot:
    """The memory behind the file descriptor `descriptor`.

    Its head counts the notices, and says of both places for one (the next goes where the last is not) how long it is
    and what its checksum is.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE)
        self._memory = memoryview(self._map)
        self._head = self._memory[:_HEAD].cast("Q")
        self._rows = 0

    @classmethod
    def make(cls) -> "Slot":
        """A new one, all zero."""
        descriptor = os.memfd_create("understudy-worker")
        os.ftruncate(descriptor, SIZE)
        return cls(descriptor)

    def close(self) -> None:
        """The parent needs it no more; what the worker has of it stays."""
        self._head.release()
        self._memory.release()
        self._map.close()
        os.close(self.descriptor)

    # The worker's side.

    def say(self, notice: bytes) -> None:
        """Put `notice` in the place of the last one."""
        if len(notice) > _NOTICE:
            msg = f"a notice of {len(notice)} bytes: there is room for {_NOTICE}, some hundred thousand deployments"
            raise ValueError(msg)
        turn = self._head[0] + 1
        at = _HEAD + turn % 2 * _NOTICE
        self._map[at : at + len(notice)] = notice
        self._head[1 + turn % 2] = crc32(notice) << 32 | len(notice)
        self._head[0] = turn

    def row(self) -> tuple[int, Cells]:
        """A row that was never used, and its number."""
        row = self._rows
        at = _ROWS + row * BYTES
        if at >= SIZE:
            # Whoever takes the worker's place has all rows again, and what was counted in these is kept.
            raise SystemExit("every row of this worker has been used")
        self._rows += 1
        return row, self._memory[at : at + BYTES].cast("q")

    # The parent's side.

    @property
    def said(self) -> int:
        """How many notices there have been: a worker that lives says one in a quarter of a second."""
        return int(self._head[0])

    def heard(self) -> bytes:
        """The last notice, whole; empty before the first."""
        for _ in range(_TRIES):
            turn = self._head[0]
            if not turn:
                return b""
            checked, length = divmod(self._head[1 + turn % 2], 1 << 32)
            at = _HEAD + turn % 2 * _NOTICE
            notice = self._map[at : at + length]
            if crc32(notice) == checked:
                return notice
        msg = "a worker's notice cannot be read: it is written faster than it is read, or something else writes there"
        raise RuntimeError(msg)

    def read(self, row: int) -> Cells:
        """What is in a row: numbers that it held all together at one moment.

        None of them but the open requests ever shrinks: if two looks in a row see the same, so they were in between.
        """
        at = _ROWS + row * BYTES
        last = self._map[at : at + BYTES]
        for _ in range(_TRIES):
            seen = self._map[at : at + BYTES]
            if seen == last:
                break
            last = seen
        return memoryview(last).cast("q")
