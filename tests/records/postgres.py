"""A PostgreSQL server of the system's packages for tests: on loopback, in a folder of its own, and killed at will."""

import os
import shutil
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import psycopg

from local import tools
from local.ports import free_port

_SECONDS = 180.0
# A server of root's is refused: where root runs the tests, it runs as the one that the package made for it.
_USER = "postgres"


class Server:
    """One server; `url` is of a database that is made for whoever asks."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="understudy-postgresql-"))
        self._numbers = count(1)
        self._running: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER)
        self._do("initdb", "--username=understudy", "--auth=trust", "--encoding=UTF8", "--no-sync", "--wal-segsize=1")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # What a killed process wrote the kernel keeps, so that nothing here need wait for the disk.
        settings = ("fsync=off", "unix_socket_directories=", f"port={self.port}", "listen_addresses=127.0.0.1")
        flags = [word for setting in settings for word in ("-c", setting)]
        end = time.monotonic() + _SECONDS
        while True:
            self._running = subprocess.Popen(
                self._command("postgres", *flags), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
            )
            while self._running.poll() is None:
                try:
                    self._connect("postgres").close()
                except psycopg.OperationalError:
                    assert time.monotonic() < end, "PostgreSQL does not answer"
                    time.sleep(0.05)
                else:
                    return
            # The processes of one that was killed take a moment to notice.
            assert time.monotonic() < end, "PostgreSQL does not start"
            time.sleep(0.1)

    def url(self) -> str:
        """A new database's."""
        name = f"test_{next(self._numbers)}"
        with self._connect("postgres") as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://understudy@127.0.0.1:{self.port}/{name}"

    def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def remove(self) -> None:
        """End it, and remove what it kept."""
        if self._running is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self, name: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host="127.0.0.1", port=self.port, user="understudy", dbname=name, connect_timeout=60)

    def _do(self, program: str, *flags: str) -> None:
        subprocess.run(self._command(program, *flags), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _command(self, program: str, *flags: str) -> list[str]:
        # With the tests it ends, however they do.
        user = (f"--reuid={_USER}", f"--regid={_USER}", "--init-groups") if os.geteuid() == 0 else ()
        return ["setpriv", "--pdeathsig=KILL", *user, str(self._programs / program), "-D", str(self._folder), *flags]


def start() -> Server:
    """One that runs; installed if there is none."""
    if tools.postgresql() is None:
        tools.ensure_postgresql()
    programs = tools.postgresql()
    assert programs is not None
    server = Server(programs)
    server.start()
    return server
