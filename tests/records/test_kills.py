"""Records through random SIGKILLs of whoever issues, stores and keeps them: each is stored once, or counted as lost.

Records issued = records stored + records that made way, to the last one.
"""

import asyncio
import functools
import json
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from local.ports import free_port
from tests.gateway.clients import chat, client
from tests.gateway.engines import engine
from tests.gateway.gateways import until
from tests.gateway.processes import Process as Gateway
from tests.gateway.processes import process as gateway_process
from tests.gateway.worlds import STABLE, endpoints, snapshot, table
from tests.records.postgres import Server
from tests.records.producing import COUNTS
from tests.records.serving import process as records_process

ROOT = Path(__file__).parents[2]


class Keeping:
    """A records process on one port, started anew each time that it was killed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"

    async def for_a_while(self, seconds: float) -> None:
        """Have it run, then kill it."""
        async with records_process(self.url, "--auth=none", port=self.port):
            await asyncio.sleep(seconds)

    async def until_ended(self, ended: Callable[[], Awaitable[object]]) -> None:
        """Have it run until something has ended, started anew if it ends itself: where it finds no database it does."""
        over = asyncio.ensure_future(ended())
        while not over.done():
            async with records_process(self.url, "--auth=none", port=self.port) as running:
                assert running.child is not None
                gone = asyncio.ensure_future(running.child.wait())
                await asyncio.wait((over, gone), return_when=asyncio.FIRST_COMPLETED)
            await gone

    def ids(self) -> set[str]:
        """Of all requests that are stored."""
        made = create_engine(self.url)
        try:
            with made.begin() as connection:
                return set(connection.execute(text("SELECT request_id FROM requests")).scalars())
        except OperationalError:
            # Its tables are not there yet.
            return set()
        finally:
            made.dispose()

    def totals(self) -> tuple[int, int, int]:
        """Records stored, how many different ones these are, and how many are lost, by what is in the database."""
        made = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        lost = (
            "SELECT COALESCE(SUM(lost + CASE WHEN lines > next THEN lines - next ELSE 0 END), 0) FROM ingest_segments"
        )
        with made.begin() as connection:
            stored, different = connection.execute(
                text("SELECT COUNT(*), COUNT(DISTINCT request_id) FROM requests")
            ).one()
            rejected = connection.execute(text("SELECT SUM(rejected + missing) FROM ingest_segments")).scalar_one()
            gone = int(connection.execute(text(lost)).scalar_one())
        made.dispose()
        assert rejected == 0
        return stored, different, gone


async def issue(folder: Path, base: str, first: int, last: int, most: int) -> asyncio.subprocess.Process:
    """Start a process that issues these records."""
    (folder / "counts").write_bytes(COUNTS.pack(first - 1, first - 1))
    words = (str(folder / "outbox"), str(most), base, str(first), str(last), str(folder / "counts"))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.records.producing", *words),
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}", "PATH": ""},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


def issued_by(folder: Path) -> int:
    """The last record that was issued."""
    return int(COUNTS.unpack((folder / "counts").read_bytes())[1])


async def run(folder: Path, keeping: Keeping, count: int, seed: int, server: Server | None, most: int) -> int:
    """Issue `count` records through kills, and hold the books against each other; how many are lost."""
    chance = random.Random(seed)
    unsure = 0
    kills = {"gateway": 0, "records": 0, "database": 0}
    issued = 0
    over = asyncio.Event()

    async def issuing() -> None:
        nonlocal issued, unsure
        while issued < count:
            child = await issue(folder, keeping.base, issued + 1, count, most)
            ended = asyncio.ensure_future(child.wait())
            enough = min(count, issued + chance.randrange(count // 20, count // 4))
            await until(lambda ended=ended, enough=enough: ended.done() or issued_by(folder) >= enough)  # type: ignore[misc]
            # The last life ends by itself, when all has been sent.
            if not ended.done() and issued_by(folder) < count:
                child.kill()
                kills["gateway"] += 1
            await ended
            begun, done = COUNTS.unpack((folder / "counts").read_bytes())
            # Of one that was killed with a record in its hand it is not known whether it was written down.
            unsure += begun - done
            issued = begun
        over.set()

    async def storing() -> None:
        while not over.is_set() and issued < count // 2:
            await keeping.for_a_while(1 + 3 * chance.random())
            kills["records"] += 1
        await keeping.until_ended(over.wait)

    async def keeping_database() -> None:
        while server is not None and not over.is_set() and issued < count // 2:
            await asyncio.sleep(2 + 4 * chance.random())
            server.kill()
            kills["database"] += 1
            # In this thread: with the one that starts it the server ends.
            server.start()

    await asyncio.gather(issuing(), storing(), keeping_database())
    stored, different, lost = keeping.totals()
    assert stored == different, "none is doubled"
    assert issued - unsure <= stored + lost <= issued == count
    assert kills["gateway"] > 0 < kills["records"]
    return lost


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_hundred_thousand_records_are_stored_once(tmp_path: Path, postgres: Server) -> None:
    assert await run(tmp_path, Keeping(postgres.url()), 100_000, 1, postgres, 64 * 1024 * 1024) == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_where_there_is_little_room_records_are_stored_once_or_counted(tmp_path: Path, postgres: Server) -> None:
    assert await run(tmp_path, Keeping(postgres.url()), 20_000, 2, postgres, 256 * 1024) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_records_in_a_file_are_stored_once_or_counted(tmp_path: Path, file_url: str) -> None:
    await run(tmp_path, Keeping(file_url), 10_000, 7, None, 512 * 1024)


async def _ready(gateway: Gateway) -> bool:
    return (await gateway.get("/readyz"))[0] == 200


@pytest.mark.slow
async def test_each_answer_of_a_gateway_that_is_killed_has_its_record(tmp_path: Path, file_url: str) -> None:
    keeping = Keeping(file_url)
    answered: list[str] = []
    asked = 0
    async with engine() as e:
        file = tmp_path / "world.json"
        file.write_text(json.dumps(snapshot([table()], [endpoints(STABLE, [e.port])])))
        flags = (f"--snapshot={file}", f"--records={keeping.base}", f"--records-dir={tmp_path}/records", "--grace=0s")

        async def talk(port: int) -> None:
            nonlocal asked
            while True:
                try:
                    async with client(port) as c:
                        asked += 1
                        answer = await c.ask(chat())
                except OSError:
                    return
                if not answer.complete:
                    return
                answered.append(answer.fields["x-request-id"])

        for workers in (2, 1, 2):
            async with gateway_process(*flags, f"--workers={workers}") as g:
                await until(functools.partial(_ready, g))
                enough = len(answered) + 50
                talking = [asyncio.ensure_future(talk(g.port)) for _ in range(4)]
                await until(lambda enough=enough: len(answered) >= enough)  # type: ignore[misc]
                g.child.kill()
                await g.child.communicate()
                await asyncio.gather(*talking)
        async with records_process(file_url, "--auth=none", port=keeping.port), gateway_process(*flags) as g:
            await until(lambda: set(answered) <= keeping.ids())
            g.child.terminate()
            await g.child.communicate()
    stored, different, lost = keeping.totals()
    assert (stored, lost) == (different, 0)
    assert len(answered) <= stored <= asked
    # Nothing of it is left over.
    left = {path.name for path in (tmp_path / "records").rglob("*") if path.is_file()}
    assert left == {"lock", "players.secret"}
