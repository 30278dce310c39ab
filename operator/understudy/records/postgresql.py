"""A database on a PostgreSQL server, which several processes may share, and which may go away for a while."""

from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

# Seconds to reach the server, and milliseconds after which one that does not answer any more is given up.
_CONNECT_SECONDS: Final = 5
_SILENCE: Final = 15_000
# Threads that wait for a connection give up after so many seconds: the question can be asked again.
_POOL_SECONDS: Final = 5.0
_CONNECTIONS: Final = 10
_SETTINGS: Final = (
    # What was answered is on the server's disk, whatever its configuration says of others.
    "synchronous_commit = on",
    "lock_timeout = '10s'",
    "statement_timeout = '60s'",
    "idle_in_transaction_session_timeout = '60s'",
    "timezone = 'UTC'",
)
_DISK_FULL: Final = "53100"


def open_server(url: URL) -> Engine:
    """An engine for the database of `url`."""
    asked = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _SILENCE, "application_name": "understudy"}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={name: value for name, value in asked.items() if name not in url.query},
        # A server that was started anew has ended all connections; the next question must not be the one to find out.
        pool_pre_ping=True,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
    )
    event.listen(engine, "connect", _prepare)
    return engine


def wait_for_turn(connection: Connection, number: int) -> None:
    """Wait until no other transaction that has called this with the same number is open."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:space, :number)"), {"space": _SPACE, "number": number})


def is_full(error: BaseException) -> bool:
    """Whether the server's disk has no room."""
    return getattr(error, "sqlstate", None) == _DISK_FULL


# Others who use the same database have locks as well: ours have this for their first half.
_SPACE: Final = 0x0DE57


def _prepare(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(f"SET {setting}")
    connection.autocommit = False
