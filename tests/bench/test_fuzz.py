"""What fuzzing has found so far holds for the gateway's readers, and each property notices a reader that is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.fuzz import inputs, targets
from bench.fuzz.targets import TARGETS
from understudy.gateway.policy.chunks import ChunkReader
from understudy.gateway.policy.events import EventSplitter
from understudy.gateway.policy.head import parse_head
from understudy.gateway.policy.refusal import Refusal


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_breaks_nothing(target: str) -> None:
    known = inputs.read(target)
    assert len(known) > 8
    for data in known:
        TARGETS[target](data)


class Deaf(ChunkReader):
    """Does not hear how a read ends."""

    def feed(self, data: bytes) -> Refusal | None:
        return super().feed(data[:-1])


class Hasty(EventSplitter):
    """Takes each read for an event."""

    def feed(self, data: bytes) -> list[bytes]:
        return [data]


def lenient(raw: bytes) -> Any:
    """Does not mind a space behind a name."""
    return parse_head(raw.replace(b" :", b":"))


@pytest.mark.parametrize(
    ("target", "reader", "wrong", "data"),
    [
        ("head", "parse_head", lenient, b"GET / HTTP/1.1\r\nHost : a"),
        ("chunks", "ChunkReader", Deaf, b"\x022\r\nab\r\n0\r\n\r\n"),
        ("document", "read_object", lambda data: {"a": 2}, b'{"a":1,"a":2}'),
        ("events", "EventSplitter", Hasty, b"\x05data: a\ndata: b\n\n"),
    ],
)
def test_a_wrong_reader_is_noticed(
    target: str, reader: str, wrong: Callable[..., Any], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    TARGETS[target](data)
    monkeypatch.setattr(targets, reader, wrong)
    with pytest.raises(Exception):  # noqa: B017, PT011  # an assertion's, or the other reader's own
        TARGETS[target](data)


def test_a_corpus_is_read_as_it_was_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    inputs.write("it", [b"long\r\n\xff", b"a", b"a", b""])
    assert inputs.read("it") == [b"", b"a", b"long\r\n\xff"]
