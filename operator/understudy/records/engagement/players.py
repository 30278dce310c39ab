"""Rows of players, their policies and what was done for them: met, read, written and forgotten.

Every transaction that changes them has waited for its turn among those of subjects, so changes have numbers in the
order in which they can be seen, and who was erased is not written again.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlalchemy.engine import Row

from understudy.domain.duration import retention
from understudy.guard.engagement.events import Event
from understudy.guard.engagement.interventions import Intervention
from understudy.guard.engagement.player import LATENESS, Player, advance
from understudy.guard.engagement.policy import Level, Policy, policy_of
from understudy.guard.engagement.standing import Standing
from understudy.guard.engagement.state import Reminder, State, dump, parse
from understudy.guard.ladder import Terms, parse_terms
from understudy.records.database import insert_missing
from understudy.records.policy.subjects import Pseudonym
from understudy.records.schema import ENGAGEMENT, INTERVENTIONS, PLAYERS, POLICIES, PROGRESS, SUBJECTS

LOG: Final = logging.getLogger(__name__)
# Which rules a log was folded by. A version that folds the same log to something else has the next number, and folds
# every player anew: tests/records/engagement/test_fold.py tells when that is so.
FOLD: Final = 2
_STANDING: Final = TypeAdapter(Standing)
_NEVER: Final = -1e18
_DAY: Final = 86_400
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """A player as folded up to some event, by which policy."""

    subject: str
    who: str
    policy_hash: str
    policy: Policy
    player: Player


@dataclass(frozen=True, slots=True)
class Saved:
    """A player as kept: `player` has what is settled, `events` are the others."""

    subject: str
    who: str
    policy_hash: str
    policy: Policy
    player: Player
    events: tuple[Event, ...]

    def fold(self, now: float) -> Known:
        """Where it leads to."""
        player = advance(self.player, self.events, self.policy, now).player
        return Known(self.subject, self.who, self.policy_hash, self.policy, player)


@dataclass(frozen=True, slots=True)
class Change:
    """What gateways are to be told: who is in which state, None for one who was erased."""

    number: int
    who: str
    state: State | None


def meet(connection: Connection, subject: str, name: Pseudonym) -> None:
    """Have a row for somebody, who is called `name` by gateways."""
    empty = {"fold": 0, "settled": "", "horizon": _NEVER, "level": 0, "state": "", "change": 0}
    called = {"who": name.digest, "key_version": name.version}
    if insert_missing(connection, PLAYERS, {"subject": subject, **called, **empty}):
        return
    row = connection.execute(select(PLAYERS.c.key_version).where(PLAYERS.c.subject == subject)).one()
    if row.key_version != name.version:
        number = next_change(connection) if _told(connection, subject) else 0
        connection.execute(update(PLAYERS).where(PLAYERS.c.subject == subject).values(**called, change=number))


def know(connection: Connection, document: Mapping[str, Any]) -> str:
    """Keep a policy; what it is called."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    insert_missing(connection, POLICIES, {"hash": digest, "document": text})
    return digest


def policy(connection: Connection, digest: str | None) -> Policy:
    """The policy that is called so; the legal one, which asks for nothing, if nobody has told of any."""
    if not digest:
        return Policy()
    document = connection.execute(select(POLICIES.c.document).where(POLICIES.c.hash == digest)).scalar_one()
    return policy_of(json.loads(document))


def forget(connection: Connection, subjects: Sequence[str], now: float) -> None:
    """Forget where somebody stands, and have gateways told to: those that are away may hear of it for a day."""
    connection.execute(delete(INTERVENTIONS).where(INTERVENTIONS.c.subject.in_(subjects)))
    for subject in subjects:
        empty = {
            "settled": "",
            "horizon": _NEVER,
            "fold": 0,
            "level": 0,
            "state": "",
            "look_ms": int((now + _DAY) * 1000),
        }
        here = PLAYERS.c.subject == subject
        if connection.execute(select(PLAYERS.c.subject).where(here)).first() is not None:
            connection.execute(update(PLAYERS).where(here).values(**empty, change=next_change(connection)))


def read(connection: Connection, subject: str, folded: int, now: float) -> Saved | None:
    """What there is to know a player by, of events up to the one numbered `folded`; None for one who was erased."""
    row = connection.execute(select(PLAYERS).where(PLAYERS.c.subject == subject)).first()
    if row is None:
        return None
    standing, horizon = Standing(), _NEVER
    if row.fold == FOLD:
        try:
            standing, horizon = _STANDING.validate_json(row.settled), row.horizon
        except ValidationError:
            LOG.warning("a player is folded anew: what was kept of him cannot be read")
    found = connection.execute(select(INTERVENTIONS).where(INTERVENTIONS.c.subject == subject))
    issued = {(one.rule, one.window): one.until_ms / 1000 for one in found if one.until_ms / 1000 > now - LATENESS}
    return Saved(
        subject,
        row.who,
        row.policy or "",
        policy(connection, row.policy),
        Player(standing, standing=standing, issued=issued),
        tuple(log(connection, subject, folded, horizon)),
    )


def log(connection: Connection, subject: str, folded: int, since: float = _NEVER) -> list[Event]:
    """Events up to the one numbered `folded` that did not happen before `since`, as they were told."""
    e = ENGAGEMENT.c
    found = select(ENGAGEMENT).where(e.subject == subject, e.id <= folded)
    if since > _NEVER:
        # A millisecond more: which of two numbers that hardly differ is the greater is for the rules to say.
        found = found.where(e.at_ms >= int(since * 1000) - 1)
    return [one for one in map(event_of, connection.execute(found.order_by(e.id))) if one.at >= since]


def event_of(row: Row[Any]) -> Event:
    """The event of a row."""
    marks = cast("Any", tuple(mark for mark in row.marks.split(",") if mark))
    terms = None if row.terms is None else parse_terms(json.loads(row.terms))
    what = (row.event_id, row.event, row.at_ms / 1000, row.source, row.zone, row.name, row.mood, row.revision)
    return Event(*what, marks, terms)


def write(connection: Connection, known: Known, level: Level, state: State, look: float | None, *, whole: bool) -> bool:
    """Keep where a player stands, and tell gateways if that is new to them; with `whole` what was folded, too.

    False for one who was erased meanwhile: then nothing is kept.
    """
    here = PLAYERS.c.subject == known.subject
    row = connection.execute(select(PLAYERS.c.state).where(here)).first()
    if row is None or connection.execute(select(SUBJECTS.c.id).where(SUBJECTS.c.id == known.subject)).first() is None:
        return False
    said = json.dumps(dump(state), sort_keys=True, separators=(",", ":"))
    values: dict[str, Any] = {
        "policy": known.policy_hash or None,
        "level": level,
        "look_ms": None if look is None else int(look * 1000),
    }
    if said != row.state:
        values |= {"state": said, "change": next_change(connection)}
    if whole:
        # Python's own reader and writer of JSON know infinity.
        settled = json.dumps(_STANDING.dump_python(known.player.settled, mode="json"))
        values |= {"fold": FOLD, "settled": settled, "horizon": max(known.player.horizon, _NEVER)}
    connection.execute(update(PLAYERS).where(here).values(values))
    return True


def was_shown(connection: Connection, subject: str, reminder: Reminder | None) -> bool:
    """Whether a gateway has told that it showed the reminder."""
    if reminder is None:
        return False
    e = ENGAGEMENT.c
    found = select(e.id).where(e.subject == subject, e.event_id == reminder.key, e.source == "gateway")
    return connection.execute(found).first() is not None


def hand_out(connection: Connection, subject: str, interventions: Iterable[Intervention]) -> None:
    """Keep what is done for somebody, so that it is done once."""
    for one in interventions:
        row = {"once": one.key(subject), "subject": subject, "rule": one.rule, "level": one.level, "window": one.window}
        times = {"at_ms": int(one.at * 1000), "until_ms": int(one.until * 1000)}
        insert_missing(connection, INTERVENTIONS, {**row, **times, **_asked_by(one.terms)})


def _asked_by(terms: Terms | None) -> dict[str, Any]:
    if terms is None:
        return {}
    return {"guardrail": terms.guardrail, "rule_number" if terms.rule else "rung": terms.number}


def revise(connection: Connection, subject: str, due: Iterable[Intervention]) -> None:
    """Keep up to when what rungs of ladders ask for goes on, or went."""
    i = INTERVENTIONS.c
    for one in due:
        if one.terms is not None:
            until = int(one.until * 1000)
            other = (i.once == one.key(subject), i.until_ms != until)
            connection.execute(update(INTERVENTIONS).where(*other).values(until_ms=until))


def next_change(connection: Connection) -> int:
    """The number of a change that is being made."""
    connection.execute(update(PROGRESS).values(change=PROGRESS.c.change + 1))
    return int(connection.execute(select(PROGRESS.c.change)).scalar_one())


def changes(connection: Connection, after: int, most: int) -> list[Change]:
    """The oldest changes after the one numbered `after`; of somebody who has changed twice, the last."""
    found = select(PLAYERS).where(PLAYERS.c.change > after).order_by(PLAYERS.c.change).limit(most)
    return [
        Change(int(row.change), str(row.who), parse(json.loads(row.state)) if row.state else None)
        for row in connection.execute(found)
    ]


def due(connection: Connection, now: float, most: int) -> list[str]:
    """Who is to be looked at again by now."""
    found = select(PLAYERS.c.subject).where(PLAYERS.c.look_ms <= int(now * 1000)).limit(most)
    return list(connection.execute(found).scalars())


def forget_sooner(engine: Engine, now: float) -> int:
    """Delete events of players whose policy has them kept for less long than all others; how many there were."""
    with engine.begin() as connection:
        said = {row.hash: json.loads(row.document).get("ttl") for row in connection.execute(select(POLICIES))}
    return sum(_forget(engine, digest, now - retention(ttl)) for digest, ttl in said.items() if ttl is not None)


def _forget(engine: Engine, digest: str, before: float) -> int:
    """Some at a time, so that nobody waits long."""
    gone = 0
    while True:
        with engine.begin() as connection:
            whose = select(PLAYERS.c.subject).where(PLAYERS.c.policy == digest)
            old = ENGAGEMENT.c.subject.in_(whose) & (ENGAGEMENT.c.at_ms < int(before * 1000))
            some = select(ENGAGEMENT.c.id).where(old).limit(_BATCH)
            found = connection.execute(delete(ENGAGEMENT).where(ENGAGEMENT.c.id.in_(some))).rowcount
        gone += found
        if found < _BATCH:
            return gone


def sweep(connection: Connection, before: float, now: float) -> None:
    """Delete rows of those who are linked no more, and what was done before then."""
    unlinked = ~select(SUBJECTS.c.id).where(SUBJECTS.c.id == PLAYERS.c.subject).exists()
    quiet = PLAYERS.c.look_ms.is_(None) | (PLAYERS.c.look_ms <= int(now * 1000))
    connection.execute(delete(PLAYERS).where(unlinked, quiet))
    connection.execute(delete(INTERVENTIONS).where(INTERVENTIONS.c.until_ms < int(before * 1000)))


def levels(connection: Connection) -> dict[int, int]:
    """How many players are at each level."""
    by = select(PLAYERS.c.level, func.count()).where(PLAYERS.c.state != "").group_by(PLAYERS.c.level)
    return {int(level): int(count) for level, count in connection.execute(by)}


def _told(connection: Connection, subject: str) -> bool:
    return bool(connection.execute(select(PLAYERS.c.state).where(PLAYERS.c.subject == subject)).scalar_one())
