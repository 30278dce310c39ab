"""The JSON of a request, read so that nobody downstream can read it differently.

orjson refuses what is not UTF-8 or not JSON but keeps the last of two equal keys. Most clients send JSON as
compact as orjson writes it: where writing it again gives the same bytes, nothing can have been lost.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import Refusal, bad_request

MAX_DEPTH: Final = 64
# An empty object is two bytes of text and eighty of memory: 32 MiB of text would be read into a gigabyte.
MAX_CONTAINERS: Final = 100_000
MAX_COMMAS: Final = 500_000
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
