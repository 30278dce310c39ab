"""What applications tell of players: all of it right, or none of it taken."""

from typing import Any

import orjson
import pytest

from understudy.gateway.policy.players import Players, Who
from understudy.gateway.policy.posting import MAX_BODY, MAX_EVENTS, read_events
from understudy.gateway.policy.refusal import Refusal
from understudy.guard.engagement.events import Event

NOW = 1_800_000_000.0
GAME = Players("games", asserts=True)
APP = Players("games")
NOBODY = Who("games", "", "")
EXIT = {"event_id": "e", "kind": "exit_intent", "at": "2027-01-15T08:00:00Z"}


def read(players: Players = GAME, who: Who = NOBODY, **body: Any) -> tuple[Who, list[Event]] | Refusal:
    return read_events(orjson.dumps({"events": [EXIT], **body}), players, who, NOW)


def test_whoever_may_say_so_names_the_player_in_the_body() -> None:
    event = Event("e", "exit_intent", NOW, "asserted")
    assert read(player="anna") == (Who("games", "anna", ""), [event])
    assert read(player="anna", session="evening") == (Who("games", "anna", "evening"), [event])
    assert read(who=Who("games", "berta", "")) == (Who("games", "berta", ""), [event])


def test_what_any_other_key_tells_is_a_clients_and_of_whom_the_request_is() -> None:
    event = Event("e", "exit_intent", NOW, "client")
    assert read(APP, Who("games", "anna", "")) == (Who("games", "anna", ""), [event])
    assert read(APP, session="evening") == (Who("games", "", "evening"), [event])


@pytest.mark.parametrize(
    ("players", "body", "sentence"),
    [
        (GAME, {}, "player: nobody is named"),
        (APP, {"player": "anna"}, "player: send x-player-token: this key's word on players does not count"),
        (GAME, {"player": 7}, "player: want 1 to 128 letters"),
        (GAME, {"session": "a b"}, "session: want 1 to 128 letters"),
        (GAME, {"player": "anna", "luck": 1}, "luck: no such field; there are player, session, events"),
        (GAME, {"player": "anna", "events": []}, "events: want a list of 1 to 100"),
        (GAME, {"player": "anna", "events": {}}, "events: want a list of 1 to 100"),
        (GAME, {"player": "anna", "events": [EXIT] * (MAX_EVENTS + 1)}, "events: want a list of 1 to 100"),
        (GAME, {"player": "anna", "events": [EXIT, 7]}, "events[1]: want an object"),
        (GAME, {"player": "anna", "events": [EXIT, {**EXIT, "kind": "turn"}]}, "events[1].kind: turn is told by"),
        (APP, {"session": "s", "events": [{**EXIT, "kind": "goal_done"}]}, "events[0].kind: goal_done may lower"),
    ],
)
def test_what_is_wrong_is_said(players: Players, body: dict[str, Any], sentence: str) -> None:
    refused = read(players, **body)
    assert isinstance(refused, Refusal)
    assert refused.status == 400
    assert sentence in refused.message


def test_a_body_that_is_none_is_refused() -> None:
    long = read_events(b" " * (MAX_BODY + 1), GAME, NOBODY, NOW)
    assert isinstance(long, Refusal)
    assert long.status == 413
    assert isinstance(read_events(b"[]", GAME, NOBODY, NOW), Refusal)
