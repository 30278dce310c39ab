"""The moderations API: scores become findings by the thresholds of rules; what is not that API is a failure."""

import operator
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.guard.served.answers import TEXT, WINDOW, recorded, spoiled
from understudy.guard.findings import Finding
from understudy.guard.served.codec import MAX_ANSWER, UnreadableError
from understudy.guard.served.moderations import CATEGORIES, Moderations

LEAST = {"harassment": 0.3, "violence": 0.3, "pii": 0.3}


def read(answer: bytes, least: dict[str, float] | None = None) -> list[tuple[str, str, int, float | None]]:
    codec = Moderations("g/m", LEAST if least is None else least)
    return [(f.name, f.category, f.severity, f.score) for f in codec.read([answer], WINDOW, "output")]


def result(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    return lambda document: change(document["results"][0])


def test_a_window_is_asked_about_in_one_question() -> None:
    (question,) = Moderations("g/m", LEAST).questions(WINDOW, "output", "before")
    assert (question.path, question.body) == ("/v1/moderations", {"input": TEXT})
    assert question.fields == {}


def test_scores_are_findings_of_the_whole_window_by_the_categories_that_rules_speak_of() -> None:
    assert read(recorded("moderations-flagged")) == [
        ("harassment", "harassment", 4, 0.8129),
        ("harassment/threatening", "harassment", 4, 0.6014),
        ("violence", "violence", 6, 0.9473),
    ]
    finding = Moderations("g/m", {"violence": 0.3}).read([recorded("moderations-flagged")], WINDOW, "input")
    assert finding == (
        Finding("g/m", "violence", "violence", 6, 0.9473, WINDOW.start, WINDOW.end, WINDOW.end, WINDOW.start),
    )


def test_a_text_without_signs_has_no_findings() -> None:
    assert read(recorded("moderations-clear"), dict.fromkeys(CATEGORIES.values(), 0.3)) == []


def test_a_rule_sees_scores_from_its_least_threshold_on() -> None:
    assert read(recorded("moderations-flagged"), {"violence": 0.03}) == [
        ("violence", "violence", 6, 0.9473),
        ("violence/graphic", "violence", 2, 0.0371),
    ]
    # What the detector itself flags is a finding whatever its score, and grave.
    low = spoiled(
        "moderations-flagged", result(lambda found: operator.setitem(found["category_scores"], "violence", 0.1))
    )
    assert read(low, {"violence": 0.3}) == [("violence", "violence", 4, 0.1)]


def test_an_older_model_may_say_null_of_what_it_does_not_know() -> None:
    assert read(recorded("moderations-older"), {"self_harm": 0.3}) == [
        ("self-harm", "self_harm", 6, 0.91),
        ("self-harm/intent", "self_harm", 4, 0.77),
    ]
    with pytest.raises(UnreadableError, match="nothing is said of illicit"):
        read(recorded("moderations-older"), {"illicit": 0.3})


def test_a_word_that_nobody_knows_is_a_category_by_itself() -> None:
    def add(found: dict[str, Any]) -> None:
        found["categories"]["Gambling/Real Money"] = True
        found["category_scores"]["Gambling/Real Money"] = 0.5

    answer = spoiled("moderations-flagged", result(add))
    assert read(answer) == read(recorded("moderations-flagged"))
    assert read(answer, {"gambling_real_money": 0.3}) == [("Gambling/Real Money", "gambling_real_money", 4, 0.5)]


def test_who_leaves_out_a_category_that_a_rule_speaks_of_has_not_answered() -> None:
    def forget(found: dict[str, Any]) -> None:
        for word in ("violence", "violence/graphic"):
            del found["categories"][word], found["category_scores"][word]
        found["flagged"] = True

    with pytest.raises(UnreadableError, match="nothing is said of violence"):
        read(spoiled("moderations-flagged", result(forget)))


@pytest.mark.parametrize("value", [None, -0.01, 1.01, 1e300, "0.5", True, [], {}])
def test_what_is_no_score_is_a_failure_also_where_no_rule_speaks_of_it(value: Any) -> None:
    def change(found: dict[str, Any]) -> None:
        for word in ("violence", "violence/graphic", "hate"):
            found["category_scores"][word] = value

    with pytest.raises(UnreadableError):
        read(spoiled("moderations-flagged", result(change)))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_score_that_is_not_a_number_is_a_failure(number: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(recorded("moderations-flagged").replace(b"0.9473", number))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(results=[]),
        lambda document: document.update(results=document["results"] * 2),
        lambda document: document.update(results={}),
        lambda document: document.update(results=[None]),
        lambda document: document.pop("results"),
        result(lambda found: found.pop("categories")),
        result(lambda found: found.pop("category_scores")),
        result(lambda found: found.update(categories=[])),
        result(lambda found: found["categories"].pop("hate")),
        result(lambda found: found["categories"].update(violence="yes")),
        result(lambda found: found["categories"].update(violence=None)),
        result(lambda found: found.update(flagged=False)),
        result(lambda found: found.pop("flagged")),
    ],
)
def test_what_is_not_that_api_is_a_failure(change: Callable[[Any], Any]) -> None:
    with pytest.raises(UnreadableError):
        read(spoiled("moderations-flagged", change))


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"[]", b"<html>busy</html>", b"{", b'{"results": [', b"\xff\xfe", b"[" * 50_000],
)
def test_garbage_is_a_failure(answer: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(answer)


def test_an_answer_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(UnreadableError, match="more than 65536 bytes"):
        read(recorded("moderations-clear") + b" " * (MAX_ANSWER - len(recorded("moderations-clear")) + 1))
    assert read(recorded("moderations-clear") + b" " * (MAX_ANSWER - len(recorded("moderations-clear")))) == []
    with pytest.raises(UnreadableError):
        read(orjson.dumps({"results": ["x" * 10_000_000]}))
