"""Lines of JSON on a disk, for whoever collects them: written in the background, bounded, and dropped when in doubt."""

import asyncio
import errno
import fcntl
import logging
import os
from collections import deque
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger(__name__)
# Lines that wait for the disk, in bytes.
MAX_WAITING: Final = 4 * 1024 * 1024
# Lines of so many seconds are written together: a thread that wakes for each of them takes the loop's turns away.
_GATHER_SECONDS: Final = 0.05
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Spool:
    """One file of at most `max_bytes`, readable by its owner alone. Whoever moves it away makes room for a new one.

    Several processes may write to the same file: each line is whole, and the size holds for all of them.

    One that `rotates` never is full: at half of `max_bytes` the file becomes `<name>.1<suffix>`, in the place of the
    one that was so called, and a new one is begun. The others keep what came first.

    `written` and `dropped` count lines; one is dropped when the file or the queue is full, or the disk fails.
    """

    def __init__(self, path: Path, max_bytes: int, *, rotates: bool = False) -> None:
        self.written = 0
        self.dropped = 0
        self._path = path
        self._room = max_bytes // 2 if rotates else max_bytes
        self._before = path.with_name(f"{path.stem}.1{path.suffix}") if rotates else None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._failing = False

    def check(self) -> None:
        """Make the file, or raise OSError: better at the start than when the first line is lost."""
        os.close(self._open())

    def put(self, line: bytes) -> None:
        """Take a line; it ends in a line feed. Never waits."""
        if self._waiting_bytes + len(line) > MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._news.set()

    async def run(self) -> None:
        """Write what comes until cancelled, in a thread, and what is left then; when it ends all of it is written."""
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await asyncio.sleep(_GATHER_SECONDS)
                writing = asyncio.ensure_future(asyncio.to_thread(self._write, self._take()))
                await asyncio.shield(writing)
        finally:
            if writing is not None:
                await asyncio.wait([writing])
            self._write(self._take())

    def _take(self) -> list[bytes]:
        lines = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return lines

    def _write(self, lines: list[bytes]) -> None:
        left = deque(lines)
        before = self.written
        try:
            self._fill(left)
            while left:
                self._fill(left)
            self._failing = False
        except OSError as error:
            if not self._failing:
                LOG.warning("lines cannot be kept in %s: %s", self._path, error)
            self._failing = True
        self.dropped += len(lines) - (self.written - before)

    def _fill(self, lines: deque[bytes]) -> None:
        """Take lines and write those for which there is room, until one needs a new file, which is made room for."""
        descriptor = self._open()
        try:
            # Other workers of the gateway write there too, and what does not fit is cut off again.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not self._is_current(descriptor):
                return
            size = os.fstat(descriptor).st_size
            while lines:
                fitting = _take_fitting(lines, self._room - size)
                if fitting:
                    self._append(descriptor, b"".join(fitting), size)
                    size += sum(map(len, fitting))
                elif self._before is not None and len(lines[0]) <= self._room:
                    self._path.replace(self._before)
                    return
                else:
                    lines.popleft()
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, text: bytes, size: int) -> None:
        """Append lines to a file of `size` bytes, each of them wholly or not at all."""
        end = os.write(descriptor, text)
        if end < len(text):
            end = text.rfind(b"\n", 0, end) + 1
            os.ftruncate(descriptor, size + end)
        self.written += text.count(b"\n", 0, end)
        if end < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still the one by that name: while this process waited for it, it may have been moved."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor


def _take_fitting(lines: deque[bytes], room: int) -> list[bytes]:
    """The first of the lines, as many as fit into so many bytes."""
    taken = []
    while lines and len(lines[0]) <= room:
        room -= len(lines[0])
        taken.append(lines.popleft())
    return taken
