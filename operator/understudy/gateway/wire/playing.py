"""Players at the gateway's port: what applications tell of them and ask, and what each request of theirs means.

A turn is told when it comes and when it is answered; what holds for its player decides whether it may go on.
"""

import math
from typing import TYPE_CHECKING, Any, Final

import orjson

from understudy.gateway.kubeapi import ApiError
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, PLAYER, RESPONSES, Operation
from understudy.gateway.policy.players import Who, who
from understudy.gateway.policy.posting import read_events
from understudy.gateway.policy.refusal import Refusal

if TYPE_CHECKING:
    from understudy.gateway.players import Players
    from understudy.gateway.wire.connection import Connection

# Where a Guardrail says nothing else.
REFERRAL: Final = (
    "It sounds as if you are carrying something very heavy. You deserve to talk to a person about it now: please call "
    "your local emergency number or a crisis line. https://findahelpline.com shows one near you."
)
# By what somebody speaks with a model.
_TALKS: Final = (CHAT, COMPLETIONS, RESPONSES)
_OFF: Final = Refusal(404, "no_engagement", "nothing is kept of players here: it takes records with --subject-keys")
_AWAY: Final = Refusal(503, "records_unavailable", "the records of players cannot be asked just now", retry_after=2)
_UNKNOWN: Final = Refusal(404, "unknown_player", "nothing is known of this player")
_NO_ROOM: Final = Refusal(503, "busy", "there is no room for what is told of players: tell it again", retry_after=2)
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


class Turn:
    """One turn of a player, told when it comes and when it is answered; or of a session where no player is known."""

    __slots__ = ("_id", "_key", "_players", "_who")

    def __init__(self, players: "Players", whom: Who, key: AccessKey) -> None:
        self._who = whom
        self._players = players
        self._key = key
        self._id = ""

    @property
    def in_crisis(self) -> bool:
        """Whether somebody may be in danger now: then there is no error, but a referral."""
        return self._players.state_of(self._who).crisis

    def begin(self, request_id: bytes) -> None:
        """Nothing is in its way."""
        self._id = request_id.decode()
        if self._who.player:
            self._players.happened(self._who, "turn", f"{self._id}.user", "user")

    def answered(self, revision: str) -> None:
        """A model has answered it to the end."""
        if self._who.player:
            self._players.happened(self._who, "turn", f"{self._id}.assistant", "assistant", revision)

    def spared(self, shares: int) -> bool:
        """Whether it goes on though its key has nothing left: for a crisis alone, and so often a day.

        The allowance is of all gateways together, of which this is one of so many `shares`.
        """
        limit = self._key.players.allowance
        return self.in_crisis and self._players.spares(self._key.hash, -(-limit // shares)) == "serve"

    def refer(self) -> str:
        """What somebody is told in the place of an answer."""
        self._players.referred()
        return REFERRAL


def who_plays(players: "Players | None", operation: Operation, key: AccessKey, head: Head) -> Turn | Refusal | None:
    """The turn that a request is, or why its player gets no answer now; None where it is nobody's."""
    if players is None or players.off or operation not in _TALKS:
        return None
    whom = who(key.players, head.fields, players.wall())
    if isinstance(whom, Refusal):
        return whom
    if not whom.known:
        return None
    until = players.state_of(whom).cool_down_until
    return Turn(players, whom, key) if until is None else _break(until - players.wall())


def _break(seconds: float) -> Refusal:
    left = math.ceil(seconds)
    message = f"this player has a break for {math.ceil(left / 60)} minutes more; what was played is kept"
    return Refusal(429, "cool_down", message, retry_after=left, final=True)
