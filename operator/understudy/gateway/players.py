"""Where players stand, as this gateway knows it, and what it tells the records of them.

The records judge; a gateway has the last states that it heard of, in memory and in a file, each up to its end. What it
sees itself of somebody in danger holds at once, whether anybody else hears of it or not.
"""

import asyncio
import contextlib
import logging
import math
import os
import random
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

import orjson

from understudy.gateway import kubeapi
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.climbs import Climbs, whom
from understudy.gateway.policy.gauges import Gauges
from understudy.gateway.policy.players import MOST_POSTS, MOST_SIGNS, Pace, Who
from understudy.guard.engagement import crisis as crises
from understudy.guard.engagement.crisis import Allowance, Answer, Crisis, Refusal
from understudy.guard.engagement.events import Event, Kind
from understudy.guard.engagement.state import CALM, SessionState, State, dump, holding, parse
from understudy.guard.ladder import Rung, RungAction
from understudy.guard.pseudonyms import SubjectKind, pseudonym

LOG: Final = logging.getLogger(__name__)
# States that are known at once; beyond that the one that was neither heard of nor asked for longest is forgotten.
MOST: Final = 50_000
_STALE_SECONDS: Final = 20.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_SAVE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.5
_FORM: Final = 1
_CRISES: Final = ".crises.json"
_AT_ONCE: Final = 1000
_SECRET_BYTES: Final = 32
_NONE: Final = Crisis()
_NOTHING: Final = State()
_UNSPENT: Final = Allowance()
_REFUSED: Final[frozenset[Refusal]] = frozenset({"rate", "budget"})


class Players:
    """States of `server`, kept in `file`; events go to `outbox`. `wall` gives Unix seconds.

    Workers of one gateway have files in one folder, `players-0.json` and on; there each learns from the others who may
    be in danger.

    `hurry` has what waits in the outbox sent at once.
    """

    def __init__(
        self,
        server: kubeapi.ApiServer,
        outbox: Outbox,
        file: Path | None = None,
        *,
        wall: Callable[[], float] = time.time,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self.wall = wall
        # How often a second a key may tell of events.
        self.posts = Pace(MOST_POSTS)
        self._signs = Pace(MOST_SIGNS)
        # Whether the records keep nothing of players: then nothing is told of them.
        self.off = False
        self._server = server
        self._outbox = outbox
        self._file = file
        self._hurry = hurry
        self._own = secrets.token_bytes(_SECRET_BYTES) if file is None else _secret(file.with_name("players.secret"))
        self._keys: tuple[bytes, ...] = ()
        self._states: OrderedDict[str, State] = OrderedDict()
        # Crises that this gateway has seen itself, by names that its own secret makes.
        self._crises: OrderedDict[str, Crisis] = OrderedDict()
        self._climbs = Climbs()
        # By key, what of its requests only a crisis let through.
        self._spent: dict[str, Allowance] = {}
        self._referrals = 0
        self._done: OrderedDict[str, None] = OrderedDict()
        self._origin = ""
        self._change = 0
        self._dirty = False
        self._looked_at: dict[Path, int] = {}
        self._heard = float("-inf")
        self._told: dict[str, float] = {"turn": 0, "posted": 0, "sign": 0, "dropped": 0}
        if file is not None:
            _read(file, self._take_states)
            _read(file.with_suffix(_CRISES), self._take_crises)

    # What is known.

    def state_of(self, who: Who) -> SessionState:
        """What holds for a request of `who` now."""
        if not who.known:
            return CALM
        states = []
        for kind, identifier in _called(who):
            state, name = self._state(kind, who.tenant, identifier), pseudonym(self._own, kind, who.tenant, identifier)
            crisis = crises.merged(state.crisis, self._crises.get(name, _NONE))
            states.append(replace(state, crisis=crisis, holds=(*state.holds, *self._climbs.holds(name, state))))
        return holding(states, self.wall())

    @property
    def away(self) -> float:
        """For how many seconds the records have not been heard of."""
        return self.wall() - self._heard

    # What is told.

    def tell(self, who: Who, event: Event, policy: Mapping[str, Any] | None = None) -> bool:
        """Have the records know of an event; whether there was room for it. A sign of danger holds here at once."""
        sign = event.kind in ("crisis_sign", "crisis_cleared")
        if sign:
            self._signal(who, event)
        line = {
            "time": datetime.fromtimestamp(event.at, UTC).isoformat(),
            "tenant": who.tenant,
            "player": who.player or None,
            "session": who.session or None,
            "eventId": event.id,
            "event": event.kind,
            "source": event.source,
            "zone": event.zone,
            "name": event.name,
            "mood": event.mood,
            "revision": event.revision,
            "marks": event.marks,
            "policy": policy,
        }
        # Of one tenant: whoever makes up sessions is not somebody else each time.
        kind: Literal["sign", "engagement"] = "engagement"
        if sign and self._signs.keeps(who.tenant, self.wall()):
            kind = "sign"
        room = self._outbox.put(kind, orjson.dumps(line))
        told = "sign" if sign else "turn" if event.kind == "turn" else "posted"
        self._told[told if room else "dropped"] += 1
        self._hurry()
        return room

    def happened(
        self, who: Who, kind: Kind, identifier: str, name: str = "", revision: str = "", *, policy: Any = None
    ) -> None:
        """Tell of what this gateway saw itself just now."""
        self.tell(who, Event(identifier, kind, self.wall(), "gateway", name=name, revision=revision), policy)

    def found(self, who: Who, rungs: Iterable[Rung]) -> None:
        """A finding that rungs of ladders count; its record tells the records, as soon as may be."""
        # As exactly as the records are told.
        at = math.floor(self.wall() * 1000) / 1000
        for rung in rungs:
            scope = whom(rung.per, who)
            if scope is not None:
                name = pseudonym(self._own, scope[0], who.tenant, scope[1])
                self._climbs.count(name, rung.terms, at, self._state(scope[0], who.tenant, scope[1]))
        self._hurry()

    async def shown(self, who: Who) -> dict[str, Any]:
        """What the records know of a player; raises ApiError and OSError."""
        whom = {"tenant": who.tenant, "identifier": who.player}
        return await kubeapi.request(self._server, "POST", "/v1/engagement/show", whom)

    def spares(self, key: str, limit: int) -> Answer:
        """What a request gets of somebody in a crisis that would be refused: one key's `limit` a day counts here."""
        verdict, self._spent[key] = crises.answer(True, _REFUSED, self._spent.get(key, _UNSPENT), limit, self.wall())
        return verdict

    def did(self, key: str) -> bool:
        """Whether what is done once was done here, lately at least."""
        return key in self._done

    def do(self, key: str) -> None:
        """It is done."""
        self._done[key] = None
        if len(self._done) > MOST:
            self._done.popitem(last=False)

    def referred(self) -> None:
        """Somebody was told where there is help."""
        self._referrals += 1

    # How it is kept up to date.

    async def run(self) -> None:
        """Hear of states until cancelled."""
        beside = [asyncio.ensure_future(self._save_forever()), asyncio.ensure_future(self._look_around_forever())]
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    query = {"after": str(self._change), "origin": self._origin}
                    events = kubeapi.watch(self._server, "/v1/engagement/states", query, _STALE_SECONDS)
                    async for event in events:
                        pause = _FIRST_PAUSE
                        self.hear(event)
                except (OSError, kubeapi.ApiError, KeyError, TypeError, ValueError) as error:
                    if pause == _FIRST_PAUSE:
                        LOG.warning("the records do not tell where players stand: %s", error or type(error).__name__)
                    # Records that have no secret to call anybody by, or are of a version before.
                    self.off = isinstance(error, kubeapi.ApiError) and error.status == 404
                # Many gateways that lost the records at the same moment do not come back at the same moment.
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311  # nobody gains by guessing it
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            for task in beside:
                task.cancel()
            self.save()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take one line of the stream; KeyError, TypeError and ValueError for what is none."""
        self._heard = self.wall()
        kind = event["type"]
        if kind == "HELLO":
            self.off = False
            self._origin = str(event["origin"])
            self._keys = tuple(bytes.fromhex(event["keys"][name]) for name in sorted(event["keys"], key=int)[::-1])
            if event["anew"] is True:
                self._states.clear()
                self._change = 0
        elif kind == "STATE":
            name = str(event["who"])
            self._states.pop(name, None)
            if event["state"] is not None:
                self._states[name] = parse(event["state"])
                if len(self._states) > MOST:
                    self._states.popitem(last=False)
            self._change = int(event["change"])
        self._dirty = self._dirty or kind != "ALIVE"

    def save(self) -> None:
        """Keep what is known for the next start, without what is over."""
        if self._file is None or not self._dirty:
            return
        now = self.wall()
        document = {
            "form": _FORM,
            "origin": self._origin,
            "change": self._change,
            "keys": [key.hex() for key in self._keys],
            "states": {name: dump(state) for name, state in self._states.items() if state.until > now},
        }
        self._dirty = not _write(self._file, document)
        self._save_crises()

    def gauges(self) -> Gauges:
        """What metrics show of it, as `Plane.gauges`."""
        return {
            "understudy_players_known": ("Players and sessions whose state is known here", {"": len(self._states)}),
            "understudy_players_events_total": ("Events of players for the records", dict(self._told)),
            "understudy_crisis_referrals_total": ("Referrals in the place of an answer", {"": self._referrals}),
            "understudy_players_crises": ("Crises that were first seen here", {"": len(self._crises)}),
            "understudy_ladder_holds_total": (
                "What rungs of ladders asked for by what was counted here",
                dict.fromkeys(get_args(RungAction), 0) | self._climbs.due,
            ),
        }

    def _state(self, kind: SubjectKind, tenant: str, identifier: str) -> State:
        for key in self._keys:
            name = pseudonym(key, kind, tenant, identifier)
            found = self._states.get(name)
            if found is not None:
                self._states.move_to_end(name)
                return found
        return _NOTHING

    async def _look_around_forever(self) -> None:
        while True:
            self.look_around()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _save_forever(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            now = self.wall()
            over = [name for name, own in self._crises.items() if not crises.active(own, now)]
            for name in over:
                del self._crises[name]
            self._climbs.tidy(now)
            self.save()

    def _signal(self, who: Who, event: Event) -> None:
        for kind, identifier in _called(who):
            name = pseudonym(self._own, kind, who.tenant, identifier)
            known = self._crises.get(name, _NONE)
            after = crises.sign if event.kind == "crisis_sign" else crises.clear
            self._crises[name] = after(known, event.at)
            self._crises.move_to_end(name)
        while len(self._crises) > MOST:
            self._crises.popitem(last=False)
        self._dirty = True
        # Before the answer: whoever is killed now would otherwise not know of it. Nobody sees so many at once.
        if len(self._crises) <= _AT_ONCE:
            self._save_crises()

    def _save_crises(self) -> None:
        if self._file is not None:
            seen = {name: dump(State(crisis=own)) for name, own in self._crises.items()}
            _write(self._file.with_suffix(_CRISES), {"form": _FORM, "crises": seen})

    def _take_states(self, document: Mapping[str, Any]) -> None:
        keys = tuple(bytes.fromhex(key) for key in document["keys"])
        states = {name: parse(state) for name, state in document["states"].items()}
        self._origin, self._change = str(document["origin"]), int(document["change"])
        self._keys, self._states = keys, OrderedDict(states)

    def _take_crises(self, document: Mapping[str, Any]) -> None:
        seen = {name: parse(state).crisis for name, state in document["crises"].items()}
        for name, crisis in seen.items():
            self._crises[name] = crises.merged(self._crises.get(name, _NONE), crisis)

    def look_around(self) -> None:
        """Learn what the other workers of this gateway have seen of crises."""
        if self._file is None:
            return
        own = self._file.with_suffix(_CRISES)
        for path in self._file.parent.glob(f"players-*{_CRISES}"):
            with contextlib.suppress(FileNotFoundError):
                changed = path.stat().st_mtime_ns
                if path != own and self._looked_at.get(path) != changed:
                    self._looked_at[path] = changed
                    _read(path, self._take_crises)


def _called(who: Who) -> Iterator[tuple[SubjectKind, str]]:
    if who.player:
        yield "player", who.player
    if who.session:
        yield "session", who.session


def _secret(path: Path) -> bytes:
    """The secret of all workers of this gateway, made by the first: by it they call alike whom they have seen."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
        found = path.read_bytes()
    except OSError as error:
        LOG.warning("%s cannot be used: %s", path, error)
        found = b""
    return found if len(found) == _SECRET_BYTES else secrets.token_bytes(_SECRET_BYTES)


def _read(path: Path, take: Callable[[Mapping[str, Any]], None]) -> None:
    """Have taken what a file holds, if there is one and it is of use."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["form"] == _FORM:
            take(document)
    except FileNotFoundError:
        return
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        LOG.warning("%s is of no use: %s", path, error)


def _write(path: Path, document: Mapping[str, Any]) -> bool:
    """Replace the file in one step, readable by its owner alone; whether that went well."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(document))
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        LOG.warning("what is known of players cannot be kept in %s: %s", path, error)
        return False
    return True
