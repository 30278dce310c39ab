"""Heads of answers, built field by field: nothing of the engine's head reaches a client."""

from collections.abc import Mapping
from typing import Final

from understudy.gateway.policy.conversation import client_request_id
from understudy.gateway.policy.refusal import REASONS, Refusal, error_body
from understudy.gateway.table import Variant

STREAM_END: Final = b"0\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_STREAM: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\n"
)


def plain_answer(
    status: int, body: bytes, fields: bytes, *, close: bool, head_only: bool = False, kind: bytes = b"application/json"
) -> bytes:
    """A whole answer; `fields` are further header lines that end in CRLF, `kind` is the content type."""
    return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        status,
        REASONS.get(status, b"Unknown"),
        kind,
        len(body),
        fields,
        _CLOSE if close else b"",
        b"" if head_only else body,
    )


def refusal_answer(refusal: Refusal, fields: bytes, *, close: bool, head_only: bool = False) -> bytes:
    """A whole error answer."""
    if refusal.retry_after:
        fields += b"Retry-After: %d\r\n" % refusal.retry_after
    if refusal.terminal:
        fields += b"x-should-retry: false\r\n"
    if refusal.allow:
        fields += b"Allow: %b\r\n" % refusal.allow.encode()
    return plain_answer(refusal.status, error_body(refusal), fields, close=close, head_only=head_only)


def id_fields(request_id: bytes, fields: Mapping[bytes, bytes]) -> bytes:
    """The fields that name a request: its id, and the client's own for it."""
    own = client_request_id(fields.get(b"x-request-id"))
    return b"x-request-id: %b\r\n" % request_id + (b"" if own is None else b"x-client-request-id: %b\r\n" % own)


def who_answers(variant: Variant, fallback: str) -> bytes:
    """The fields that tell it; `fallback` is the served name that took the request in the place of its own, if any."""
    other = b"x-understudy-fallback: %b\r\n" % fallback.encode() if fallback else b""
    return other + variant.answer_fields


def stream_head(fields: bytes, *, chunked: bool, close: bool) -> bytes:
    """The head of an event stream. Without `chunked` (HTTP/1.0) the stream ends with the connection."""
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    return b"%b%b%b%b\r\n" % (_STREAM, framing, fields, _CLOSE if close or not chunked else b"")
