"""Ports of loopback for a process that is about to be started."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Below those that the kernel gives to connections: one of these could be taken before the process listens, and who
# tries one until it answers could, by chance, be given it for his own end and speak to himself.
RANGE = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """So many in a row that nobody listens on now.

    Nobody gets one of them again, in whatever process, before all others have had their turn: between this look and the
    moment when the process listens another one may look as well.

    Raises:
        OSError: nothing is free.
    """
    with _turn() as turn:
        for _ in range(len(RANGE)):
            first = turn.next(count)
            if all(map(_free, range(first, first + count))):
                return list(range(first, first + count))
    msg = f"no {count} free ports in a row between {RANGE.start} and {RANGE.stop}"
    raise OSError(msg)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


class _Turn:
    """Where to go on, in a file that every process of this user reads and writes."""

    def __init__(self, file: int) -> None:
        self._file = file

    def next(self, count: int) -> int:
        """The first of so many in a row."""
        told = os.pread(self._file, 16, 0)
        first = int(told) if told.isdigit() else RANGE.start
        if first not in RANGE or first + count > RANGE.stop:
            first = RANGE.start
        os.pwrite(self._file, b"%d" % (first + count), 0)
        return first


@contextmanager
def _turn() -> Iterator[_Turn]:
    path = Path(tempfile.gettempdir()) / f"understudy-ports-{os.getuid()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield _Turn(file)
    finally:
        os.close(file)


def _free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
