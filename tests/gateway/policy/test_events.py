"""Event streams: the same events whatever the reads are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy import events
from understudy.gateway.policy.events import EventSplitter, EventTooLongError

LINES = st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)


def split(raw: bytes, cuts: list[int] | None = None) -> list[bytes]:
    splitter = EventSplitter()
    edges = [0, *sorted(cuts or []), len(raw)]
    found = []
    for start, end in itertools.pairwise(edges):
        found += splitter.feed(raw[start:end])
    return found


@given(st.lists(LINES.filter(bool), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_any_cut_and_any_line_end_give_the_same_events(texts: list[str], end: bytes, data: st.DataObject) -> None:
    raw = b"".join(b"data: %b%b%b" % (text.encode(), end, end) for text in texts)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    found = split(raw + (b"\n" if end == b"\r" else b""), cuts)
    assert found == [text.encode() for text in texts]


def test_one_byte_at_a_time() -> None:
    raw = b'data: {"a":1}\n\ndata: [DONE]\n\n'
    assert split(raw, list(range(len(raw)))) == [b'{"a":1}', b"[DONE]"]


@pytest.mark.parametrize(
    ("raw", "payloads"),
    [
        (b": ping\n\n", []),
        (b"\n\n\n\n", []),
        (b"event: x\ndata: a\nid: 7\nretry: 5\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"\ndata: a\n\n", [b"a"]),
        (b": c\ndata: a\n\n", [b"a"]),
        (b"data: a\n", []),
        (b"data:\n\n", []),
        (b"datum: a\n\n", []),
    ],
)
def test_only_data_is_kept(raw: bytes, payloads: list[bytes]) -> None:
    assert split(raw) == payloads


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT", 100)
    splitter = EventSplitter()
    splitter.feed(b"data: " + b"x" * 94)
    with pytest.raises(EventTooLongError):
        splitter.feed(b"x")


@pytest.mark.parametrize("nothing", [b"data: \n\n", b"data:\n\n", b"data: \r\n\r\n", b"data\n\n", b"\n\n"])
def test_an_event_without_data_is_none(nothing: bytes) -> None:
    assert EventSplitter().feed(nothing + b"data: a\n\n" + nothing) == [b"a"]
