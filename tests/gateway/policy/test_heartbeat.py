"""What a stream's first event says of who answers, where the head could not."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.events import EventSplitter
from understudy.gateway.policy.heartbeat import HEARTBEAT, introduced

WHO = {"revision": "a90b1234", "track": "canary"}
# Texts that look like ends and beginnings of events.
JSON = st.dictionaries(
    st.text(max_size=5), st.text(st.sampled_from('}\n{"a:,d\\ '), max_size=12) | st.booleans(), min_size=1, max_size=4
)


def events(*payloads: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % payload for payload in payloads)


def told_by(given_: bytes, fallback: str = "") -> bytes:
    return introduced(given_, WHO["revision"], WHO["track"], fallback)


def test_a_heartbeat_is_no_event() -> None:
    assert EventSplitter().feed(HEARTBEAT) == []
    assert HEARTBEAT.endswith(b"\n\n")


@given(first=JSON, second=JSON)
def test_the_first_event_alone_says_who_answers_and_nothing_else_changes(
    first: dict[str, object], second: dict[str, object]
) -> None:
    given_ = events(orjson.dumps(first), orjson.dumps(second), b"[DONE]")
    told = EventSplitter().feed(told_by(given_))
    assert orjson.loads(told[0]) == {**first, "understudy": WHO}
    assert told[1:] == [orjson.dumps(second), b"[DONE]"]


def test_a_name_that_took_the_request_is_said_too() -> None:
    (told,) = EventSplitter().feed(told_by(events(b'{"a":1}'), "plain"))
    assert orjson.loads(told) == {"a": 1, "understudy": {**WHO, "fallback": "plain"}}


def test_the_name_of_an_event_stays() -> None:
    said = told_by(b'event: response.created\ndata: {"a":1}\n\n')
    assert said.startswith(b'event: response.created\ndata: {"a":1,"understudy":{')


def test_an_end_mark_alone_is_left_as_it_is() -> None:
    assert told_by(events(b"[DONE]")) == events(b"[DONE]")
