"""What gateways send, into the database: each line once, however often it comes.

A gateway repeats what was not acknowledged, and may be killed before it has heard the answer. So the transaction that
stores lines also moves the mark up to which its segment has come, and what lies before the mark is not stored again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, case, func, insert, select, update
from sqlalchemy.engine import Row

from understudy.guard.pseudonyms import SubjectKind
from understudy.records.database import insert_missing, wait_for_turn
from understudy.records.engagement import players
from understudy.records.lines import LINE, Ended, Engagement, Line, Lost, Record, Request, findings
from understudy.records.policy.subjects import Keys
from understudy.records.schema import ENGAGEMENT, REQUESTS, SEGMENTS, VIOLATIONS
from understudy.records.subjects import Finder


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: lines before `next` need not be sent again; `late` are ages of records in seconds.

    `stored` and `lost` are by kind; `repeated` are lines that had come before, and events that had been told of.
    """

    next: int
    stored: dict[str, int]
    repeated: int
    rejected: int
    erased: int
    late: tuple[float, ...]
    lost: dict[str, int]


@dataclass(frozen=True, slots=True)
class Totals:
    """What has come of all segments that are remembered: records `stored`, and those that are not, by the reason.

    An event that was told of twice counts as stored both times.
    """

    segments: int
    stored: int
    rejected: int
    missing: int
    lost: int
    erased: int


class Ingest:
    """Stores lines. `clock` gives Unix seconds; methods may be called from any thread.

    Without `keys` nobody is called by anything: who a request or a violation is about is not stored, and what players
    did is not taken.

    Methods raise sqlalchemy.exc.SQLAlchemyError when nothing can be written, and then nothing has changed.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float], keys: Keys | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._keys = keys

    def take(self, name: str, first: int, records: Sequence[Any]) -> Taken:
        """Lines of the segment `name`, from the line number `first` on; what cannot be read is counted, and passed."""
        now = self._clock()
        lines = [self._read(record) for record in records]
        with self._engine.begin() as connection:
            if self._keys is not None:
                wait_for_turn(connection, "subjects")
            mark = _mark(connection, name, int(now))
            known = max(0, mark.next - first)
            fresh = list(enumerate(lines, first))[known:]
            told = [(seq, line) for seq, line in fresh if isinstance(line, Record)]
            store = _Store(connection, self._keys, mark.id, int(now))
            for seq, line in told:
                store.add(seq, line)
            store.write()
            lost = _lose(connection, (line for _, line in fresh), int(now))
            rejected = sum(line is None for _, line in fresh)
            after = max(mark.next, first + len(lines))
            changes = {
                "next": after,
                "stored": mark.stored + store.stored.total() + store.repeated,
                "rejected": mark.rejected + rejected,
                "missing": mark.missing + max(0, first - mark.next),
                "lost": mark.lost + lost.total(),
                "erased": mark.erased + store.erased,
                "last_at": int(now),
            }
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == mark.id).values(changes))
        late = tuple(max(0.0, now - line.at_ms / 1000) for _, line in told)
        repeated = min(known, len(lines)) + store.repeated
        return Taken(after, dict(store.stored), repeated, rejected, store.erased, late, dict(lost))

    def totals(self) -> Totals:
        """All that gateways have told of."""
        s = SEGMENTS.c
        gone = case((s.lines > s.next, s.lines - s.next), else_=0)
        columns = (s.stored, s.rejected, s.missing, s.lost + gone, s.erased)
        with self._engine.begin() as connection:
            sums = (func.coalesce(func.sum(column), 0) for column in columns)
            found = connection.execute(select(func.count(), *sums).select_from(SEGMENTS)).one()
        return Totals(*(int(number) for number in found))

    def _read(self, record: Any) -> Line | None:
        try:
            line = LINE.validate_python(record)
        except ValidationError:
            return None
        return None if isinstance(line, Engagement) and self._keys is None else line


class _Store:
    """Rows of one batch, gathered so that those of a table are written together."""

    def __init__(self, connection: Connection, keys: Keys | None, segment: int, now: int) -> None:
        self.stored: Counter[str] = Counter()
        self.repeated = 0
        self.erased = 0
        self._connection = connection
        self._whos = None if keys is None else keys.for_states()
        self._finder = None if keys is None else Finder(connection, keys, now)
        self._players: set[str] = set()
        self._segment = segment
        self._requests: list[dict[str, Any]] = []
        self._violations: list[dict[str, Any]] = []

    def add(self, seq: int, line: Record) -> None:
        """Take a record, with whom it is about."""
        row = {"segment": self._segment, "seq": seq, **line.row()}
        at = line.at_ms / 1000
        if isinstance(line, Request):
            row["key_subject"] = self._who("key", "", line.key, at)
            self._requests.append(row)
        elif isinstance(line, Engagement):
            self._count(line.kind, self._add_event(row, line, at))
            return
        else:
            row["player"] = self._who("player", line.tenant, line.player, at)
            row["session"] = self._who("session", line.tenant, line.session, at)
            row["key_subject"] = self._who("key", "", line.key, at)
            self._violations.append(row)
            for finding in findings(line):
                # No line of its own, so the books do not have it.
                self._add_event({"segment": self._segment, "seq": seq, **finding.row()}, finding, at)
        self.stored[line.kind] += 1

    def write(self) -> None:
        """Write what was gathered."""
        for table, rows in ((REQUESTS, self._requests), (VIOLATIONS, self._violations)):
            if rows:
                self._connection.execute(insert(table), rows)

    def _count(self, kind: str, fresh: bool | None) -> None:
        if fresh is None:
            self.erased += 1
        elif fresh:
            self.stored[kind] += 1
        else:
            self.repeated += 1

    def _add_event(self, row: dict[str, Any], line: Engagement, at: float) -> bool | None:
        """Whether it was not known; None if whom it is about was erased since."""
        kind: SubjectKind = "player" if line.player else "session"
        identifier = line.player or line.session
        subject = self._who(kind, line.tenant, identifier, at)
        if subject is None or identifier is None or self._whos is None:
            return None
        if subject not in self._players:
            self._players.add(subject)
            players.meet(self._connection, subject, self._whos.pseudonyms(kind, line.tenant, identifier)[0])
        policy = None if line.policy is None else players.know(self._connection, line.policy)
        return insert_missing(self._connection, ENGAGEMENT, {**row, "subject": subject, "policy": policy})

    def _who(self, kind: SubjectKind, tenant: str, identifier: str | None, at: float) -> str | None:
        """The number of whoever is spoken of; None for nobody, and for somebody who was erased since."""
        if self._finder is None or identifier is None:
            return None
        return self._finder.find(kind, tenant, identifier, at)


def _mark(connection: Connection, name: str, now: int) -> Row[Any]:
    """The row of a segment, made if there is none; no other transaction has it until this one is over."""
    empty = {"next": 0, "stored": 0, "rejected": 0, "missing": 0, "lost": 0, "erased": 0, "last_at": now}
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
