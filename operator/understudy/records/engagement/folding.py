"""Folds what comes to the log into where each player stands, one batch after the other, each event once.

Beside the storing of events, which must not wait for it: whoever stores holds the database.
"""

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Engine, select, update
from sqlalchemy.engine import Row

from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.levels import Assessment
from understudy.guard.engagement.player import Advance, advance, anew
from understudy.guard.engagement.policy import LEVELS
from understudy.guard.engagement.standing import judged
from understudy.guard.engagement.state import LOOKED_AT, State, told
from understudy.records.database import wait_for_turn
from understudy.records.engagement import players
from understudy.records.engagement.players import Known
from understudy.records.policy.subjects import Keys
from understudy.records.schema import ENGAGEMENT, PLAYERS, PROGRESS, SUBJECTS
from understudy.records.subjects import named
from understudy.telemetry.records import RecordsMetrics

_BATCH: Final = 500
# Players who are not read anew for their next event, of some hundred kilobytes each.
_REMEMBERED: Final = 500
# Of so many events that were folded since, a player is folded when he is read: a tenth of a second.
_UNSAVED: Final = 250


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show of a player: where he stands, what gateways are told, and what was done lately."""

    assessment: Assessment
    state: State
    done: tuple[Intervention, ...]
    policy_hash: str


@dataclass(slots=True)
class _Work:
    """One player of a batch."""

    known: Known
    fresh: tuple[Intervention, ...] = ()


class Folding:
    """All of a database. `clock` gives Unix seconds; methods may be called from any thread.

    Methods raise sqlalchemy.exc.SQLAlchemyError when the database fails, and then nothing has changed.
    """

    def __init__(self, engine: Engine, keys: Keys, clock: Callable[[], float], metrics: RecordsMetrics) -> None:
        self._metrics = metrics
        self._engine = engine
        self._keys = keys
        self._clock = clock
        self._turn = threading.Lock()
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._unsaved: Counter[str] = Counter()

    def step(self) -> int:
        """Fold the next events; how many there were."""
        with self._turn:
            return self._step(self._clock())

    def look(self) -> int:
        """Judge anew those whose level may have gone down by itself, one batch of them; how many there were."""
        with self._turn:
            now = self._clock()
            with self._engine.begin() as connection:
                folded = _folded(connection)
                whom = players.due(connection, now, _BATCH)
                found = [self._read(connection, subject, folded, now) for subject in whom]
                counts = players.levels(connection)
            for level in LEVELS:
                self._metrics.players.labels(f"L{level}").set(counts.get(level, 0))
            works = [_Work(known if isinstance(known, Known) else known.fold(now)) for known in found if known]
            self._write(works, now, None)
            return len(whom)

    def show(self, kind: Any, tenant: str, identifier: str) -> Shown | None:
        """Where somebody stands; None if nothing is known of him."""
        now = self._clock()
        with self._turn:
            with self._engine.begin() as connection:
                names = self._keys.pseudonyms(kind, tenant, identifier)
                subject = connection.execute(select(SUBJECTS.c.id).where(named(SUBJECTS, names))).scalar()
                if subject is None:
                    return None
                found = self._read(connection, subject, _folded(connection), now)
            if found is None:
                return None
            known = found if isinstance(found, Known) else found.fold(now)
        standing = known.player.standing
        assessment = judged(standing, known.policy, now)
        return Shown(assessment, told(standing, known.policy, subject, now), standing.due, known.policy_hash)

    def _step(self, now: float) -> int:
        with self._engine.begin() as connection:
            folded = _folded(connection)
            rows = list(
                connection.execute(
                    select(ENGAGEMENT).where(ENGAGEMENT.c.id > folded).order_by(ENGAGEMENT.c.id).limit(_BATCH)
                )
            )
            news: dict[str, list[Row[Any]]] = defaultdict(list)
            for row in rows:
                news[row.subject].append(row)
            found = {subject: self._read(connection, subject, folded, now) for subject in news}
            asked = {row.policy for row in rows if row.policy}
            policies = {digest: players.policy(connection, digest) for digest in asked}
        if not rows:
            return 0
        works = []
        for subject, known in found.items():
            # One who was erased meanwhile has no row, and his events are going.
            if known is not None:
                before = known if isinstance(known, Known) else known.fold(now)
                works.append(self._advanced(before, news[subject], policies, rows[-1].id, now))
        self._write(works, now, rows[-1].id)
        self._metrics.folded.inc(len(rows))
        return len(rows)

    def _advanced(self, known: Known, rows: list[Row[Any]], policies: dict[str, Any], last: int, now: float) -> _Work:
        events = [players.event_of(row) for row in rows]
        by = next((row.policy for row in reversed(rows) if row.policy), known.policy_hash)
        found: Advance | None = None
        if by == known.policy_hash:
            found = advance(known.player, events, known.policy, now)
        else:
            known = replace(known, policy_hash=by, policy=policies[by])
        if found is None or found.refused:
            # Another policy, or something that comes so late that it was already folded over.
            with self._engine.begin() as connection:
                log = players.log(connection, known.subject, last)
            self._metrics.anew.inc()
            self._unsaved[known.subject] = _UNSAVED
            found = anew(known.player, log, known.policy, now)
        self._unsaved[known.subject] += len(events)
        return _Work(replace(known, player=found.player), found.interventions)

    def _write(self, works: list[_Work], now: float, folded: int | None) -> None:
        """Keep what came of them, and up to which event that was."""
        told_to = [(work, judged(work.known.player.standing, work.known.policy, now).level) for work in works]
        saved = {work.known.subject for work in works if self._unsaved[work.known.subject] > _UNSAVED}
        gone, done = set(), Counter[str]()
        with self._engine.begin() as connection:
            wait_for_turn(connection, "subjects")
            for work, level in told_to:
                known = work.known
                state = told(known.player.standing, known.policy, known.subject, now)
                if players.was_shown(connection, known.subject, state.reminder):
                    state = replace(state, reminder=None)
                look = now + LOOKED_AT if level else None
                if players.write(connection, known, level, state, look, whole=known.subject in saved):
                    players.hand_out(connection, known.subject, work.fresh)
                    players.revise(connection, known.subject, known.player.standing.due)
                    done.update(one.rule for one in work.fresh)
                else:
                    gone.add(known.subject)
            if folded is not None:
                connection.execute(update(PROGRESS).values(folded=folded))
        for rule, count in done.items():
            self._metrics.interventions.labels(rule).inc(count)
        for work in works:
            self._remember(work.known, forget=work.known.subject in gone)
        for subject in saved:
            self._unsaved[subject] = 0

    def _read(self, connection: Any, subject: str, folded: int, now: float) -> "Known | players.Saved | None":
        here = connection.execute(select(PLAYERS.c.subject).where(PLAYERS.c.subject == subject)).first()
        if here is None:
            self._known.pop(subject, None)
            return None
        known = self._known.get(subject)
        if known is not None:
            return known
        saved = players.read(connection, subject, folded, now)
        self._unsaved[subject] = 0 if saved is None else len(saved.events)
        return saved

    def _remember(self, known: Known, *, forget: bool) -> None:
        self._known.pop(known.subject, None)
        if forget:
            del self._unsaved[known.subject]
            return
        self._known[known.subject] = known
        if len(self._known) > _REMEMBERED:
            self._unsaved.pop(self._known.popitem(last=False)[0], None)


def _folded(connection: Any) -> int:
    return int(connection.execute(select(PROGRESS.c.folded)).scalar_one())
