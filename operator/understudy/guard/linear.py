"""A small head of our own: which pieces of words a window has, and what each counts for a category. A screen, no judge.

A head is text: numbers in plain arrays and a hash over all of them, never anything that could run. Which place in the
arrays a piece of a word has is a hash of it; several share a place, which is part of what was learned. Pieces are taken
from the view in which disguises are undone.
"""

import base64
import hashlib
import itertools
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.guard.views import Views

FORMAT: Final = "understudy.dev/linear/v1"
MAX_TEXT: Final = 1024 * 1024
_WORD: Final = re.compile(r"[^\W_]+")
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PIECE: Final = (3, 4, 5)
_LONGEST_WORD: Final = 24


class HeadError(Exception):
    """What is wrong with a head, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one category: whole numbers from -127 to 127 that count `scale` each, and what counts whatever is said."""

    bias: float
    scale: float
    values: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """`buckets` places for pieces of words, and their weights by category."""

    buckets: int
    categories: Mapping[str, Weights]

    def scores(self, text: str) -> dict[str, float]:
        """By category a number from 0 to 1, the same wherever it is computed."""
        places = places_of(text, self.buckets)
        if not places:
            return dict.fromkeys(self.categories, 0.0)
        share = 1 / math.sqrt(len(places))
        return {
            category: _logistic(weights.bias + weights.scale * share * _sum(weights.values, places))
            for category, weights in self.categories.items()
        }


def places_of(text: str, buckets: int) -> set[int]:
    """Places of the words of a text, of pairs of them, and of their pieces."""
    _, view = Views().feed(text)
    words = [word[:_LONGEST_WORD] for word in _WORD.findall(view.chars)]
    named = [f"w {word}" for word in words] + [f"b {one} {two}" for one, two in itertools.pairwise(words)]
    for word in set(words):
        padded = f"<{word}>"
        named += [f"p {padded[at : at + n]}" for n in _PIECE for at in range(len(padded) - n + 1)]
    # 64 bits of cheap hashes would do no better: what shares a place was learned so.
    return {zlib.crc32(name.encode()) % buckets for name in named}


def read_head(text: str) -> Head:
    """A head as `write_head` wrote it.

    Raises HeadError.
    """
    if len(text) > MAX_TEXT:
        raise HeadError(f"{len(text)} characters, and a head has at most {MAX_TEXT}: learn one with fewer buckets")
    try:
        found = json.loads(text)
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise HeadError(f"no head: want JSON of format {FORMAT}, as `python -m bench.heads learn` makes it")
    if found.get("sha256") != _digest(found):
        raise HeadError(
            "its sha256 is not that of what it holds: it was changed, or cut; store it again as it was made"
        )
    try:
        return _head(found)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise HeadError("its numbers are not those of a head: have it made anew") from None


def write_head(head: Head, about: str) -> str:
    """A head as text. `about`: what it was learned from, for who reads it."""
    written: dict[str, Any] = {
        "format": FORMAT,
        "about": about,
        "buckets": head.buckets,
        "categories": {
            category: {
                "bias": weights.bias,
                "scale": weights.scale,
                "weights": base64.b64encode(weights.values).decode(),
            }
            for category, weights in sorted(head.categories.items())
        },
    }
    return json.dumps({**written, "sha256": _digest(written)}, indent=1)


def _head(found: Mapping[str, Any]) -> Head:
    buckets = found["buckets"]
    if not isinstance(buckets, int) or isinstance(buckets, bool) or not 2 <= buckets <= 1 << 20:
        raise ValueError("buckets")
    categories = {category: _weights(each, buckets) for category, each in found["categories"].items()}
    if not categories or not all(_CATEGORY.fullmatch(category) for category in categories):
        raise ValueError("categories")
    return Head(buckets, categories)


def _weights(found: Mapping[str, Any], buckets: int) -> Weights:
    bias, scale = float(found["bias"]), float(found["scale"])
    values = base64.b64decode(found["weights"], validate=True)
    if not math.isfinite(bias) or not math.isfinite(scale) or len(values) != buckets:
        raise ValueError("weights")
    return Weights(bias, scale, values)


def _digest(found: Mapping[str, Any]) -> str:
    """Of everything but the digest itself."""
    rest = {key: value for key, value in found.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _sum(values: bytes, places: set[int]) -> int:
    return sum([value if (value := values[place]) < 128 else value - 256 for place in places])


def _logistic(x: float) -> float:
    # Of a large negative one the power would overflow.
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))
