"""How a database is opened, held and changed, and what is said of one that cannot be worked with."""

import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tests.records.postgres import Server
from understudy.records import database, postgresql, sqlite
from understudy.records.database import DatabaseError, held, is_full, open_database, wait_for_turn
from understudy.records.schema import METADATA
from understudy.records.sqlite import FileError

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{last}"


def upgrade():
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("UPDATE ledger_clock SET latest = 0")
    op.execute("{statement}")
"""


def step_of(url: str) -> str:
    """Which step a database of this version is at, with an instant in its clock, and nobody connected."""
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO ledger_clock (id, latest) VALUES (1, 77)"))
        step = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    engine.dispose()
    return step


def with_a_later_step(monkeypatch: pytest.MonkeyPatch, folder: Path, last: str, statement: str) -> None:
    """Make this version of Understudy one with a step more, which ends with `statement`."""
    scripts = folder / "migrations"
    shutil.copytree(database._MIGRATIONS, scripts)
    (scripts / "versions" / "r9001_later.py").write_text(LATER.format(last=last, statement=statement))
    monkeypatch.setattr(database, "_MIGRATIONS", scripts)


def only(url: str, question: str) -> object:
    """The answer of a database, without a migration."""
    opened = database._parsed(url)
    engine = sqlite.open_file(opened) if opened.get_backend_name() == "sqlite" else postgresql.open_server(opened)
    try:
        with engine.begin() as connection:
            return connection.execute(text(question)).scalar_one()
    finally:
        engine.dispose()


def test_migrations_make_the_tables_that_the_code_speaks_of(engine: Engine) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_every_step_can_be_taken_back_and_done_again(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO ingest_segments VALUES (1, 'x', 1, 1, 0, 0, 0, NULL, 5, 0)"))
    config = Config()
    config.set_main_option("script_location", str(database._MIGRATIONS))
    last = ScriptDirectory.from_config(config).get_current_head()
    for step in range(int(str(last)) - 1, 1, -1):
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, f"{step:04d}")
        open_database(url).dispose()
        with engine.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, METADATA) == []
            assert connection.execute(text("SELECT erased FROM ingest_segments")).scalar_one() == 0


def test_a_database_of_a_later_version_is_left_alone(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="is at step 9999, of a later version of Understudy: start that"):
        open_database(url)


def test_a_migration_that_fails_half_way_leaves_the_database_as_it_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of(url)
    with monkeypatch.context() as patch:
        with_a_later_step(patch, tmp_path, step, "INSERT INTO nothing VALUES (1)")
        with pytest.raises(DatabaseError, match=r"cannot be used: .*nothing"):
            open_database(url)
    # The version before goes on with it.
    open_database(url).dispose()
    assert only(url, "SELECT latest FROM ledger_clock") == 77
    with pytest.raises(DBAPIError, match="later"):
        only(url, "SELECT count(*) FROM later")


def test_several_processes_that_start_at_once_migrate_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_later_step(monkeypatch, tmp_path, step_of(url), "INSERT INTO later VALUES (1)")
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            open_database(url).dispose()
        except BaseException as error:  # noqa: BLE001  # told below, in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert only(url, "SELECT count(*) FROM later") == 1


def test_a_file_is_copied_before_it_is_changed(file_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "records.db.0000.copy").touch()
    step = step_of(file_url)
    with_a_later_step(monkeypatch, tmp_path, step, "INSERT INTO later VALUES (1)")
    open_database(file_url).dispose()
    assert only(file_url, "SELECT latest FROM ledger_clock") == 0
    copy = tmp_path / f"records.db.{step}.copy"
    assert [path.name for path in tmp_path.glob("*.copy")] == [copy.name]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT latest FROM ledger_clock").fetchall() == [(77,)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(step,)]


def test_without_room_for_the_copy_nothing_is_changed(
    file_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of(file_url)
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        connection.execute("CREATE TABLE ballast AS SELECT zeroblob(100000)")
    with_a_later_step(monkeypatch, tmp_path, step, "INSERT INTO later VALUES (1)")
    soft, hard = getrlimit(RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    setrlimit(RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(
            DatabaseError, match=r"cannot be copied, .*; nothing was changed: make room for \d{6} bytes"
        ):
            open_database(file_url)
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.glob("*.copy")) == []
    assert only(file_url, "SELECT version_num FROM alembic_version") == step


def test_without_room_for_what_a_migration_adds_the_database_is_as_it_was(
    file_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of(file_url)
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "INSERT INTO later SELECT i FROM n"
    )
    with_a_later_step(monkeypatch, tmp_path, step, many)
    soft, hard = getrlimit(RLIMIT_FSIZE)
    # Room for a copy of what there is, and for little more.
    setrlimit(RLIMIT_FSIZE, ((tmp_path / "records.db").stat().st_size + 50_000, hard))
    try:
        with pytest.raises(DatabaseError, match="cannot be used"):
            open_database(file_url)
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))
    assert only(file_url, "SELECT version_num FROM alembic_version") == step
    assert only(file_url, "SELECT latest FROM ledger_clock") == 77


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_commit_to_a_file_waits_for_the_disk(engine: Engine) -> None:
    with engine.begin() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL


@pytest.mark.slow
def test_a_commit_to_a_server_waits_for_its_disk_whatever_that_is_set_to(postgres: Server) -> None:
    url = postgres.url()
    before = open_database(url)
    with before.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off"))
    before.dispose()
    engine = open_database(url)
    with engine.begin() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    engine.dispose()


@pytest.mark.slow
def test_a_servers_full_disk_is_known_for_what_it_is(postgres: Server) -> None:
    engine = open_database(postgres.url())
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"))
    assert is_full(caught.value.orig)
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        connection.execute(text("SELECT 1 / 0"))
    assert not is_full(caught.value.orig)
    engine.dispose()


@pytest.mark.slow
def test_a_server_that_was_started_anew_is_used_as_if_nothing_had_been(postgres: Server) -> None:
    engine = open_database(postgres.url())
    postgres.kill()
    postgres.start()
    with engine.begin() as connection:
        wait_for_turn(connection, "ledger")
        assert connection.execute(text("SELECT count(*) FROM ledger_leases")).scalar_one() == 0
    engine.dispose()


def test_a_file_is_one_process_alone_and_the_next_ones_when_it_has_left(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    sentence = "records.db is in use by another process: stop that one first"
    with sqlite.held(file), pytest.raises(FileError, match=sentence), sqlite.held(file, patience=0.0):
        pass
    with held(f"sqlite:///{file}"), pytest.raises(FileError, match=sentence), sqlite.held(file, patience=0.2):
        pass
    with sqlite.held(file):
        pass


def test_a_file_that_cannot_be_held_is_told_why() -> None:
    with (
        pytest.raises(DatabaseError, match=r"/nowhere/records\.db cannot be used: No such file"),
        held("sqlite:////nowhere/records.db"),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("records.db", "is no database: write sqlite:////var/lib/understudy/records.db or postgresql://"),
        ("mongodb://somewhere/x", "is no database: write"),
        ("mysql://somewhere/x", "mysql is not supported: write"),
        ("postgresql://somewhere", "names no database: write postgresql://user:password@host:5432/name"),
        ("sqlite://", "keeps nothing: name a file"),
        ("sqlite:///:memory:", "keeps nothing: name a file"),
        ("sqlite:////nowhere/at/all.db", "cannot be used: unable to open database file"),
    ],
)
def test_what_is_no_database_is_told_what_to_write(url: str, sentence: str) -> None:
    with pytest.raises(DatabaseError, match=sentence):
        open_database(url)


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@127.0.0.1:1/x", "mongodb://u:secret@h/x", "postgresql://u:secret@h:port/x"]
)
def test_no_message_repeats_a_password(url: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(DatabaseError, match="cannot be used: file is not a database"):
        open_database(f"sqlite:///{path}")
    assert path.read_text().startswith("not a database")


def test_a_file_on_a_network_is_refused(file_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 0:21 / / rw - ext4 /dev/sda rw\n30 22 0:40 / /tmp rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(sqlite, "_MOUNTS", mounts)
    # Links are followed: what counts is where the file lies in the end.
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(DatabaseError, match="lies on nfs4, where locks cannot be relied upon: name a file on a disk"):
        open_database(f"sqlite:///{tmp_path}/link/records.db")
