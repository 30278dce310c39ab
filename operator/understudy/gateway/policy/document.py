"""The JSON of a request, read so that nobody downstream can read it differently.

orjson refuses what is not UTF-8 or not JSON but keeps the last of two equal keys. Most clients send JSON as
compact as orjson writes it: where writing it again gives the same bytes, nothing can have been lost.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import NO_ROOM, Refusal, bad_request
from understudy.gateway.policy.shares import Shares

MAX_DEPTH: Final = 64
# An empty object is two bytes of text and eighty of memory: 32 MiB of text would be read into a gigabyte.
MAX_CONTAINERS: Final = 100_000
MAX_COMMAS: Final = 500_000
# No text is read into more than so many times its length: objects in objects, `{"":{"":…}}`, are five bytes and 184 of
# memory each; with few objects and arrays the worst is a list of texts of one letter.
MOST_PER_BYTE: Final = 40
_FLAT_PER_BYTE: Final = 18
# At most so many bytes of memory for a value, a member's key, an object and an array, beside their text. (CPython 3.11,
# orjson 3.11; tests/gateway/policy/test_document.py measures them anew.)
_PER_COMMA: Final = 88
_PER_COLON: Final = 64
_PER_OBJECT: Final = 128
_PER_ARRAY: Final = 72
# A text is as wide as its widest character: one emoji, escaped or not, and each letter beside it takes four bytes.
_WIDEST: Final = 4
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_KEY_END: Final = re.compile(rb'"[ \t\r\n]*:')
_NOT_JSON: Final = "the body is not JSON: "


def read_object(body: bytes | bytearray) -> dict[str, Any] | Refusal:
    """The JSON object in `body`; refuses other values, repeated keys, nesting deeper than 64, and too many parts."""
    if not _few_parts(body) and not _few_parts(_STRING.sub(b"", body, count=2 * MAX_COMMAS)):
        return bad_request(f"the body has more than {MAX_CONTAINERS} objects and arrays, or {MAX_COMMAS} values")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return bad_request(f"{_NOT_JSON}{error.msg} at character {error.pos}")
    if not isinstance(document, dict):
        return bad_request("the body must be a JSON object")
    if _many_brackets(body) and _deeper(document):
        return bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
    if orjson.dumps(document) != body and _may_repeat_a_key(document, body) and _repeats_a_key(body):
        return bad_request("the body has the same key twice in one object")
    return document


def lend(pool: Shares, holder: str, body: bytes | bytearray) -> int | Refusal:
    """Bytes of `pool` lent for what `body` will be read into.

    Counting what is in a text takes as long as reading it: while half of the pool is free, the most that could be
    in a body of its length is taken for it.
    """
    size = (MOST_PER_BYTE if _many_brackets(body) else _FLAT_PER_BYTE) * len(body)
    if 2 * (pool.used + size) <= pool.size and pool.take(holder, size):
        return size
    letters = len(body) if body.isascii() and b"\\u" not in body else _WIDEST * len(body)
    size = letters + _parts_size(body)
    # What looks like a part in a string was counted too.
    if size > pool.left(holder) > letters:
        size = letters + _parts_size(_STRING.sub(b"", body))
    if pool.take(holder, size):
        return size
    if size > pool.most:
        return Refusal(413, "body_too_large", "the body would be read into more memory than one request may have")
    return NO_ROOM


def _parts_size(text: bytes | bytearray) -> int:
    values = _PER_COMMA * (text.count(b",") + 1) + _PER_COLON * text.count(b":")
    return values + _PER_OBJECT * text.count(b"{") + _PER_ARRAY * text.count(b"[")


def _few_parts(text: bytes | bytearray) -> bool:
    """Whether the text is made of few values. What looks like one in a string counts, until strings are taken out."""
    if len(text) <= MAX_CONTAINERS:
        return True
    return text.count(b"[") + text.count(b"{") <= MAX_CONTAINERS and text.count(b",") <= MAX_COMMAS


def _many_brackets(body: bytes | bytearray) -> bool:
    """Whether enough is opened to be too deep. Few steps through a long text are faster than counting it."""
    left = MAX_DEPTH
    for bracket in (b"[", b"{"):
        at = body.find(bracket)
        while at >= 0:
            if not left:
                return True
            left -= 1
            at = body.find(bracket, at + 1)
    return False


def _levels(document: dict[str, Any]) -> Iterator[list[Any]]:
    """Objects and arrays, level by level."""
    level: list[Any] = [document]
    while level:
        yield level
        below: list[Any] = []
        for value in level:
            inner = value.values() if value.__class__ is dict else value
            below += [v for v in inner if v.__class__ is dict or v.__class__ is list]
        level = below


def _deeper(document: dict[str, Any]) -> bool:
    return any(depth > MAX_DEPTH for depth, _ in enumerate(_levels(document), 1))


def _may_repeat_a_key(document: dict[str, Any], body: bytes | bytearray) -> bool:
    """False when the text has no more keys than the document: each key ends in a quote and a colon."""
    keys = sum(len(value) for level in _levels(document) for value in level if value.__class__ is dict)
    return body.count(b":") > keys and len(_KEY_END.findall(body)) > keys


class _RepeatedKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatedKeyError


def _repeats_a_key(body: bytes | bytearray) -> bool:
    try:
        json.loads(body, object_pairs_hook=_unique)
    except _RepeatedKeyError:
        return True
    return False
