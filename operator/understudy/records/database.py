"""The database: how it is opened so that nothing that was answered is lost, and brought to the form of this version."""

import logging
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

LOG: Final = logging.getLogger(__name__)
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# Another process that writes is waited for so long, milliseconds: the one that an update replaces.
_BUSY: Final = 5000


class DatabaseError(ValueError):
    """A database that cannot be worked with; the message says why and what to do."""


def open_database(url: str) -> Engine:
    """The database at `url`, with all migrations done.

    Raises:
        DatabaseError: it cannot be opened, or a later version of Understudy has changed it.
    """
    engine = _engine(_parsed(url))
    try:
        migrate(engine)
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        engine.dispose()
        raise DatabaseError(f"{engine.url.render_as_string()} cannot be used: {reason}") from error
    except DatabaseError:
        engine.dispose()
        raise
    return engine


def migrate(engine: Engine) -> None:
    """Do what migrations are still to be done, all or none."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        found = MigrationContext.configure(connection).get_current_revision()
        last = ScriptDirectory.from_config(config).get_current_head()
        if found == last:
            return
        if found is not None:
            _check_known(config, found)
        command.upgrade(config, "head")
    LOG.info("the database was at step %s and is now at %s", found or "none", last)


def _check_known(config: Config, found: str) -> None:
    try:
        ScriptDirectory.from_config(config).get_revision(found)
    except CommandError as error:
        raise DatabaseError(
            f"the database is at step {found}, of a later version of Understudy: "
            "start that version, or take back the copy of the database from before it"
        ) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseError(f"{url!r} is no database: write sqlite:////var/lib/understudy/records.db") from error
    if parsed.get_backend_name() != "sqlite":
        raise DatabaseError(f"{parsed.get_backend_name()} is not supported: write sqlite:////path/of/a/file")
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseError(f"{url!r} keeps nothing: name a file, such as sqlite:////var/lib/understudy/records.db")
    return parsed


def _engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # The driver would begin transactions at the first write, by when what was read may be out of date.
    connection.isolation_level = None
    cursor = connection.cursor()
    # With FULL a commit returns when it is on the disk, the journal's end included.
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin(connection: Any) -> None:
    # Every transaction here may write: one that only then found another before it would have to be done again.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
