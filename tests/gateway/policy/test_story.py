"""What the request log tells of a request: what was decided and measured, in words of our own."""

from typing import Any

import pytest

from understudy.domain.table import Logging
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.story import FINISHES, KEY_DIGITS, Story, finish_of, is_kept
from understudy.gateway.policy.texts import Texts


def told(story: Story, **end: Any) -> dict[str, Any]:
    given = {"deployment": "shop/talk", "fallback": "", "status": 200, "code": "", "now": 12.5, "wall": 1_800_000_000.0}
    return story.line(**{**given, **end})


def story(**more: Any) -> Story:
    made = Story("R1", "storyteller", "/v1/chat/completions", "0123456789abcdef" * 4, 10.0, stream=True)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_whole_story() -> None:
    whole = story(
        attempts=2, first_token=0.25, revision="a90b1234", track="canary", source="header", sampled=True,
        tokens=(7, 5), finish="stop",
    )  # fmt: skip
    assert told(whole) == {
        "time": "2027-01-15T07:59:57.500+00:00",
        "requestId": "R1",
        "deployment": "shop/talk",
        "servedName": "storyteller",
        "fallback": None,
        "operation": "/v1/chat/completions",
        "stream": True,
        "revision": "a90b1234",
        "track": "canary",
        "status": 200,
        "code": None,
        "attempts": 2,
        "retries": 1,
        "firstTokenSeconds": 0.25,
        "seconds": 2.5,
        "tokensIn": 7,
        "tokensOut": 5,
        "finishReason": "stop",
        "conversation": "header",
        "sampled": True,
        "key": "01234567",
        "text": None,
    }


def test_a_request_that_nobody_tried_has_no_revision_and_no_first_token() -> None:
    line = told(story(), fallback="other", status=504, code="queue_timeout")
    assert (line["status"], line["code"], line["fallback"]) == (504, "queue_timeout", "other")
    assert (line["attempts"], line["retries"]) == (0, 0)
    nothing = ("revision", "track", "firstTokenSeconds", "finishReason", "conversation")
    assert [line[field] for field in nothing] == [None] * 5


def test_of_a_keys_hash_only_the_beginning_is_told() -> None:
    assert len(told(story())["key"]) == KEY_DIGITS == 8
    assert told(Story("R1", "n", "/", "", 0.0, stream=False))["key"] is None


@pytest.mark.parametrize("reason", FINISHES)
def test_a_finish_that_is_known_is_told_as_it_is(reason: str) -> None:
    assert finish_of({"choices": [{"finish_reason": None}, {"finish_reason": reason}]}) == reason


@pytest.mark.parametrize("said", ["planted", "<script>", 7, ["stop"], {"a": 1}, True])
def test_what_an_engine_makes_up_is_other(said: Any) -> None:
    assert finish_of({"choices": [{"finish_reason": said}]}) == "other"


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"finish_reason": None}]}, {"choices": "x"}])
def test_without_a_finish_none_is_told(answer: dict[str, Any]) -> None:
    assert finish_of(answer) == ""


@pytest.mark.parametrize(
    ("status", "finish"), [("completed", "completed"), ("incomplete", "incomplete"), ("in_progress", ""), (["x"], "")]
)
def test_a_response_ends_by_its_status(status: Any, finish: str) -> None:
    assert finish_of({"status": status, "output": []}) == finish


def test_failures_of_ours_are_always_kept_and_of_the_rest_a_share() -> None:
    assert is_kept(502, 0.999, 0.0)
    assert not is_kept(200, 0.0, 0.0)
    assert [is_kept(200, lot / 1000, 2.5) for lot in range(1000)].count(True) == 25
    assert is_kept(404, 0.999, 100.0)


def test_texts_are_listened_to_and_told_only_where_they_are_kept() -> None:
    plain, kept, half = story(), story(), Half(stream=False, room=10)
    kept.texts = Texts(Logging("released", max_bytes=100), {"prompt": "hi"}, "")
    assert (plain.listening(None), plain.listening(half), plain.room) == (None, half, 0)
    assert kept.room > 100
    ear = kept.listening(None)
    assert ear is not None
    ear.heard({"choices": [{"index": 0, "message": {"content": "hello"}}]})
    # Of a stream the client has something from its first token on, of any other answer when it is whole.
    assert told(kept, status=200)["text"]["answer"] == "hello"
    assert told(kept, status=502, code="engine_lost")["text"]["answer"] == ""
    kept.first_token = 0.5
    assert told(kept, status=200, code="engine_lost")["text"]["answer"] == "hello"


def test_a_request_that_a_guardrail_forbids_is_not_told_and_one_whose_answer_it_forbids_is() -> None:
    kept = story()
    kept.texts = Texts(Logging("released", max_bytes=100), {"prompt": "hi"}, "")
    assert told(kept, status=400, code="content_filter")["text"]["request"] == ""
    assert told(kept, status=404, code="model_not_found")["text"]["request"] == '{"prompt":"hi"}'
    kept.attempts = 1
    assert told(kept, status=400, code="content_filter")["text"]["request"] == '{"prompt":"hi"}'
