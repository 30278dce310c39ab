"""What applications tell of players: the body of `POST /v1/engagement/events`, read."""

from dataclasses import replace
from typing import Any, Final

from understudy.gateway.policy.document import read_object
from understudy.gateway.policy.players import Players, Who, is_player
from understudy.gateway.policy.refusal import Refusal, bad_request
from understudy.guard.engagement.events import Event, posted

MAX_EVENTS: Final = 100
MAX_BODY: Final = 64 * 1024


def read_events(
    body: bytes | bytearray, players: Players, who: Who, received: float
) -> tuple[Who, list[Event]] | Refusal:
    """Of whom it tells, and what. The request is of `who`; a key with `assertsPlayers` may say so in the body, too.

    One event that is wrong has all of them refused: who tells again tells all again, and each counts once.
    """
    if len(body) > MAX_BODY:
        return Refusal(413, "too_large", f"the body has {len(body)} bytes, {MAX_BODY} at most are taken", final=True)
    document = read_object(body)
    if isinstance(document, Refusal):
        return document
    if unknown := sorted(set(document) - {"player", "session", "events"}):
        return bad_request(f"{unknown[0][:64]}: no such field; there are player, session, events", unknown[0][:64])
    named = _named(document, players, who)
    if isinstance(named, Refusal):
        return named
    events = document.get("events")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        return bad_request(f"events: want a list of 1 to {MAX_EVENTS}", "events")
    found = []
    for number, event in enumerate(events):
        if not isinstance(event, dict):
            return bad_request(f"events[{number}]: want an object", "events")
        try:
            found.append(posted(event, "asserted" if players.asserts else "client", received))
        except ValueError as error:
            return bad_request(f"events[{number}].{error}", "events")
    return named, found


def _named(document: dict[str, Any], players: Players, who: Who) -> Who | Refusal:
    for field, name in (("player", document.get("player")), ("session", document.get("session"))):
        if name is None:
            continue
        if not isinstance(name, str) or not is_player(name.encode()):
            return bad_request(f"{field}: want 1 to 128 letters, digits and . _ ~ : @ + = -", field)
        if field == "player" and not players.asserts:
            return bad_request("player: send x-player-token: this key's word on players does not count", field)
        who = replace(who, player=name) if field == "player" else replace(who, session=name)
    if not who.known:
        return bad_request("player: nobody is named: send x-player-token, x-player-id or x-session-id", "player")
    return who
