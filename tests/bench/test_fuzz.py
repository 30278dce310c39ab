"""What fuzzing has found so far holds for readers and guardrails, and each property notices what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.fuzz import guard_targets, inputs, targets
from bench.fuzz.targets import TARGETS
from understudy.gateway.policy.chunks import ChunkReader
from understudy.gateway.policy.events import EventSplitter
from understudy.gateway.policy.head import parse_head
from understudy.gateway.policy.refusal import Refusal
from understudy.guard.gate import Gate
from understudy.guard.policy import compile_policy


@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=[pytest.mark.slow] if name in ("guard", "policy") else []) for name in TARGETS]
)
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


class Early(Gate):
    """Lets one character out too early."""

    __slots__ = ()

    def _clear(self, most: int | None = None) -> int:
        return min(super()._clear(most) + 1, self._read())


class Halving(Gate):
    """Judges halves of characters by themselves."""

    __slots__ = ()

    def feed(self, text: str) -> Any:
        return super().feed(text.encode("utf-8", "replace").decode())


def unbounded(name: str, spec: Any, sources: Any) -> Any:
    """Takes a policy for one that waits for less than it looks for."""
    return replace(compile_policy(name, spec, sources), max_hold=2)


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
        ("guard", "Gate", Early, b"oh darn it"),
        ("guard", "Gate", Halving, "\ud835\udd86ss".encode("utf-8", "surrogatepass")),
        ("policy", "compile_policy", unbounded, b"regex\nab{2}"),
    ],
)
def test_a_wrong_reader_is_noticed(
    target: str, reader: str, wrong: Callable[..., Any], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    TARGETS[target](data)
    monkeypatch.setattr(targets if hasattr(targets, reader) else guard_targets, reader, wrong)
    with pytest.raises(Exception):  # noqa: B017, PT011  # an assertion's, or the other reader's own
        TARGETS[target](data)


def test_as_many_chunkings_of_random_texts_are_tried_as_were_asked_for() -> None:
    assert guard_targets.chunkings(inputs.read("guard"), 500) >= 500


def test_a_corpus_is_read_as_it_was_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    inputs.write("it", [b"long\r\n\xff", b"a", b"a", b""])
    assert inputs.read("it") == [b"", b"a", b"long\r\n\xff"]
