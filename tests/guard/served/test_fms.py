"""The detector API of FMS and TrustyAI: findings with their places, which must be places in the text."""

import operator
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.guard.served.answers import TEXT, WINDOW, recorded, spoiled
from understudy.guard.findings import Finding
from understudy.guard.served.codec import UnreadableError
from understudy.guard.served.fms import Fms


def read(answer: bytes, **least: float) -> tuple[Finding, ...]:
    return Fms("g/fms", "fms", {}, least or {"pii": 0.3}).read([answer], WINDOW, "output")


def first(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    return lambda document: change(document[0][0])


def test_a_question_has_the_text_the_parameters_and_the_detectors_name() -> None:
    codec = Fms("g/fms", "fms", {"regex": ["email"]}, {"pii": 0.3})
    (question,) = codec.questions(WINDOW, "output", "")
    assert (question.path, question.fields) == ("/api/v1/text/contents", {"detector-id": "fms"})
    assert question.body == {"contents": [TEXT], "detector_params": {"regex": ["email"]}}


def test_findings_say_where_in_the_whole_text_they_are() -> None:
    finding = Finding("g/fms", "email_address", "pii", 6, 1.0, 115, 126, WINDOW.end, WINDOW.start)
    assert read(recorded("fms-pii")) == (finding,)
    assert read(recorded("fms-clear")) == ()


def test_a_category_is_the_type_or_the_detection_that_a_rule_speaks_of() -> None:
    assert [(f.category, f.severity) for f in read(recorded("fms-pii"), small_talk=0.3)] == [("small_talk", 2)]
    assert [f.category for f in read(recorded("fms-pii"), email_address=0.3, pii=0.3)] == ["email_address"]
    assert read(recorded("fms-pii"), small_talk=0.5) == ()


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, 3), (0, 27), (3, 3), (5, 4), (0.0, 3), ("0", 3), (None, 3), (0, None), (False, True), (2**70, 2**70 + 1)],
)
def test_a_place_that_is_none_is_a_failure(start: Any, end: Any) -> None:
    with pytest.raises(UnreadableError):
        read(orjson.dumps([[]])[:-2] + repr_of(start, end) + b"]]")


def repr_of(start: Any, end: Any) -> bytes:
    """As JSON has it: also what orjson would not write."""
    words = [{None: "null", False: "false", True: "true"}.get(each) if not isinstance(each, int | float | str)
             or isinstance(each, bool) else repr(each).replace("'", '"') for each in (start, end)]  # fmt: skip
    return (
        f'{{"start": {words[0]}, "end": {words[1]}, "detection": "d", "detection_type": "pii", "score": 0.9}}'
    ).encode()


def test_who_counts_otherwise_than_in_code_points_is_not_believed() -> None:
    spoil = spoiled("fms-pii", first(lambda entry: entry.update(start=16, end=27)))
    with pytest.raises(UnreadableError):
        read(spoil)
    spoil = spoiled("fms-pii", first(lambda entry: entry.update(start=14, end=25)))
    with pytest.raises(UnreadableError, match="positions count code points"):
        read(spoil)
    # One that does not repeat the text has to be believed.
    assert len(read(spoiled("fms-pii", first(operator.methodcaller("pop", "text"))))) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.clear(),
        lambda document: document.append([]),
        lambda document: document.__setitem__(0, {}),
        lambda document: document.__setitem__(0, [3]),
        first(lambda entry: entry.pop("score")),
        first(lambda entry: entry.update(score=1.5)),
        first(lambda entry: entry.update(score=-1)),
        first(lambda entry: entry.update(score="high")),
        first(lambda entry: entry.pop("detection")),
        first(lambda entry: entry.update(detection_type=None)),
    ],
)
def test_what_is_not_that_api_is_a_failure(change: Callable[[Any], Any]) -> None:
    with pytest.raises(UnreadableError):
        read(spoiled("fms-pii", change))


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b"null", b'[[{"score": NaN}]]', b'{"detections": []}'])
def test_garbage_is_a_failure(answer: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(answer)
