"""Records of all kinds through random SIGKILLs of whoever issues, stores and keeps them, and the books held against
each other: `tests/records/test_kills.py` in small, `bench/records.py` with as many as docs/records.md tells of.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, text

from local.ports import free_port
from tests.gateway.gateways import until
from tests.records.postgres import Server
from tests.records.producing import COUNTS, KEPT, KINDS, kind_of
from tests.records.serving import process as records_process
from understudy.gateway.policy.segments import Kind

ROOT = Path(__file__).parents[2]
# Of each kind the numbers that are stored.
_STORED: dict[Kind, str] = {
    "request": "SELECT request_id FROM requests",
    "engagement": "SELECT event_id FROM engagement WHERE event <> 'crisis_sign'",
    "sign": "SELECT event_id FROM engagement WHERE event = 'crisis_sign'",
    "violation": "SELECT violation_id FROM violations WHERE action <> 'crisis_flow'",
    "crisis": "SELECT violation_id FROM violations WHERE action = 'crisis_flow'",
}
# Lines that made way, of files that tell of what may (c) and of what must not (k).
_MADE_WAY = "SELECT COALESCE(SUM(CASE WHEN lines > next THEN lines - next ELSE 0 END), 0) FROM ingest_segments WHERE "
_PASSED = "SELECT COALESCE(SUM(rejected + missing + erased + lost), 0) FROM ingest_segments"


class Keeping:
    """A records process on one port, started anew each time that it was killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._flags = ("--auth=none", f"--subject-keys={folder}/subject-keys")
        (folder / "subject-keys").mkdir()
        (folder / "subject-keys" / "1").write_bytes(b"1" * 32)

    async def for_a_while(self, seconds: float) -> None:
        """Have it run, then kill it."""
        async with records_process(self.url, *self._flags, port=self.port):
            await asyncio.sleep(seconds)

    async def until_ended(self, ended: Callable[[], Awaitable[object]]) -> None:
        """Have it run until something has ended, started anew if it ends itself: where it finds no database it does."""
        over = asyncio.ensure_future(ended())
        while not over.done():
            async with records_process(self.url, *self._flags, port=self.port) as running:
                assert running.child is not None
                gone = asyncio.ensure_future(running.child.wait())
                await asyncio.wait((over, gone), return_when=asyncio.FIRST_COMPLETED)
            await gone

    def asked(self, *questions: str) -> list[list[str]]:
        """What the database answers to each: the first column of all rows."""
        made = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with made.begin() as connection:
                return [[str(value) for value in connection.execute(text(each)).scalars()] for each in questions]
        finally:
            made.dispose()


@dataclass(frozen=True)
class Course:
    """So many records, one of each kind that must not be lost in `every`, of which `room` bytes may wait.

    `late`: the records are away until more was issued than there is room for. Records and database are killed so
    many `times`, and records run for up to so many `seconds` between.
    """

    count: int
    every: int
    room: int
    late: bool
    times: int = 2
    seconds: float = 1.0


@dataclass
class Books:
    """What was issued and what came of it, by kind; `unsure` were in the hands of a gateway that was killed."""

    issued: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)
    # Not stored, and not unsure.
    gone: Counter[str] = field(default_factory=Counter)
    doubled: int = 0
    # As the records count them: lines that made way, of what may and of what must not; and passed for another reason.
    made_way: int = 0
    kept_made_way: int = 0
    passed: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def hold(self) -> None:
        """Issued = stored + counted, none doubled, and of what must not be lost none is."""
        assert self.doubled == 0
        assert self.passed == 0
        unsure_common = self.unsure["request"] + self.unsure["engagement"]
        gone = self.gone["request"] + self.gone["engagement"]
        # A line that was cut by a kill is counted with those that made way.
        assert gone <= self.made_way <= gone + unsure_common, "what is not stored is counted"
        assert self.kept_made_way <= sum(self.unsure[kind] for kind in KEPT)
        assert all(self.gone[kind] == 0 for kind in KEPT), "violations, crises and signs of danger make no way"
        assert self.kills["gateway"] > 0 < self.kills["records"]


async def issue(folder: Path, base: str, first: int, last: int, course: Course) -> asyncio.subprocess.Process:
    """Start a process that issues these records."""
    (folder / "counts").write_bytes(COUNTS.pack(first - 1, first - 1, course.count))
    words = (folder / "outbox", course.room, base, first, last, course.every, folder / "counts")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.records.producing", *map(str, words)),
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}", "PATH": ""},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def run(folder: Path, keeping: Keeping, course: Course, seed: int, server: Server | None) -> Books:
    """Issue records through kills; what has come of them. `server` is killed too, if the database has one."""
    chance = random.Random(seed)
    count, books, unsure = course.count, Books(), set[int]()
    began = time.monotonic()
    issued = 0
    over = asyncio.Event()
    (folder / "counts").write_bytes(COUNTS.pack(0, 0, count))

    def reached(number: int) -> bool:
        return over.is_set() or int(COUNTS.unpack((folder / "counts").read_bytes())[1]) >= number

    async def issuing() -> None:
        nonlocal issued
        while issued < count:
            enough = issued + chance.randrange(count // 20, count // 4)
            # One that is looked at late must not have issued all meanwhile: it is to be killed.
            last = min(count, enough + count // 50)
            child = await issue(folder, keeping.base, issued + 1, last, course)
            if last < count:
                await until(lambda child=child, enough=enough: reached(enough) or child.returncode is not None)  # type: ignore[misc]
                assert child.returncode is None, "it issues until it is killed"
                child.kill()
                books.kills["gateway"] += 1
            await child.wait()
            assert last < count or child.returncode == 0, "the last one ends when all is sent"
            begun, done, _ = COUNTS.unpack((folder / "counts").read_bytes())
            # Of the one that it had in its hand it is not known whether it was written down.
            unsure.update(range(done + 1, begun + 1))
            issued = begun
        over.set()

    async def storing() -> None:
        if course.late:
            await until(lambda: reached(count // 4))
        for _ in range(course.times):
            await keeping.for_a_while(course.seconds * (0.25 + 0.75 * chance.random()))
            books.kills["records"] += 1
        await keeping.until_ended(over.wait)

    async def keeping_database() -> None:
        for number in sorted(chance.sample(range(count // 8, count // 2), 0 if server is None else course.times)):
            await until(lambda number=number: reached(number))  # type: ignore[misc]
            assert server is not None
            server.kill()
            books.kills["database"] += 1
            # In this thread: with the one that starts it the server ends.
            server.start()

    await asyncio.gather(issuing(), storing(), keeping_database())
    books.seconds = time.monotonic() - began
    _read(keeping, course, unsure, books)
    return books


def _read(keeping: Keeping, course: Course, unsure: set[int], books: Books) -> None:
    """What is in the database, beside what was issued."""
    issued: dict[str, set[int]] = {kind: set() for kind in KINDS}
    for number in range(1, course.count + 1):
        issued[kind_of(number, course.every)].add(number)
    for kind, answer in zip(_STORED, keeping.asked(*_STORED.values()), strict=True):
        stored = {int(each) for each in answer}
        assert stored <= issued[kind], "nothing is stored that was not issued"
        books.issued[kind] = len(issued[kind])
        books.stored[kind] = len(stored)
        books.doubled += len(answer) - len(stored)
        missing = issued[kind] - stored
        books.unsure[kind] = len(missing & unsure)
        books.gone[kind] = len(missing - unsure)
    common, kept, passed = keeping.asked(f"{_MADE_WAY} name LIKE '%-c%'", f"{_MADE_WAY} name LIKE '%-k%'", _PASSED)
    books.made_way, books.kept_made_way, books.passed = int(common[0]), int(kept[0]), int(passed[0])
