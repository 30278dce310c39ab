"""The database: how it is opened so that nothing that was answered is lost, and brought to the form of this version."""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, literal, make_url
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from understudy.records import postgresql, sqlite

LOG: Final = logging.getLogger(__name__)
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_TURNS: Final = {"migration": 1, "ledger": 2, "subjects": 3, "retention": 4}
_SQLITE: Final = "sqlite:////var/lib/understudy/records.db"
_POSTGRESQL: Final = "postgresql://user:password@host:5432/name"


class DatabaseError(ValueError):
    """A database that cannot be worked with; the message says why and what to do."""


def open_database(url: str) -> Engine:
    """The database at `url`, with all migrations done.

    Raises:
        DatabaseError: it cannot be opened, or a later version of Understudy has changed it.
    """
    parsed = _parsed(url)
    try:
        engine = sqlite.open_file(parsed) if parsed.get_backend_name() == "sqlite" else postgresql.open_server(parsed)
    except sqlite.FileError as error:
        raise DatabaseError(str(error)) from error
    try:
        migrate(engine)
    except (DBAPIError, sqlite3.Error, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        engine.dispose()
        raise DatabaseError(f"{parsed.render_as_string()} cannot be used: {str(reason).strip()}") from error
    except DatabaseError:
        engine.dispose()
        raise
    return engine


@contextmanager
def held(url: str) -> Iterator[None]:
    """Have the database at `url` for this process alone, where it is a file; raises DatabaseError if another has it."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        yield
        return
    try:
        with sqlite.held(Path(str(parsed.database))):
            yield
    except sqlite.FileError as error:
        raise DatabaseError(str(error)) from error


def migrate(engine: Engine) -> None:
    """Do what migrations are still to be done, all or none, and by one process at a time.

    A file is copied before, to <its name>.<step>.copy.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        wait_for_turn(connection, "migration")
        config.attributes["connection"] = connection
        found = MigrationContext.configure(connection).get_current_revision()
        last = ScriptDirectory.from_config(config).get_current_head()
        if found == last:
            return
        if found is not None:
            _check_known(config, found)
            _keep_copy(engine, found)
        command.upgrade(config, "head")
    if found is not None and engine.dialect.name == "sqlite":
        sqlite.drop_older_copies(Path(str(engine.url.database)), found)
    LOG.info("the database was at step %s and is now at %s", found or "none", last)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes nothing: in a file it waits for nobody, and nobody for it."""
    with engine.connect() as connection:
        yield connection.execution_options(postgresql_readonly=True, **{sqlite.READS: True})


def wait_for_turn(connection: Connection, purpose: Literal["migration", "ledger", "subjects", "retention"]) -> None:
    """Have no other transaction for that purpose beside this one, of any process.

    In a file each transaction is alone from its beginning.
    """
    if connection.dialect.name == "postgresql":
        postgresql.wait_for_turn(connection, _TURNS[purpose])


def insert_missing(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless there is one that it would contradict; whether it was inserted."""
    one = literal(1)
    if connection.dialect.name == "postgresql":
        done = connection.execute(
            postgresql_dialect.insert(table).values(values).on_conflict_do_nothing().returning(one)
        )
    else:
        done = connection.execute(sqlite_dialect.insert(table).values(values).on_conflict_do_nothing().returning(one))
    return done.first() is not None


def is_full(error: BaseException | None) -> bool:
    """Whether the database refused because there is no room on its disk."""
    return error is not None and (sqlite.is_full(error) or postgresql.is_full(error))


def _keep_copy(engine: Engine, found: str) -> None:
    if engine.dialect.name != "sqlite":
        return
    file = Path(str(engine.url.database))
    try:
        sqlite.keep_copy(file, found)
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(
            f"{file} cannot be copied, which is done before it is changed ({error}); nothing was changed: "
            f"make room for {file.stat().st_size} bytes beside it"
        ) from error


def _check_known(config: Config, found: str) -> None:
    try:
        ScriptDirectory.from_config(config).get_revision(found)
    except CommandError as error:
        raise DatabaseError(
            f"the database is at step {found}, of a later version of Understudy: "
            "start that version, or take back the copy of the database from before it"
        ) from error


def _parsed(url: str) -> URL:
    # What may hold a password is not repeated.
    shown = repr(url) if "@" not in url else f"'…@{url.rpartition('@')[2]}'"
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise DatabaseError(f"{shown} is no database: write {_SQLITE} or {_POSTGRESQL}") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise DatabaseError(f"{backend} is not supported: write {_SQLITE} or {_POSTGRESQL}")
    if backend == "postgresql" and not parsed.database:
        raise DatabaseError(f"{shown} names no database: write {_POSTGRESQL}")
    if backend == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise DatabaseError(f"{shown} keeps nothing: name a file, such as {_SQLITE}")
    return parsed
