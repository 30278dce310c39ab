"""The JSON of a request, read so that nobody downstream can read it differently.

orjson refuses what is not UTF-8 or not JSON but keeps the last of two equal keys; the checks here cost a
count of colons when, as nearly always, that count already proves that no key is repeated.
"""

import json
import re
from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import Refusal, bad_request

MAX_DEPTH: Final = 64
_KEY_END: Final = re.compile(rb'"[ \t\r\n]*:')
_NOT_JSON: Final = "the body is not JSON: "


def read_object(body: bytes | bytearray) -> dict[str, Any] | Refusal:
    """The JSON object in `body`; refuses other values, repeated keys, and nesting deeper than 64."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return bad_request(f"{_NOT_JSON}{error.msg} at character {error.pos}")
    if not isinstance(document, dict):
        return bad_request("the body must be a JSON object")
    keys = _count_keys(document)
    if keys < 0:
        return bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
    # Each key ends in a quote and a colon, so neither count can be below the number of keys in the text.
    if body.count(b":") > keys and len(_KEY_END.findall(body)) > keys and _repeats_a_key(body):
        return bad_request("the body has the same key twice in one object")
    return document


def _count_keys(document: dict[str, Any]) -> int:
    """Number of keys at all levels, -1 when nested too deep."""
    keys = 0
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if value.__class__ is dict:
                keys += len(value)
                below += [v for v in value.values() if v.__class__ is dict or v.__class__ is list]
            else:
                below += [v for v in value if v.__class__ is dict or v.__class__ is list]
        if not below:
            return keys
        level = below
    return -1


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
