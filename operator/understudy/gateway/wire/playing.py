"""Players at the gateway's port: what applications tell of them and ask, and what each request of theirs means.

A turn is told when it comes and when it is answered; what holds for its player decides whether it may go on.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson

from understudy.gateway.kubeapi import ApiError
from understudy.gateway.policy.climbs import whom as scope_of
from understudy.gateway.policy.guarding import languages, referral
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, PLAYER, RESPONSES, Operation
from understudy.gateway.policy.players import MOST_POSTS, Who, who
from understudy.gateway.policy.posting import read_events
from understudy.gateway.policy.postscript import streamed, takes, whole
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.response_postscript import ResponsePostscript, whole_response
from understudy.gateway.policy.wording import FOUND, REFERRALS, said_in
from understudy.gateway.table import Entry, Routes
from understudy.gateway.wire.watch import session_of
from understudy.guard.engagement.events import Kind
from understudy.guard.engagement.state import SessionState
from understudy.guard.ladder import Hold, Ruling, Rung, window
from understudy.guard.ladder import ruling as ruling_of

if TYPE_CHECKING:
    from understudy.gateway.players import Players
    from understudy.gateway.wire.connection import Connection

# By which an application hears that nothing should keep this player.
SUPPRESS: Final = b"x-understudy-suppress-hooks: true\r\n"
_NOTICE_EVERY: Final = 600
_EVENT_END: Final = b"\n\n"
_DATA: Final = b"data: "
# By what somebody speaks with a model.
_TALKS: Final = (CHAT, COMPLETIONS, RESPONSES)
_OFF: Final = Refusal(404, "no_engagement", "nothing is kept of players here: it takes records with --subject-keys")
_AWAY: Final = Refusal(503, "records_unavailable", "the records of players cannot be asked just now", retry_after=2)
_UNKNOWN: Final = Refusal(404, "unknown_player", "nothing is known of this player")
_NO_ROOM: Final = Refusal(503, "busy", "there is no room for what is told of players: tell it again", retry_after=2)
_TOO_FAST: Final = Refusal(
    429,
    "too_many_events",
    f"a key may tell of events {MOST_POSTS} times a second: tell of several at once",
    retry_after=1,
)
_OTHER: Final = Refusal(403, "not_your_player", "a token lets its own player be asked for alone")


def serve_players(client: "Connection", head: Head, body: bytes | bytearray, key: AccessKey) -> None:
    """Answer what is asked of players, or told."""
    players = client.plane.players
    if players is None or players.off:
        client.refuse(_OFF)
        return
    asking = who(key.players, head.fields, players.wall())
    if isinstance(asking, Refusal):
        client.refuse(asking)
    elif head.target.startswith(PLAYER.path.encode()) and head.method == b"GET":
        name = head.target[len(PLAYER.path) :].decode()
        if asking.player != name and not key.players.asserts:
            client.refuse(_OTHER)
        else:
            client.plane.spawn(_show(client, players, Who(asking.tenant, name, "")))
    else:
        _take(client, players, body, key, asking)


def _take(client: "Connection", players: "Players", body: bytes | bytearray, key: AccessKey, asking: Who) -> None:
    if not players.posts.keeps(key.hash, players.wall()):
        client.refuse(_TOO_FAST)
        return
    found = read_events(body, key.players, asking, players.wall())
    if isinstance(found, Refusal):
        client.refuse(found)
        return
    whom, events = found
    told = [players.tell(whom, event) for event in events]
    if all(told):
        client.answer(202, orjson.dumps({"accepted": len(events)}), b"")
    else:
        client.refuse(_NO_ROOM)


async def _show(client: "Connection", players: "Players", whom: Who) -> None:
    told: dict[str, Any] | Refusal
    try:
        told = await players.shown(whom)
    except ApiError as error:
        told = _UNKNOWN if error.status == 404 else _AWAY
    except OSError:
        told = _AWAY
    if not client.waits:
        return
    if isinstance(told, Refusal):
        client.refuse(told)
    else:
        crisis = players.state_of(whom).crisis
        client.answer(200, orjson.dumps({"player": whom.player, **told, "crisis": crisis}), b"")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the Guardrails of a deployment say: of engagement, None where none says anything, and to whoever asks.

    `referral`, `notice`, `reminder` and `found` are in that person's language. `switch_to` is the served name for
    SwitchModel of a level. `ladder` are the rungs for sessions and players, by key.
    """

    referral: str
    policy: Mapping[str, Any] | None = None
    notice: str = ""
    reminder: str = ""
    switch_to: str = ""
    ladder: Mapping[str, Rung] = field(default_factory=dict)
    found: str = ""


def rules_of(entry: Entry, head: Head) -> Rules:
    """What holds for a request to a deployment, in the language of whoever asks."""
    wanted = languages(head.fields)
    guarding = entry.guarding
    said = None if guarding is None else referral(guarding, tuple(guarding.referrals), wanted)
    refers = said_in(wanted, {}, REFERRALS) if said is None else said.said()
    if guarding is None:
        return Rules(refers)
    policy, words, ladder = guarding.engagement, guarding.wording, guarding.ladder
    found = said_in(wanted, {}, FOUND) if ladder else ""
    if policy is None:
        return Rules(refers, ladder=ladder, found=found)
    texts = (words.notice(wanted), words.reminder(wanted))
    return Rules(refers, policy, *texts, policy.get("switchTo", ""), ladder, found)


@dataclass(frozen=True, slots=True)
class _Note:
    """Something to be said at the end of an answer; the event that tells `who` it was; and what it is done once for."""

    text: str
    kind: Kind
    id: str
    once: str
    who: Who


class Turn:
    """One turn of a player, told when it comes and when it is answered; or of a session where no player is known."""

    __slots__ = ("_id", "_key", "_notes", "_players", "_response", "_rules", "_who", "kept")

    def __init__(self, players: "Players", whom: Who, key: AccessKey, rules: Rules) -> None:
        self._who = whom
        self._players = players
        self._key = key
        self._rules = rules
        # Why a rung of a ladder keeps it from every model, if one does.
        self.kept: Refusal | None = None
        self._id = ""
        # What is to be said at the end of the answer, and how, where that is a response.
        self._notes: list[_Note] = []
        self._response: ResponsePostscript | None = None

    @property
    def who(self) -> Who:
        """Who it is of."""
        return self._who

    @property
    def switches_to(self) -> tuple[str, ...]:
        """The served name that is to answer for the player's level in the place of the one asked for, if one is."""
        switches = self._rules.switch_to and self._players.state_of(self._who).switch_model
        return (self._rules.switch_to,) if switches else ()

    def ruling(self, entry: Entry) -> Ruling:
        """What rungs ask for where this deployment is asked."""
        ladder = {} if entry.guarding is None else entry.guarding.ladder
        return _ruling(self._players.state_of(self._who), ladder)

    def left(self, hold: Hold) -> float:
        """For how many seconds more something holds."""
        return hold.until - self._players.wall()

    def open_to(self, names: Iterable[str], routes: Routes) -> tuple[str, ...]:
        """Those of some served names that no rung keeps from this turn."""
        entries = ((name, routes.names.get(name)) for name in names)
        return tuple(name for name, entry in entries if entry is not None and not self._kept_from(entry))

    def _kept_from(self, entry: Entry) -> bool:
        ruling = self.ruling(entry)
        elsewhere = ruling.rung is not None and ruling.rung.to not in entry.names
        return ruling.says("CoolDown") or (ruling.says("SwitchModel") and elsewhere)

    @property
    def in_crisis(self) -> bool:
        """Whether somebody may be in danger now: then there is no error, but a referral."""
        return self._players.state_of(self._who).crisis

    @property
    def rests(self) -> Refusal | None:
        """Why its player gets no answer now: a break that is on, and no crisis; or a rung that leads nowhere."""
        if self.kept is not None:
            return self.kept
        state = self._players.state_of(self._who)
        ruling = _ruling(state, self._rules.ladder)
        until = max(state.cool_down_until or 0.0, ruling.hold.until if ruling.says("CoolDown") else 0.0)
        return break_of(until - self._players.wall()) if until else None

    def begin(self, request_id: bytes, operation: Operation, document: Mapping[str, Any]) -> bytes:
        """Nothing is in its way. Header lines for its answer."""
        self._id = request_id.decode()
        if self._who.player:
            self._players.happened(self._who, "turn", f"{self._id}.user", "user", policy=self._rules.policy)
        state = self._players.state_of(self._who)
        ruling = _ruling(state, self._rules.ladder)
        if takes(operation, document):
            self._notes = self._due(state, ruling)
            if self._notes and operation is RESPONSES:
                self._response = ResponsePostscript(self._text())
        return SUPPRESS if state.suppress_hooks or ruling.says("SuppressHooks") else b""

    def sign(self) -> None:
        """A Guardrail has seen in what they said that they may be in danger."""
        self._players.happened(self._who, "crisis_sign", str(uuid4()))

    def answered(self, revision: str) -> None:
        """A model has answered it to the end."""
        if self._who.player:
            self._players.happened(self._who, "turn", f"{self._id}.assistant", "assistant", revision)

    def _due(self, state: SessionState, ruling: Ruling) -> list["_Note"]:
        who, rules, notes = self._who, self._rules, []
        if who.player and rules.policy is not None:
            notes += [_Note(rules.reminder, "break_shown", one.key, one.key, who) for one in state.reminders]
            if state.notice:
                # Until the records have heard that it was shown it is due again: for a second, or while they are away.
                lately = f"{who.tenant}/{who.player} {self._players.wall() // _NOTICE_EVERY}"
                notes.append(_Note(rules.notice, "notice_shown", f"{self._id}.notice", lately, who))
        if ruling.rung is not None and ruling.says("Remind"):
            shown = window(ruling.rung.terms, ruling.hold.since)
            # Who it counts for is to hear that it was shown.
            kind, name = scope_of(ruling.rung.per, who) or ("session", "")
            named = replace(who, player="") if kind == "session" else who
            once = f"{who.tenant}/{name} {shown}"
            notes.append(_Note(rules.found, "break_shown", shown, once, named))
        return [note for note in notes if not self._players.did(note.once)]

    def streamed(self, events: bytes) -> bytes:
        """Events on their way to the client, with what is to be said before the one that ends the answer.

        Nothing goes out for some that wait for the next.
        """
        if not self._notes:
            return events
        out = []
        for event in events.split(_EVENT_END):
            payload = event.partition(_DATA)[2]
            if self._notes and payload.startswith(b"{"):
                out += self._with_notes(event, orjson.loads(payload))
            else:
                out.append(event)
        return _EVENT_END.join(out)

    def held(self) -> bytes:
        """Events that wait for one that does not come any more."""
        return b"" if self._response is None else b"".join(_named(each) + _EVENT_END for each in self._response.rest())

    def _with_notes(self, event: bytes, said: dict[str, Any]) -> list[bytes]:
        """What goes out for one event."""
        if self._response is not None:
            out = [_named(each) for each in self._response.event(said)]
            if self._response.done:
                self._shown()
            return out
        instead = streamed(said, self._text())
        if instead is None:
            return [event]
        self._shown()
        return [_DATA + orjson.dumps(each) for each in instead]

    def whole(self, body: bytes) -> bytes:
        """A whole answer with what is to be said at its end."""
        if not self._notes:
            return body
        answer = orjson.loads(body)
        put = whole if self._response is None else whole_response
        if not put(answer, self._text()):
            return body
        self._shown()
        return orjson.dumps(answer)

    def _text(self) -> str:
        return "\n\n".join(note.text for note in self._notes)

    def _shown(self) -> None:
        notes, self._notes = self._notes, []
        for note in notes:
            self._players.do(note.once)
            self._players.happened(note.who, note.kind, note.id)

    def spared(self, shares: int) -> bool:
        """Whether it goes on though its key has nothing left: for a crisis alone, and so often a day.

        The allowance is of all gateways together, of which this is one of so many `shares`.
        """
        limit = self._key.players.allowance
        return self.in_crisis and self._players.spares(self._key.hash, -(-limit // shares)) == "serve"

    @property
    def referral(self) -> str:
        """What somebody in a crisis is told in the place of an error."""
        return self._rules.referral


def who_plays(
    players: "Players | None",
    operation: Operation,
    key: AccessKey,
    head: Head,
    entry: Entry,
    document: Mapping[str, Any],
) -> Turn | Refusal | None:
    """The turn that a request to a deployment is, or why it is not known whose; None where it is nobody's."""
    if players is None or players.off or operation not in _TALKS:
        return None
    whom = who(key.players, head.fields, players.wall())
    if isinstance(whom, Refusal):
        return whom
    rules = rules_of(entry, head)
    if rules.ladder and not whom.session:
        # Rungs count for the conversation where nobody names a session.
        whom = replace(whom, session=session_of(entry, operation, document, head.fields, key.hash))
    return Turn(players, whom, key, rules) if whom.known else None


def _named(event: dict[str, Any]) -> bytes:
    """An event of a response, without its end."""
    return b"event: %b\n%b%b" % (event["type"].encode(), _DATA, orjson.dumps(event))


def _ruling(state: SessionState, ladder: Mapping[str, Rung]) -> Ruling:
    return ruling_of(state.holds, ladder, in_crisis=state.crisis)


def break_of(seconds: float) -> Refusal:
    """What a player is told who has a break for so long."""
    left = max(1, math.ceil(seconds))
    message = f"this player has a break for {math.ceil(left / 60)} minutes more; what was played is kept"
    return Refusal(429, "cool_down", message, retry_after=left, final=True)
