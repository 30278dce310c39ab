"""Databases that can be worked with at once: migration has tests of its own, and takes longer than most others."""

import functools
import tempfile
from pathlib import Path

from sqlalchemy import Engine, make_url

from understudy.records.database import open_database


def ready(url: str) -> Engine:
    """The database at `url`, opened; a file that is not there begins as a copy of one that was opened before."""
    parsed = make_url(url)
    file = Path(str(parsed.database))
    if parsed.get_backend_name() == "sqlite" and not file.exists():
        file.write_bytes(_opened_before())
    return open_database(url)


@functools.cache
def _opened_before() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "records.db")
        open_database(f"sqlite:///{file}").dispose()
        return file.read_bytes()
