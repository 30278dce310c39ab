"""What gateways send, into the database: each line once, however often it comes.

A gateway repeats what was not acknowledged, and may be killed before it has heard the answer. So the transaction that
stores lines also moves the mark up to which its segment has come, and what lies before the mark is not stored again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, case, delete, func, insert, select, update
from sqlalchemy.engine import Row

from understudy.records.database import insert_missing
from understudy.records.lines import LINE, Ended, Line, Lost, Request
from understudy.records.schema import REQUESTS, SEGMENTS

# Marks outlive their rows: whoever repeats himself for so long (seconds) is still known.
_MARKS_KEPT: Final = 30 * 86_400
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: lines before `next` need not be sent again; `late` are ages of records in seconds."""

    next: int
    stored: int
    repeated: int
    rejected: int
    late: tuple[float, ...]
    lost: dict[str, int]


@dataclass(frozen=True, slots=True)
class Totals:
    """What has come of all segments that are remembered: records `stored`, and those that are not, by the reason."""

    segments: int
    stored: int
    rejected: int
    missing: int
    lost: int


class Ingest:
    """Stores lines. `clock` gives Unix seconds; methods may be called from any thread.

    They raise sqlalchemy.exc.SQLAlchemyError when nothing can be written, and then nothing has changed.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    def take(self, name: str, first: int, records: Sequence[Any]) -> Taken:
        """Lines of the segment `name`, from the line number `first` on; what cannot be read is counted, and passed."""
        now = self._clock()
        lines = [_read(record) for record in records]
        with self._engine.begin() as connection:
            mark = _mark(connection, name, int(now))
            known = max(0, mark.next - first)
            fresh = list(enumerate(lines))[known:]
            requests = [(index, line) for index, line in fresh if isinstance(line, Request)]
            if requests:
                rows = [{"segment": mark.id, "seq": first + index, **line.row()} for index, line in requests]
                connection.execute(insert(REQUESTS), rows)
            lost = _lose(connection, (line for _, line in fresh), int(now))
            rejected = sum(line is None for _, line in fresh)
            after = max(mark.next, first + len(lines))
            changes = {
                "next": after,
                "stored": mark.stored + len(requests),
                "rejected": mark.rejected + rejected,
                "missing": mark.missing + max(0, first - mark.next),
                "lost": mark.lost + lost.total(),
                "last_at": int(now),
            }
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == mark.id).values(changes))
        late = tuple(max(0.0, now - line.at_ms / 1000) for _, line in requests)
        return Taken(after, len(requests), min(known, len(lines)), rejected, late, dict(lost))

    def totals(self) -> Totals:
        """All that gateways have told of."""
        gone = case((SEGMENTS.c.lines > SEGMENTS.c.next, SEGMENTS.c.lines - SEGMENTS.c.next), else_=0)
        columns = (SEGMENTS.c.stored, SEGMENTS.c.rejected, SEGMENTS.c.missing, SEGMENTS.c.lost + gone)
        with self._engine.begin() as connection:
            sums = (func.coalesce(func.sum(column), 0) for column in columns)
            found = connection.execute(select(func.count(), *sums).select_from(SEGMENTS)).one()
        return Totals(*(int(number) for number in found))

    def forget(self, before_ms: int) -> int:
        """Delete requests that began before then, some at a time so that nobody waits long; how many there were."""
        gone = 0
        while True:
            with self._engine.begin() as connection:
                old = select(REQUESTS.c.id).where(REQUESTS.c.at_ms < before_ms).limit(_BATCH)
                found = connection.execute(delete(REQUESTS).where(REQUESTS.c.id.in_(old))).rowcount
            gone += found
            if found < _BATCH:
                break
        with self._engine.begin() as connection:
            rows = select(REQUESTS.c.id).where(REQUESTS.c.segment == SEGMENTS.c.id).exists()
            over = SEGMENTS.c.last_at < int(self._clock()) - _MARKS_KEPT
            connection.execute(delete(SEGMENTS).where(over, ~rows))
        return gone


def _read(record: Any) -> Line | None:
    try:
        return LINE.validate_python(record)
    except ValidationError:
        return None


def _mark(connection: Connection, name: str, now: int) -> Row[Any]:
    """The row of a segment, made if there is none; no other transaction has it until this one is over."""
    empty = {"next": 0, "stored": 0, "rejected": 0, "missing": 0, "lost": 0, "last_at": now}
    insert_missing(connection, SEGMENTS, {"name": name, **empty})
    return connection.execute(select(SEGMENTS).where(SEGMENTS.c.name == name).with_for_update()).one()


def _lose(connection: Connection, lines: Iterable[Line | None], now: int) -> Counter[str]:
    """Do what lines say that are no records; how many were lost of each kind without ever having been in a segment."""
    lost: Counter[str] = Counter()
    for line in lines:
        if isinstance(line, Ended):
            mark = _mark(connection, line.segment, now)
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == mark.id).values(lines=line.lines))
        elif isinstance(line, Lost):
            lost[line.of] += line.count
    return lost
