"""Databases to keep records in: a file, and one on a PostgreSQL server of the tests' own.

The server takes a second to start, so what is done with it is not in the daily loop.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.records.postgres import Server, start
from tests.records.ready import ready


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server that runs, one for all tests of this process."""
    server = start()
    yield server
    server.remove()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/records.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("file_url"))
    return str(request.getfixturevalue("postgres").url())


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An empty database of each kind, opened."""
    made = ready(url)
    yield made
    made.dispose()
