"""Records of all kinds through SIGKILLs: how many are stored, doubled and lost (docs/records.md has what came out).

    python -m bench.records [--count 100000] [--seed 1]

Four runs: in a file and on PostgreSQL, with room for all that may have to wait, and with so little that most of what
may make way does. Ends with 1 when a record is stored twice, or is neither stored nor counted, or one that must not be
lost is.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from tests.records.kills import Books, Course, Keeping, run  # noqa: E402 - found by the path above
from tests.records.postgres import start  # noqa: E402 - found by the path above
from tests.records.producing import KEPT, KINDS  # noqa: E402 - found by the path above

_TIMES = 8
_SECONDS = 4.0
# Bytes on the disk of a gateway: no record takes more.
_MOST = 700


def courses(count: int) -> dict[str, Course]:
    """One with room for all, and one whose records come late: of what may make way there is room for a part of what was
    issued by then, and in the quarter that is kept for the others for all of them.
    """
    small = count // 200 * len(KEPT) * _MOST * 4
    return {
        "room for all": Course(count, 20, count * _MOST, late=False, times=_TIMES, seconds=_SECONDS),
        "full": Course(count, 200, small, late=True, times=_TIMES, seconds=_SECONDS),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="records of each run")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which somebody is killed")
    given = parser.parse_args(arguments)
    server = start()
    holds = True
    try:
        for database in ("SQLite", "PostgreSQL"):
            for name, course in courses(given.count).items():
                with tempfile.TemporaryDirectory() as folder:
                    at = Path(folder)
                    url = server.url() if database == "PostgreSQL" else f"sqlite:///{at}/records.db"
                    killed = server if database == "PostgreSQL" else None
                    books = asyncio.run(run(at, Keeping(url, at), course, given.seed, killed))
                holds = _say(f"{database}, {name}", books, full=course.late) and holds
    finally:
        server.remove()
    return 0 if holds else 1


def _say(name: str, books: Books, *, full: bool) -> bool:
    kills = ", ".join(f"{who} {count}" for who, count in sorted(books.kills.items()))
    print(f"{name}: killed {kills}; {books.seconds:.0f} s; doubled {books.doubled}", flush=True)
    for kind in KINDS:
        print(
            f"  {kind:11} issued {books.issued[kind]:6}  stored {books.stored[kind]:6}  "
            f"gone {books.gone[kind]:6}  in hand at a kill and not stored {books.unsure[kind]}"
        )
    print(f"  counted as lost: {books.made_way}, of what must not be lost {books.kept_made_way}", flush=True)
    try:
        books.hold()
    except AssertionError as error:
        print(f"  DOES NOT HOLD: {error}", flush=True)
        return False
    if full and not books.made_way:
        print("  SAYS NOTHING: there was room for all", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
