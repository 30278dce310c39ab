"""What has been kept long enough and is forgotten: records of each kind, what was kept of findings, links, marks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, Table, delete, insert, select, update

from understudy.records.database import wait_for_turn
from understudy.records.engagement import players
from understudy.records.policy.retention import horizon
from understudy.records.schema import DECISIONS, ENGAGEMENT, HISTORY, REQUESTS, RETENTION, SEGMENTS, VIOLATIONS
from understudy.records.subjects import forget

_DAY: Final = 86_400
# Marks outlive their rows: whoever repeats himself for so long (seconds) is still known.
_MARKS_KEPT: Final = 30 * _DAY
# Of somebody it is noted but once an hour that he was seen.
_LINKS_LONGER: Final = _DAY
_BATCH: Final = 1000
# What gateways bring, of which segments have marks, and what the cluster tells.
BROUGHT: Final[Mapping[str, Table]] = {"requests": REQUESTS, "violations": VIOLATIONS, "engagement": ENGAGEMENT}
TABLES: Final[Mapping[str, Table]] = {**BROUGHT, "decisions": DECISIONS, "history": HISTORY}


@dataclass(frozen=True, slots=True)
class Keep:
    """For how many seconds records of each kind are kept."""

    requests: float = 30.0 * _DAY
    violations: float = 30.0 * _DAY
    engagement: float = 90.0 * _DAY
    decisions: float = 365.0 * _DAY

    def seconds(self) -> dict[str, float]:
        """By the kind, as `TABLES` has them."""
        return {
            "requests": self.requests,
            "violations": self.violations,
            "engagement": self.engagement,
            "decisions": self.decisions,
            "history": self.decisions,
        }


class Retention:
    """Forgets what is older than `keep` says; `clock` gives Unix seconds.

    `overdue` says by how many seconds the last sweep was behind what it should have forgotten.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float], keep: Keep) -> None:
        self._engine = engine
        self._clock = clock
        self._keep = keep.seconds()
        self.overdue = 0.0

    def sweep(self) -> int:
        """Forget, some at a time so that nobody waits long; how many records there were.

        Raises sqlalchemy.exc.SQLAlchemyError; the next sweep does what this one did not.
        """
        until = self._advance()
        gone = sum(self._delete(table, until[kind]) for kind, table in TABLES.items())
        # By the same clock as all else, which does not leap ahead.
        gone += players.forget_sooner(self._engine, until["engagement"] / 1000 + self._keep["engagement"])
        with self._engine.begin() as connection:
            over = VIOLATIONS.c.evidence_until_ms < until["evidence"]
            nothing = {"excerpt": None, "excerpt_hash": None, "evidence_until_ms": None}
            connection.execute(update(VIOLATIONS).where(over).values(nothing))
        with self._engine.begin() as connection:
            rows = [select(table.c.id).where(table.c.segment == SEGMENTS.c.id).exists() for table in BROUGHT.values()]
            old = SEGMENTS.c.last_at < until["marks"] // 1000
            connection.execute(delete(SEGMENTS).where(old, *(~row for row in rows)))
        # A link may be thrown away when no row is left that it could lead to.
        forget(self._engine, until["links"] // 1000, until["tombstones"] // 1000)
        with self._engine.begin() as connection:
            wait_for_turn(connection, "subjects")
            players.sweep(connection, until["engagement"] / 1000, until["tombstones"] / 1000)
        return gone

    def _advance(self) -> dict[str, int]:
        """Up to when each kind is forgotten now, in Unix milliseconds."""
        now = self._clock()
        kept = {
            **self._keep,
            "evidence": 0.0,
            "marks": float(_MARKS_KEPT),
            "links": max(self._keep[kind] for kind in BROUGHT) + _LINKS_LONGER,
            "tombstones": 0.0,
        }
        wanted = {kind: int((now - seconds) * 1000) for kind, seconds in kept.items()}
        with self._engine.begin() as connection:
            wait_for_turn(connection, "retention")
            found = {row.kind: row.until_ms for row in connection.execute(select(RETENTION))}
            until = {kind: horizon(found.get(kind), at) for kind, at in wanted.items()}
            connection.execute(delete(RETENTION))
            rows = [{"kind": kind, "until_ms": at} for kind, at in until.items()]
            connection.execute(insert(RETENTION), rows)
        self.overdue = max(wanted[kind] - until[kind] for kind in wanted) / 1000
        return until

    def _delete(self, table: Table, before_ms: int) -> int:
        gone = 0
        while True:
            with self._engine.begin() as connection:
                old = select(table.c.id).where(table.c.at_ms < before_ms).limit(_BATCH)
                found = connection.execute(delete(table).where(table.c.id.in_(old))).rowcount
            gone += found
            if found < _BATCH:
                return gone
