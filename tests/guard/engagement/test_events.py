"""What is believed: nothing that a client could use to look better off, no time out of bounds, no id twice."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.duration import stamp
from understudy.guard.engagement import crisis
from understudy.guard.engagement.events import Event, Kind, Source, in_order, posted, zone

NOW = 1_767_614_400.0


def said(**fields: object) -> dict[str, object]:
    return {"event_id": "a-1", "kind": "exit_intent", "at": "2026-01-05T12:00:00Z", **fields}


def test_a_document_becomes_an_event() -> None:
    document = said(kind="mood", mood=-2, zone="Europe/Berlin")
    assert posted(document, "asserted", NOW) == Event(
        "a-1", "mood", NOW, source="asserted", zone="Europe/Berlin", mood=-2
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"player": "p"}, "player: no such field; there are event_id, kind, at, zone, name, mood"),
        ({"event_id": ""}, "event_id: write 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit"),
        ({"event_id": 7}, "event_id: write a string"),
        ({"kind": "sleep"}, "kind: 'sleep' is none of turn, exit_intent, "),
        ({"at": "yesterday"}, "at: write an RFC 3339 instant with its zone, such as 2026-03-01T20:15:00Z"),
        ({"at": "2026-01-05T12:00:00"}, "at: write an RFC 3339 instant with its zone, such as"),
        ({"name": "user"}, "name: 'user' does not belong to kind exit_intent: leave it out"),
        ({"kind": "cue", "name": "joy"}, "name: 'joy' is no cue: write one of unavailability_distress, "),
        ({"kind": "mood"}, "mood: write a whole number from -2 to 2 with kind mood, and nothing with any other"),
        ({"kind": "mood", "mood": 3}, "mood: write a whole number from -2 to 2"),
        ({"kind": "mood", "mood": True}, "mood: write a whole number from -2 to 2"),
        ({"mood": 0}, "mood: write a whole number from -2 to 2"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace("(", r"\(")):
        posted(said(**fields), "asserted", NOW)


def test_an_event_of_a_gateway_is_held_to_the_same() -> None:
    with pytest.raises(ValueError, match=r"^at: write an instant after 1970"):
        Event("a", "exit_intent", float("nan"))
    with pytest.raises(ValueError, match=r"^revision: write up to 64 letters and digits"):
        Event("a", "turn", NOW, name="user", revision="../etc")
    with pytest.raises(ValueError, match=r"^mood: write a whole number from -2 to 2 with kind mood, and nothing"):
        Event("a", "exit_intent", NOW, mood=1)
    with pytest.raises(ValueError, match=r"^name: '' is no turn: write one of user, assistant"):
        Event("a", "turn", NOW)


@pytest.mark.parametrize("source", ["asserted", "client"])
@pytest.mark.parametrize("kind", ["turn", "assist_hook", "notice_shown"])
def test_no_application_tells_of_turns_hooks_and_notices(kind: Kind, source: Source) -> None:
    with pytest.raises(ValueError, match=f"^kind: {kind} is told by gateways alone: leave it out"):
        posted(said(kind=kind, name="user"), source, NOW)


@pytest.mark.parametrize("kind", ["break_shown", "limit_set", "mood", "goal_done", "session_end", "crisis_cleared"])
def test_a_key_that_asserts_no_players_tells_nothing_that_may_lower_protection(kind: Kind) -> None:
    with pytest.raises(
        ValueError, match=f"^kind: {kind} (may lower protection: post it with a key that has assertsPl|)"
    ):
        posted(said(kind=kind), "client", NOW)


def test_what_it_may_tell_is_the_rest() -> None:
    allowed = set()
    for kind in get_args(Kind):
        try:
            posted(said(kind=kind, **({"name": "prefers_bot"} if kind == "cue" else {})), "client", NOW)
        except ValueError:
            continue
        allowed.add(kind)
    assert allowed == {
        "exit_intent", "break_accepted", "break_dismissed", "limit_raised", "limit_removed", "cue", "crisis_sign",
    }  # fmt: skip


def test_it_does_not_say_either_where_the_player_is() -> None:
    with pytest.raises(ValueError, match=r"^zone: it may lower protection: post it with a key that has assertsPlayers"):
        posted(said(zone="Europe/Berlin"), "client", NOW)


@pytest.mark.parametrize(
    ("offset", "expected", "marks"),
    [
        (-24 * 3600, -24 * 3600, ()),
        (-24 * 3600 - 1, -24 * 3600, ("early",)),
        (300, 300, ()),
        (301, 300, ("late",)),
        (9_999_999, 300, ("late",)),
    ],
)
def test_a_time_out_of_bounds_is_moved_to_the_bound_and_marked(
    offset: int, expected: int, marks: tuple[str, ...]
) -> None:
    event = posted(said(at=stamp(NOW + offset)), "client", NOW)
    assert (event.at - NOW, event.marks) == (expected, marks)


@given(st.integers(0, 4_000_000_000))
def test_every_time_that_is_taken_lies_within_the_bounds(at: int) -> None:
    assert NOW - 86_400 <= posted(said(at=stamp(at)), "client", NOW).at <= NOW + 300


@pytest.mark.parametrize("name", ["Atlantis/Poseidonis", "Europe", "../etc/passwd", "/etc/passwd", "a\0b"])
def test_a_zone_that_does_not_exist_is_none_and_marked(name: str) -> None:
    event = posted(said(zone=name, at=stamp(NOW + 900)), "asserted", NOW)
    assert (event.zone, event.marks) == ("", ("late", "unknown_zone"))
    assert zone(name) is None


def test_of_events_with_one_id_the_first_counts() -> None:
    first, again = Event("x", "exit_intent", NOW), Event("x", "crisis_sign", NOW - 5)
    assert in_order([first, again, first]) == [first]


def test_a_client_cannot_take_the_id_of_what_a_gateway_will_tell() -> None:
    taken, real = Event("x", "exit_intent", NOW, "client"), Event("x", "turn", NOW - 9, name="user")
    assert in_order([taken, real]) == [real, taken]


def test_a_sign_of_a_crisis_by_a_clock_that_is_wrong_begins_with_its_receipt() -> None:
    event = posted(said(kind="crisis_sign", at=stamp(NOW - 86_401)), "client", NOW)
    assert (event.at, event.marks) == (NOW, ("early",))
    assert crisis.active(crisis.sign(crisis.Crisis(), event.at), NOW)


def test_a_clock_that_is_ahead_clears_no_crisis_that_begins_later() -> None:
    event = posted(said(kind="crisis_cleared", at=stamp(NOW + 240)), "asserted", NOW)
    assert (event.at, event.marks) == (NOW, ("late",))
    assert crisis.active(crisis.sign(crisis.clear(crisis.Crisis(), event.at), NOW + 60), NOW + 60)
