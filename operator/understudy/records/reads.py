"""Records that are read: page by page, by when they happened, and by what is asked for.

A page ends at a row and not at a number of rows, so that what comes while somebody reads neither repeats a record nor
leaves one out. Each page is a transaction of its own that writes nothing: the longest list keeps nobody waiting.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, case, or_, select

from understudy.records.database import reading
from understudy.records.policy.pages import Cursor, parse_cursor
from understudy.records.schema import SUBJECTS
from understudy.records.shown import Kind

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `equal` are values that columns must have, `least` what they must have at least.

    `namespace` and `deployment` are of whom it is told, `subject` is a number of somebody; "" is everybody. From
    `since_ms` on, and before `until_ms`; `after` is the last row that is known.
    """

    namespace: str = ""
    deployment: str = ""
    subject: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    equal: dict[str, str] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)
    after: Cursor | None = None
    oldest_first: bool = False


def page(engine: Engine, kind: Kind, wanted: Wanted, limit: int = PAGE) -> list[dict[str, Any]]:
    """The next `limit` records of a kind that are asked for, as they are shown.

    Raises sqlalchemy.exc.SQLAlchemyError.
    """
    t = kind.table.c
    shown = [_linked(column) if column.name in kind.subjects else column for column in kind.columns()]
    order = (t.at_ms, t.id) if wanted.oldest_first else (t.at_ms.desc(), t.id.desc())
    question = select(*shown, t.at_ms).where(*_conditions(kind, wanted)).order_by(*order).limit(limit)
    with reading(engine) as connection:
        rows = connection.execute(question).all()
    names = kind.names()
    found = []
    for *values, number, at_ms in rows:
        record = {"cursor": str(Cursor(at_ms, number))}
        for (name, write), value in zip(names.items(), values, strict=True):
            record[name] = value if write is None else write(value)
        found.append(record)
    return found


def pages(engine: Engine, kind: Kind, wanted: Wanted) -> Iterator[list[dict[str, Any]]]:
    """All records that are asked for, a page at a time; raises sqlalchemy.exc.SQLAlchemyError."""
    while found := page(engine, kind, wanted):
        yield found
        if len(found) < PAGE:
            return
        wanted = replace(wanted, after=parse_cursor(found[-1]["cursor"]))


def _linked(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The number of somebody, and nothing if no link leads to it any more."""
    link = select(SUBJECTS.c.id).where(SUBJECTS.c.id == column).exists()
    return case((link, column), else_=None)


def _conditions(kind: Kind, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    t = kind.table.c
    if wanted.deployment:
        yield t.deployment == f"{wanted.namespace}/{wanted.deployment}"
    elif wanted.namespace:
        yield t.deployment.startswith(f"{wanted.namespace}/", autoescape=True)
    if wanted.subject:
        yield or_(*(t[name] == wanted.subject for name in kind.subjects))
        yield select(SUBJECTS.c.id).where(SUBJECTS.c.id == wanted.subject).exists()
    if wanted.since_ms is not None:
        yield t.at_ms >= wanted.since_ms
    if wanted.until_ms is not None:
        yield t.at_ms < wanted.until_ms
    for name, value in wanted.equal.items():
        yield t[name] == value
    for name, least in wanted.least.items():
        yield t[name] >= least
    if wanted.after is not None:
        at, number = wanted.after.at_ms, wanted.after.id
        if wanted.oldest_first:
            yield and_(t.at_ms >= at, or_(t.at_ms > at, t.id > number))
        else:
            yield and_(t.at_ms <= at, or_(t.at_ms < at, t.id < number))
