"""What each answer of the API server is taken for; the bodies are those of a real server."""

from typing import Any

import orjson
import pytest

from understudy.kube.errors import (
    ApiError,
    Conflict,
    Failure,
    Gone,
    NotFound,
    Retry,
    Terminal,
    classify,
    from_answer,
    unreachable,
)


def body(message: str = "no", reason: str = "", causes: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {"kind": "Status", "message": message, "reason": reason, "details": {"causes": causes}}


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (404, body("models.understudy.dev not found", "NotFound"), NotFound()),
        (409, body("field conflict", "Conflict", [{"reason": "FieldManagerConflict"}]), Conflict()),
        (409, body("the object has been modified", "Conflict"), Conflict()),
        (409, body("already exists", "AlreadyExists"), Conflict()),
        (410, body("too old resource version", "Expired"), Gone()),
        (422, body("spec.x: Invalid value", "Invalid", [{"field": "spec.x"}]), Terminal("spec.x: Invalid value")),
        (422, body("uid", "Invalid", [{"field": "metadata.uid"}]), Conflict()),
        (400, body("bad request", "BadRequest"), Terminal("bad request")),
        (405, body("not allowed"), Terminal("not allowed")),
        (415, body("unsupported"), Terminal("unsupported")),
        (401, body("Unauthorized", "Unauthorized"), Retry(1.0)),
        (403, body("cannot list pods", "Forbidden"), Retry(1.0)),
        (403, body("x", "Forbidden", [{"reason": "NamespaceTerminating"}]), Terminal("x")),
        (403, body("namespace a is being terminated"), Terminal("namespace a is being terminated")),
        (403, body("exceeded quota: pods"), Retry(30.0)),
        (429, body("storage is (re)initializing", "TooManyRequests"), Retry(1.0)),
        (500, body("failed to create typed patch object (x): .spec.y: field not declared in schema"), None),
        (500, body("etcdserver: request timed out"), Retry(1.0)),
        (502, body(), Retry(1.0)),
        (503, body("apiserver is shutting down"), Retry(1.0)),
        (504, body("Timeout"), Retry(1.0)),
    ],
)
def test_an_answer_says_what_to_do_next(status: int, answer: dict[str, Any], expected: Failure | None) -> None:
    assert classify(status, answer) == (expected if expected is not None else Terminal(answer["message"]))


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 1.0), ("soon", 1.0), ("3600", 60.0)])
def test_a_busy_server_says_how_long_to_wait(header: str, seconds: float) -> None:
    assert classify(429, body(), header) == Retry(seconds)


def test_a_plain_text_answer_becomes_the_message() -> None:
    error = from_answer(404, b"404 page not found\n")
    assert error.message == "404 page not found"
    assert error.failure == NotFound()


def test_an_answer_that_is_json_but_no_status_is_survived() -> None:
    error = from_answer(500, b"[1, 2]")
    assert (error.message, error.failure) == ("[1, 2]", Retry(1.0))


def test_an_answer_without_details_is_survived() -> None:
    assert from_answer(422, orjson.dumps({"message": "no"})).failure == Terminal("no")


def test_no_answer_is_worth_a_retry() -> None:
    error = unreachable(ConnectionResetError("reset by peer"))
    assert (error.status, error.failure) == (0, Retry(1.0))
    assert str(error) == "no answer ConnectionResetError: reset by peer"


def test_a_silent_timeout_still_has_words() -> None:
    assert unreachable(TimeoutError()).message == "no answer in time"


def test_the_text_names_status_reason_and_message() -> None:
    assert str(from_answer(409, orjson.dumps(body("modified", "Conflict")))) == "409 Conflict: modified"
    assert str(ApiError(404, "", "gone", NotFound())) == "404: gone"
