"""The link between who is spoken of and the number that rows call him by: found, made, renewed, and erased."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.sql import ColumnElement

from understudy.guard.pseudonyms import SubjectKind
from understudy.records.database import insert_missing, reading, wait_for_turn
from understudy.records.engagement import players
from understudy.records.policy.subjects import Keys, Pseudonym
from understudy.records.schema import ENGAGEMENT, SUBJECTS, TOMBSTONES, VIOLATIONS

# Events of somebody who was erased are still under way for so long, seconds.
TOMBSTONE_SECONDS: Final = 30 * 86_400
# When somebody was seen last need not be known better than that.
_SEEN_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the numbers of somebody and of his sessions, to which no link leads now, and engagement rows.

    By these numbers whoever exported records finds what he has of him.
    """

    subjects: tuple[str, ...]
    engagement: int


@dataclass(slots=True)
class Known:
    """What is known of somebody: when he was erased, and the number by which rows call him; None for neither."""

    erased_at: int | None
    id: str | None


class Finder:
    """Finds by which number rows call somebody, in one transaction, which must have waited for its turn."""

    def __init__(self, connection: Connection, keys: Keys, now: int) -> None:
        self._connection = connection
        self._keys = keys
        self._now = now
        self._known: dict[tuple[SubjectKind, str, str], Known] = {}

    def find(self, kind: SubjectKind, tenant: str, identifier: str, at: float) -> str | None:
        """The number of somebody of whom something is told that happened `at`, made if there is none.

        None if he was erased since: it must not be stored.
        """
        names = self._keys.pseudonyms(kind, tenant, identifier)
        known = self._known.setdefault((kind, tenant, identifier), Known(None, None))
        if known.id is None and known.erased_at is None:
            known.erased_at = self._erased_at(names)
        if known.erased_at is not None and at <= known.erased_at:
            return None
        if known.id is None:
            known.id = self._linked(names) or self._link(kind, names[0])
        return known.id

    def _erased_at(self, names: tuple[Pseudonym, ...]) -> int | None:
        # One whose end has come is obeyed until it is swept: a clock that is ahead must not make them all void.
        stones = select(func.max(TOMBSTONES.c.erased_at)).where(named(TOMBSTONES, names))
        found = self._connection.execute(stones).scalar_one()
        return None if found is None else int(found)

    def _linked(self, names: tuple[Pseudonym, ...]) -> str | None:
        """Whom one of the names leads to; from now on, the first one does."""
        row = self._connection.execute(select(SUBJECTS).where(named(SUBJECTS, names))).first()
        if row is None:
            return None
        newest = names[0]
        if row.key_version != newest.version or row.seen_at < self._now - _SEEN_SECONDS:
            linked = {"key_version": newest.version, "hmac": newest.digest, "seen_at": self._now}
            self._connection.execute(update(SUBJECTS).where(SUBJECTS.c.id == row.id).values(linked))
        return str(row.id)

    def _link(self, kind: SubjectKind, name: Pseudonym) -> str:
        made = secrets.token_hex(16)
        columns = {"id": made, "kind": kind, "key_version": name.version, "hmac": name.digest, "seen_at": self._now}
        self._connection.execute(insert(SUBJECTS).values(columns))
        return made


def erase(engine: Engine, keys: Keys, kind: SubjectKind, tenant: str, identifier: str, now: int) -> Erased:
    """Delete the link to somebody and to his sessions, his engagement rows, and what was kept of findings about him.

    What comes late of him obeys that. What is left of him in other rows are numbers that nothing leads to.
    """
    names = keys.pseudonyms(kind, tenant, identifier)
    with engine.begin() as connection:
        wait_for_turn(connection, "subjects")
        _bury(connection, names, now)
        known = list(connection.execute(select(SUBJECTS.c.id).where(named(SUBJECTS, names))).scalars())
        v = VIOLATIONS.c
        his = select(v.session).where(v.player.in_(known), v.session.is_not(None)).distinct()
        everything = [*known, *connection.execute(his).scalars()]
        links = connection.execute(select(SUBJECTS).where(SUBJECTS.c.id.in_(everything))).all()
        _bury(connection, [Pseudonym(link.key_version, link.hmac) for link in links], now)
        about = or_(*(column.in_(everything) for column in (v.player, v.session, v.key_subject)))
        nothing = {"excerpt": None, "excerpt_hash": None, "evidence_until_ms": None}
        connection.execute(update(VIOLATIONS).where(about).values(nothing))
        gone = connection.execute(delete(ENGAGEMENT).where(ENGAGEMENT.c.subject.in_(everything))).rowcount
        players.forget(connection, everything, now)
        connection.execute(delete(SUBJECTS).where(SUBJECTS.c.id.in_(everything)))
    return Erased(tuple(everything), gone)


def number_of(engine: Engine, keys: Keys, kind: SubjectKind, tenant: str, identifier: str) -> str | None:
    """The number that rows call somebody by; None for nobody who is known."""
    names = keys.pseudonyms(kind, tenant, identifier)
    with reading(engine) as connection:
        return connection.execute(select(SUBJECTS.c.id).where(named(SUBJECTS, names))).scalar()


def versions(engine: Engine) -> dict[int, int]:
    """How many are linked by each secret: one by which nobody is may be thrown away."""
    with engine.begin() as connection:
        by = select(SUBJECTS.c.key_version, func.count()).group_by(SUBJECTS.c.key_version)
        return {int(version): int(count) for version, count in connection.execute(by)}


def forget(engine: Engine, unseen_before: int, now: int) -> None:
    """Delete links to whom nobody has seen since then, and tombstones that have ended."""
    with engine.begin() as connection:
        wait_for_turn(connection, "subjects")
        connection.execute(delete(TOMBSTONES).where(TOMBSTONES.c.ends_at <= now))
        connection.execute(delete(SUBJECTS).where(SUBJECTS.c.seen_at < unseen_before))


def named(table: Table, names: Iterable[Pseudonym]) -> ColumnElement[bool]:
    """Rows of a table that one of these names leads to."""
    return or_(*(and_(table.c.key_version == name.version, table.c.hmac == name.digest) for name in names))


def _bury(connection: Connection, names: Iterable[Pseudonym], now: int) -> None:
    """Have a stone for each name, which says when who is called so was erased last."""
    for name in names:
        stone = {"key_version": name.version, "hmac": name.digest}
        insert_missing(connection, TOMBSTONES, {**stone, "erased_at": now, "ends_at": now})
        ends = {"erased_at": now, "ends_at": now + TOMBSTONE_SECONDS}
        connection.execute(update(TOMBSTONES).where(named(TOMBSTONES, (name,))).values(ends))
