"""A database in one file: opened so that a commit is on the disk, held by one process, copied before it is changed."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from understudy.records.policy.mounts import is_unsafe, kind_of

# Another connection that writes is waited for so long, milliseconds.
_BUSY: Final = 5000
_MOUNTS: Final = Path("/proc/self/mountinfo")
# So long, in seconds, the process before may take to leave.
PATIENCE: Final = 10.0


# The option of a connection whose transaction writes nothing.
READS: Final = "understudy_reads"


class FileError(ValueError):
    """A file that a database may not lie in, or that another process has; the message says what to do."""


def open_file(url: URL) -> Engine:
    """An engine for the file of `url`; raises FileError where it may not lie."""
    file = Path(str(url.database)).absolute()
    if _MOUNTS.exists():
        kind = kind_of(_MOUNTS.read_text(), PurePosixPath(file.parent.resolve()))
        if is_unsafe(kind):
            raise FileError(
                f"{file} lies on {kind}, where locks cannot be relied upon: "
                "name a file on a disk of this machine, or a PostgreSQL database"
            )
    engine = create_engine(url, connect_args={"timeout": _BUSY / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def held(file: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Have the file for this process alone; raises FileError if another has not left it after `patience` seconds."""
    try:
        opened = file.with_name(f"{file.name}.lock").open("a")
    except OSError as error:
        raise FileError(f"{file} cannot be used: {error.strerror}") from error
    with opened as lock:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise FileError(f"{file} is in use by another process: stop that one first") from None
                time.sleep(0.1)
        yield


def keep_copy(file: Path, step: str) -> None:
    """Copy the database, which is at `step`, to a file beside it. Nobody may write to it meanwhile.

    Raises sqlite3.Error and OSError, and then leaves no copy.
    """
    draft = file.with_name(f"{file.name}.copy")
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)
        _sync(draft)
        draft.replace(copy_of(file, step))
        _sync(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def copy_of(file: Path, step: str) -> Path:
    """Where the copy of the database as it was at `step` lies."""
    return file.with_name(f"{file.name}.{step}.copy")


def drop_older_copies(file: Path, step: str) -> None:
    """Keep the copy of `step` alone: each is as large as the database was."""
    for copy in file.parent.glob(f"{file.name}.*.copy"):
        if copy != copy_of(file, step):
            copy.unlink()


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare(connection: Any, _record: Any) -> None:
    # The driver would begin transactions at the first write, by when what was read may be out of date.
    connection.isolation_level = None
    cursor = connection.cursor()
    # With FULL a commit returns when it is on the disk, the journal's end included.
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin(connection: Any) -> None:
    # What may write does so from the beginning: one that only then found another before it would have to be done again.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(READS) else "BEGIN IMMEDIATE")
