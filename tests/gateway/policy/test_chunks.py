"""Chunked request bodies: any cut gives the same body, and nothing but sizes and data is taken."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.chunks import ChunkReader
from understudy.gateway.policy.refusal import Refusal


def read(raw: bytes, *cuts: int, limit: int = 1000) -> tuple[ChunkReader, Refusal | None]:
    reader = ChunkReader(limit)
    edges = [0, *sorted(cuts), len(raw)]
    for start, end in itertools.pairwise(edges):
        refusal = reader.feed(raw[start:end])
        if refusal is not None:
            return reader, refusal
    return reader, None


def encoded(pieces: list[bytes]) -> bytes:
    return b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_any_cut_gives_the_same_body(pieces: list[bytes], data: st.DataObject) -> None:
    raw = encoded(pieces) + b"GET"
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=6))
    reader, refusal = read(raw, *cuts)
    assert refusal is None
    assert reader.done
    assert reader.body == b"".join(pieces)


def test_what_follows_the_body_is_kept_for_the_next_request() -> None:
    reader, _ = read(b"1\r\na\r\n0\r\n\r\nGET /")
    assert (bytes(reader.body), reader.rest) == (b"a", b"GET /")


def test_trailers_are_dropped() -> None:
    reader, refusal = read(b"1\r\na\r\n0\r\nX: y\r\nHost: b\r\n\r\n")
    assert (refusal, reader.done, bytes(reader.body)) == (None, True, b"a")


BAD = {
    "extension": b"1;a=b\r\na\r\n0\r\n\r\n",
    "space after the size": b"1 \r\na\r\n0\r\n\r\n",
    "sign": b"+1\r\na\r\n0\r\n\r\n",
    "prefix": b"0x1\r\na\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    "empty size": b"\r\na\r\n0\r\n\r\n",
    "long size": b"000000001\r\na\r\n0\r\n\r\n",
    "line feed alone": b"1\na\r\n0\r\n\r\n",
    "data longer than its size": b"1\r\nab\r\n0\r\n\r\n",
    "malformed trailer": b"0\r\nnot a trailer\r\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "endless size line": b"1" * 5000,
    "many trailers": b"0\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_anything_else_ends_the_connection(raw: bytes) -> None:
    _, refusal = read(raw)
    assert refusal is not None
    assert (refusal.status, refusal.close) == (400, True)


def test_a_body_above_the_limit_is_refused_before_it_comes() -> None:
    _, refusal = read(b"5\r\n", limit=4)
    assert refusal is not None
    assert refusal.status == 413
    assert read(b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", limit=4)[1] is None
    assert read(b"2\r\nab\r\n3\r\n", limit=4)[1] is not None


def test_an_unfinished_body_is_not_done() -> None:
    reader, refusal = read(b"2\r\nab")
    assert (refusal, reader.done) == (None, False)
    reader, refusal = read(b"2\r\nab\r")
    assert (refusal, reader.done) == (None, False)
