"""A head of our own: numbers that are hashed whole, and the same score for the same text."""

import base64
import hashlib
import json
import random
from typing import Any

import pytest

from understudy.guard.linear import (
    FORMAT,
    MAX_TEXT,
    Head,
    HeadError,
    Weights,
    _digest,
    places_of,
    read_head,
    write_head,
)

BUCKETS = 4096


def head_of(*words: str, category: str = "harassment") -> Head:
    """A head for which these words alone count."""
    values = bytearray(BUCKETS)
    for place in {place for word in words for place in places_of(word, BUCKETS)}:
        values[place] = 100
    return Head(BUCKETS, {category: Weights(-4.0, 0.05, bytes(values))})


HEAD = head_of("idiot")


def changed(**changes: Any) -> str:
    """A head with other numbers, hashed as whoever makes one by hand would have to."""
    found = json.loads(write_head(HEAD, ""))
    del found["sha256"]
    found.update(changes)
    return json.dumps({**found, "sha256": _digest(found)})


def test_words_count_by_what_was_learned_of_them() -> None:
    bad, good = (HEAD.scores(text)["harassment"] for text in ("You idiot!", "You are kind, and the tea is warm."))
    assert 0 <= good < 0.3 < 0.6 < bad <= 1


@pytest.mark.parametrize(
    "text", ["you IDIOT", "You idi0t", "You \u200bi\u200bd\u200bi\u200bo\u200bt", "ｙｏｕ ｉｄｉｏｔ"]
)
def test_disguises_do_not_count(text: str) -> None:
    assert HEAD.scores(text) == HEAD.scores("you idiot")


@pytest.mark.parametrize("text", ["", " ", "...", "\u200b", "🙂🙂"])
def test_a_text_without_words_has_no_score(text: str) -> None:
    assert HEAD.scores(text) == {"harassment": 0.0}


def test_scores_are_numbers_from_0_to_1_whatever_is_said() -> None:
    chance = random.Random(1)
    extreme = Head(2, {"a": Weights(-1e308, 1e308, b"\x7f\x81"), "b": Weights(1e308, 0.0, b"\x00\x00")})
    texts = ["".join(chr(chance.randrange(32, 0x3000)) for _ in range(200)) for _ in range(8)]
    for text in ["word", "a b", "x" * 2_000, *texts]:
        for head in (HEAD, extreme):
            assert all(0 <= score <= 1 for score in head.scores(text).values())


def test_a_head_is_read_as_it_was_written() -> None:
    assert read_head(write_head(HEAD, "two words")) == HEAD
    assert json.loads(write_head(HEAD, "two words"))["about"] == "two words"


def test_negative_weights_count_against() -> None:
    values = bytes(0xFF if value else 0 for value in HEAD.categories["harassment"].values)
    against = Head(BUCKETS, {"harassment": Weights(0.0, 1.0, values)})
    assert against.scores("idiot")["harassment"] < 0.5


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "\x80\x04K\x01.", '{"format": "understudy.dev/linear/v2"}', "[" * 100_000]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(HeadError, match=f"want JSON of format {FORMAT}"):
        read_head(text)


def test_a_head_that_was_changed_is_refused() -> None:
    written = write_head(HEAD, "")
    for spoiled in (written.replace('"bias": -4.0', '"bias": -3.0'), written.replace("AAAA", "AAAB", 1)):
        with pytest.raises(HeadError, match="its sha256 is not that of what it holds"):
            read_head(spoiled)


def test_a_head_that_is_too_large_is_refused() -> None:
    with pytest.raises(HeadError, match=f"at most {MAX_TEXT}"):
        read_head(" " * (MAX_TEXT + 1))


GOOD = {"bias": 0.0, "scale": 1.0, "weights": base64.b64encode(bytes(BUCKETS)).decode()}


@pytest.mark.parametrize(
    "changes",
    [
        {"buckets": 1},
        {"buckets": True},
        {"buckets": "4096"},
        {"buckets": 1 << 21},
        {"buckets": BUCKETS * 2},
        {"buckets": None},
        {"categories": {}},
        {"categories": None},
        {"categories": []},
        {"categories": {"Harassment": GOOD}},
        {"categories": {"": GOOD}},
        {"categories": {"a": None}},
        {"categories": {"a": {**GOOD, "bias": "x"}}},
        {"categories": {"a": {**GOOD, "bias": float("nan")}}},
        {"categories": {"a": {**GOOD, "scale": float("inf")}}},
        {"categories": {"a": {**GOOD, "weights": "?"}}},
        {"categories": {"a": {**GOOD, "weights": "AAAA"}}},
        {"categories": {"a": {"bias": 0.0, "scale": 1.0}}},
    ],
)
def test_numbers_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(HeadError, match="its numbers are not those of a head"):
        read_head(changed(**changes))


def test_long_texts_and_words_have_bounded_places() -> None:
    assert places_of("x" * 100_000, BUCKETS) == places_of("x" * 24, BUCKETS)
    assert max(places_of("one two three", 7)) < 7


def test_a_head_is_bound_to_how_text_is_read() -> None:
    # Where this changes, heads mean something else: give FORMAT another version, and learn manifests/heads anew.
    texts = ("Call the captain, you 1d10t!", "Ｎａïve — ﬁve straße Ирина", "人殺し ใจร้าย a\u200bb", "d4rn $h1p @ 7")
    places = [sorted(places_of(text, 1 << 15)) for text in texts]
    assert hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16] == "c35032ee2ed272e0"
