"""The head of a request: one strict grammar, so that no two readers can disagree on where a request ends.

llhttp takes two Hosts, none, Transfer-Encoding on HTTP/1.0, `gzip, chunked` and folded lines; requests are
therefore read here, line by line, and nothing else ever reads them. Clients repeat their lines in each request:
a line that was found good is remembered.
"""

import re
from functools import lru_cache
from typing import Final

from understudy.gateway.policy.refusal import Refusal, bad_bytes

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 100
_MAX_REMEMBERED: Final = 256
_REQUEST: Final = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]{1,4096}) HTTP/1\.([01])")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")
_LENGTH: Final = re.compile(rb"[0-9]{1,12}")
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"})
# A second one of these could be read differently by somebody behind or before us.
_SINGLE: Final = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"authorization",
        b"expect", b"x-session-id", b"x-player-id", b"x-player-token", b"traceparent", b"x-request-id",
        b"x-understudy-variant", b"x-understudy-fiction",
    }
)  # fmt: skip


class Head:
    """A request's head: method and target as sent, field values by lower-case name.

    `length` is the body's size in bytes, -1 when it comes in chunks. `keep_alive` is the client's wish.
    """

    __slots__ = ("fields", "keep_alive", "length", "method", "minor", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: dict[bytes, bytes]) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.length = 0
        self.keep_alive = minor == 1


def parse_head(raw: bytes) -> Head | Refusal:
    """Read a head that ends with its empty line; the refusal says what is wrong with it."""
    lines = raw[:-4].split(b"\r\n")
    request = _request(lines[0])
    if request is None:
        return _bad_line(lines[0])
    if len(lines) > MAX_FIELDS + 1:
        return Refusal(431, "headers_too_large", f"more than {MAX_FIELDS} header fields", final=True, close=True)
    fields: dict[bytes, bytes] = {}
    del lines[0]
    for line in lines:
        field = _known_field(line) if len(line) <= _MAX_REMEMBERED else _field(line)
        if field is None:
            return bad_bytes("malformed header field")
        name, value = field
        if name in fields and name in _SINGLE:
            return bad_bytes(f"more than one {name.decode()} field")
        fields[name] = value
    head = Head(*request, fields)
    return _bad_method(head) or _bad_fields(head) or head


def _field(line: bytes) -> tuple[bytes, bytes] | None:
    """Lower-case name and value of one line, None when it is no header field."""
    found = _FIELD.fullmatch(line)
    return None if found is None else (found[1].lower(), found[2].rstrip(b" \t"))


_known_field = lru_cache(maxsize=2048)(_field)


@lru_cache(maxsize=256)
def _request(line: bytes) -> tuple[bytes, bytes, int] | None:
    """Method, target and minor version of a request line, None when it is none."""
    found = _REQUEST.fullmatch(line)
    return None if found is None else (found[1], found[2], int(found[3]))


def _bad_line(line: bytes) -> Refusal:
    if line.startswith(b"PRI "):
        return bad_bytes("HTTP/2 is not spoken here")
    if re.search(rb" HTTP/[0-9.]+$", line) and not re.search(rb" HTTP/1\.[01]$", line):
        return Refusal(505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken", final=True, close=True)
    return bad_bytes("malformed request line")


def _bad_method(head: Head) -> Refusal | None:
    if head.method == b"CONNECT":
        return Refusal(405, "method_not_allowed", "CONNECT is not served", final=True, close=True, allow="GET, POST")
    if head.method not in _METHODS:
        return Refusal(501, "method_unknown", "unknown method", final=True, close=True)
    if head.target[0] != 47:  # "/"
        return bad_bytes("the request target must be a path")
    return None


def _bad_fields(head: Head) -> Refusal | None:
    """Checks that decide framing and trust, in one pass over the few fields that matter; sets `length`."""
    fields = head.fields
    if b"host" not in fields:
        if head.minor:
            return bad_bytes("no host field")
    elif not fields[b"host"] and head.minor:
        return bad_bytes("empty host field")
    if b"upgrade" in fields or b"http2-settings" in fields:
        return bad_bytes("upgrades are not served")
    refusal = _bad_framing(head)
    if refusal is not None:
        return refusal
    connection = fields.get(b"connection")
    if connection is not None:
        wishes = {wish.strip() for wish in connection.lower().split(b",")}
        head.keep_alive = (head.minor == 1 or b"keep-alive" in wishes) and b"close" not in wishes
    expect = fields.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        return Refusal(417, "expectation_failed", "only Expect: 100-continue is known", final=True, close=True)
    encoding = fields.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        return Refusal(415, "unsupported_encoding", "send the body without Content-Encoding", final=True, close=True)
    return None


def _bad_framing(head: Head) -> Refusal | None:
    length = head.fields.get(b"content-length")
    transfer = head.fields.get(b"transfer-encoding")
    if transfer is not None:
        if length is not None:
            return bad_bytes("both content-length and transfer-encoding")
        if not head.minor:
            return bad_bytes("transfer-encoding on HTTP/1.0")
        if transfer.lower() != b"chunked":
            return bad_bytes("the only transfer-encoding taken is chunked")
        head.length = -1
    elif length is not None:
        if not _LENGTH.fullmatch(length):
            return bad_bytes("content-length is not a number")
        head.length = int(length)
    return None
