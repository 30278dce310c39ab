"""The grammar of request heads: what is one clear request, and everything that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.head import MAX_FIELDS, Head, parse_head
from understudy.gateway.policy.refusal import Refusal

GOOD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


def refused(raw: bytes) -> Refusal:
    found = parse_head(raw)
    assert isinstance(found, Refusal), found
    return found


def parsed(raw: bytes) -> Head:
    found = parse_head(raw)
    assert isinstance(found, Head), found
    return found


def test_a_plain_request_is_read() -> None:
    head = parsed(GOOD)
    assert (head.method, head.target, head.minor, head.length) == (b"POST", b"/v1/chat/completions", 1, 2)
    assert head.fields == {b"host": b"a", b"content-length": b"2"}
    assert head.keep_alive


def test_white_space_around_values_is_dropped() -> None:
    head = parsed(b"GET / HTTP/1.1\r\nHost: \t a b \t \r\nX:\r\n\r\n")
    assert head.fields == {b"host": b"a b", b"x": b""}


def test_names_are_known_in_any_case() -> None:
    assert parsed(b"GET / HTTP/1.1\r\nhOsT: a\r\n\r\n").fields == {b"host": b"a"}


def test_repeated_fields_that_decide_nothing_are_taken() -> None:
    assert parsed(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1\r\nVia: 2\r\n\r\n").fields[b"via"] == b"2"


@pytest.mark.parametrize(
    ("connection", "minor", "kept"),
    [
        (b"", 1, True),
        (b"", 0, False),
        (b"Connection: close\r\n", 1, False),
        (b"Connection: Keep-Alive\r\n", 0, True),
        (b"Connection: foo, Close\r\n", 1, False),
        (b"Connection: keep-alive, close\r\n", 0, False),
    ],
)
def test_the_client_says_whether_the_connection_is_kept(connection: bytes, minor: int, kept: bool) -> None:
    assert parsed(b"GET / HTTP/1.%d\r\nHost: a\r\n%b\r\n" % (minor, connection)).keep_alive is kept


def test_a_body_in_chunks_has_no_length() -> None:
    assert parsed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").length == -1


def test_http_1_0_needs_no_host() -> None:
    assert parsed(b"GET / HTTP/1.0\r\n\r\n").minor == 0
    assert parsed(b"GET / HTTP/1.0\r\nHost:\r\n\r\n").minor == 0


SMUGGLING = {
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two hosts alike": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "chunks on 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "two lengths alike": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n",
    "hexadecimal length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
    "empty length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "length with a space": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 4\r\n\r\n",
    "endless length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
    "two encodings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "gzip then chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks then identity": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
    "chunks misspelt": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunks with a tail": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x\r\n\r\n",
    "quoted chunks": b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n',
    "space before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n",
    "tab before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n",
    "space before the name": b"POST / HTTP/1.1\r\n Host: a\r\n\r\n",
    "folded line": b"POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "folded encoding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    "line feed alone": b"GET / HTTP/1.1\nHost: a\n\r\n\r\n",
    "line feed in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 3\r\n\r\n",
    "carriage return in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 3\r\n\r\n",
    "zero byte in a value": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "zero byte in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
    "control byte in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[31m\r\n\r\n",
    "delete byte in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n",
    "name with a letter beyond ASCII": b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n",
    "name with a bracket": b"GET / HTTP/1.1\r\nHost: a\r\nX[0]: b\r\n\r\n",
    "absolute form": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: HTTP2-Settings\r\nHTTP2-Settings: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab for space": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "control byte in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "letter beyond ASCII in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "two authorizations": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n",
    "two content types": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\nContent-Type: y\r\n\r\n",
    "absolute form over TLS": b"POST https://a/v1/chat/completions HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form of another host": b"GET http://b/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form in capitals": b"GET HTTP://a/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad UTF-8 in the target": b"GET /v1/\xc3\x28 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad UTF-8 in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\x28: b\r\n\r\n",
    "form feed before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0c: chunked\r\n\r\n",
    "vertical tab before chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "empty encoding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
    "chunks twice in a list": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "identity then chunks": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n",
    "chunks after a comma": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n",
    "chunks beyond ASCII": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\xa0\r\n\r\n",
    "length beyond ASCII": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u0663\r\n\r\n".encode(),
    "length with an underscore": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n",
    "length in a fraction": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3.0\r\n\r\n",
    "two expectations": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n",
    "two encodings of the content": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n"
    ),
    "upgrade to HTTP/2": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "upgrade to TLS": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n",
    "two versions": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "two sessions": b"GET / HTTP/1.1\r\nHost: a\r\nX-Session-Id: x\r\nX-Session-Id: y\r\n\r\n",
}


@pytest.mark.parametrize("raw", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_what_two_readers_could_read_differently_ends_the_connection(raw: bytes) -> None:
    found = refused(raw)
    assert found.status == 400
    assert found.close
    assert found.final


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n", 415),
    ],
)
def test_what_is_understood_but_not_served_says_so(raw: bytes, status: int) -> None:
    found = refused(raw)
    assert (found.status, found.close) == (status, True)


def test_expectations_and_identity_encoding_are_taken() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Encoding: Identity\r\n\r\n"
    assert parsed(raw).fields[b"expect"] == b"100-Continue"


def test_the_number_of_fields_is_bounded() -> None:
    fields = b"".join(b"X-%d: 1\r\n" % i for i in range(MAX_FIELDS))
    assert refused(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % fields).status == 431


@given(st.binary(max_size=200))
def test_no_bytes_raise(junk: bytes) -> None:
    parse_head(junk + b"\r\n\r\n")
    parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + junk + b"\r\n\r\n")
    parse_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + junk + b"\r\n\r\n")


def test_long_runs_of_blanks_are_refused_at_once() -> None:
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 60_000 + b"\x00\r\n\r\n")
