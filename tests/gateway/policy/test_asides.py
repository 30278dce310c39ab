"""What an engine says beside its texts: numbers and words, and nothing that could be a text."""

from typing import Any

import pytest

from understudy.gateway.policy.asides import REACH, counts, head_of, is_word, place, reflected


def may(word: str) -> bool:
    return "darn" not in word


@pytest.mark.parametrize(
    ("given", "word"),
    [("call_1", True), ("messages[0].content", True), ("", False), ("a" * 129, False), ("so darn", False), (1, False)],
)
def test_a_word_is_no_text(given: Any, word: bool) -> None:
    assert is_word(given) is word


@pytest.mark.parametrize(
    ("given", "at"), [(3, 3), (0, 0), (-1, 0), (REACH, 0), (True, 0), ("1", 0), (None, 0), (1.0, 0), ([], 0)]
)
def test_places_are_small_numbers(given: Any, at: int) -> None:
    assert place(given) == at


def test_a_head_has_what_is_known_in_its_order() -> None:
    said = {"id": "c1", "odd": "x", "object": "o", "created": 1, "model": "any name", "service_tier": "fast"}
    del (want := dict(said))["odd"]
    assert list(head_of(said, may).items()) == list(want.items())


@pytest.mark.parametrize("bad", ["darn", "so well", "", None, 1, {"a": 1}, ["x"]])
def test_what_a_head_may_not_say_is_left_out_but_it_has_an_id(bad: Any) -> None:
    said = {"id": bad, "object": bad, "system_fingerprint": bad, "service_tier": bad}
    assert head_of(said, may) == {"id": "answer"}


@pytest.mark.parametrize("bad", ["1", None, True, 1.5, 1 << 53])
def test_a_time_is_a_whole_number(bad: Any) -> None:
    assert head_of({"created": bad}, may) == {}


def test_tokens_are_numbers_under_names_that_are_known() -> None:
    told = {
        "prompt_tokens": 1,
        "completion_tokens": "2",
        "darn": 3,
        "total_tokens": None,
        "prompt_tokens_details": {"cached_tokens": 1, "darn": 2, "audio_tokens": {"darn": 1}},
        "input_tokens_per_turn": [1, "darn", 2],
    }
    assert counts(told) == {
        "prompt_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": {}},
        "input_tokens_per_turn": [1, 2],
    }
    assert counts("darn") is None


@pytest.mark.parametrize(
    "harmless",
    [None, True, 1.5, 7, "auto", [], {}, {"format": {"type": "text"}}, ["a", 1, {"b": None}], [[[["a"]]]]],
)
def test_what_a_response_says_of_its_request_stays_where_it_is_no_text(harmless: Any) -> None:
    assert reflected(harmless, "asked", may) == harmless


@pytest.mark.parametrize("bad", ["so well", "darn", {"darn": 1}, {"a": {"b": "so well"}}, [[[[["a"]]]]], 1 << 60])
def test_what_could_be_a_text_is_what_was_asked(bad: Any) -> None:
    assert reflected(bad, ["asked, at length"], may) == ["asked, at length"]
    assert reflected(bad, bad, may) == bad
