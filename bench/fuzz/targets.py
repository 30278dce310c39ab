"""What must hold for every sequence of bytes that reaches one of the gateway's readers, or a guardrail.

Each target takes one input and raises AssertionError when a property is broken. Where somebody else's reader is at
hand it is asked too: what ours takes, theirs must take for the same thing. Ours may refuse more.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import httptools

from bench.fuzz.guard_targets import guard, policy
from understudy.gateway.policy.chunks import ChunkReader
from understudy.gateway.policy.document import MAX_DEPTH, read_object
from understudy.gateway.policy.events import EventSplitter
from understudy.gateway.policy.head import Head, parse_head
from understudy.gateway.policy.refusal import Refusal

_CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_NO_TRAILERS: Final = re.compile(rb"(?:\A|\r\n)0+\r\n\r\n\Z")
_LIMIT: Final = 1000


class _Heard:
    """What llhttp makes of a request."""

    def __init__(self, raw: bytes) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(raw)
        self.method = parser.get_method()
        self.version = parser.get_http_version()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def head(data: bytes) -> None:
    """A head that we take is one that llhttp takes, with the same method, target, fields and version."""
    raw = data + b"\r\n\r\n"
    raw = raw[: raw.index(b"\r\n\r\n") + 4]
    found = parse_head(raw)
    if isinstance(found, Refusal):
        assert found.close
        return
    assert isinstance(found, Head)
    assert found.target.startswith(b"/")
    assert -1 <= found.length < 10**12
    heard = _Heard(raw)
    assert (heard.method, heard.target, heard.version) == (found.method, found.target, f"1.{found.minor}")
    # Of fields that come twice the last one counts: which ones may not is the grammar's business.
    assert dict(heard.fields) == found.fields
    assert not heard.complete or found.length <= 0


def chunks(data: bytes) -> None:
    """However a body in chunks is cut it is the same one, and the one that llhttp reads."""
    at, data = (data[0] if data else 0), data[1:]
    whole, cut = ChunkReader(_LIMIT), ChunkReader(_LIMIT)
    refusal = whole.feed(data)
    refusals = [cut.feed(data[:at])]
    if refusals[0] is None and not cut.done:
        refusals.append(cut.feed(data[at:]))
        rest = cut.rest
    else:
        rest = cut.rest + data[at:]
    assert [refusal] == refusals[-1:]
    if refusal is not None:
        return
    assert (whole.body, whole.done) == (cut.body, cut.done)
    assert len(whole.body) <= _LIMIT
    if whole.done:
        assert whole.rest == rest
        taken = data[: len(data) - len(rest)]
        # llhttp refuses some trailers that are dropped here.
        if _NO_TRAILERS.search(taken):
            heard = _Heard(_CHUNKED + taken)
            assert (heard.body, heard.complete) == (bytes(whole.body), True)


def document(data: bytes) -> None:
    """A document that we take is one that Python's own reader takes for the same, without a key twice."""
    found = read_object(data)
    if isinstance(found, Refusal):
        assert found.status == 400
        return
    assert found == json.loads(data, object_pairs_hook=_unique, parse_int=_number)
    assert _depth(found) <= MAX_DEPTH


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    assert len(read) == len(pairs)
    return read


def _number(text: str) -> int | float:
    # orjson's integers have 64 bits; what is beyond them is a float.
    number = int(text)
    return number if -(2**63) <= number < 2**64 else float(text)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def events(data: bytes) -> None:
    """However a stream is cut its events are the same, and those that the standard's own algorithm finds."""
    at, data = (data[0] if data else 0), data[1:]
    whole, cut = EventSplitter(), EventSplitter()
    found = whole.feed(data)
    assert cut.feed(data[:at]) + cut.feed(data[at:]) == found
    # A CR at the very end is half of what it may become.
    assert found == _events(data.removesuffix(b"\r"))


def _events(data: bytes) -> list[bytes]:
    """As the HTML standard has it (9.2.6), but that events without data are none."""
    found, lines = [], []
    *complete, _ = re.split(rb"\r\n|\n|\r", data)
    for line in complete:
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line:
            found.append(b"\n".join(lines))
            lines = []
    return [event for event in found if event]


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (head, chunks, document, events, guard, policy)
}
