"""Log probabilities leave with their characters and never without them."""

from typing import Any

import pytest

from understudy.gateway.policy.logprobs import Logprobs


def chat(*tokens: Any) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -1.0} for token in tokens]}


def tokens(found: list[tuple[str, float | None, int]]) -> list[tuple[str, int]]:
    return [(token, at) for token, _, at in found]


def test_a_token_leaves_with_its_last_character() -> None:
    logprobs = Logprobs()
    logprobs.feed(chat("so", " da"))
    assert tokens(logprobs.released("so d")) == [("so", 0)]
    assert tokens(logprobs.released("a")) == [(" da", 2)]
    assert tokens(logprobs.released("rn")) == []


def test_a_token_that_is_not_what_comes_out_takes_all_later_ones_with_it() -> None:
    logprobs = Logprobs()
    logprobs.feed(chat("so ", "darn", " it"))
    assert tokens(logprobs.released("so [rude] it")) == [("so ", 0)]
    logprobs.feed(chat("well"))
    assert tokens(logprobs.released("well")) == []


def test_what_is_no_token_is_lost() -> None:
    for odd in (chat(None), chat(""), {"tokens": [1], "token_logprobs": [-1]}):
        logprobs = Logprobs()
        logprobs.feed(odd)
        logprobs.feed(chat("so"))
        assert tokens(logprobs.released("so")) == []


def test_what_is_no_list_says_nothing() -> None:
    logprobs = Logprobs()
    for odd in ("x", {}, {"content": None, "tokens": ["a"]}, {"content": ["a"]}):
        logprobs.feed(odd)
    logprobs.feed({"tokens": ["so"], "token_logprobs": [None]})
    assert logprobs.released("so") == [("so", None, 0)]


def test_a_value_with_more_digits_than_any_is_none() -> None:
    logprobs = Logprobs()
    logprobs.feed({"content": [{"token": "so", "logprob": 10**400}, {"token": " it", "logprob": -1}]})
    assert logprobs.released("so it") == [("so", None, 0), (" it", -1.0, 2)]


def test_tokens_without_characters_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.policy.logprobs._MOST", 3)
    logprobs = Logprobs()
    for _ in range(2):
        logprobs.feed(chat("a", "b"))
    assert logprobs.released("ab") == []
