"""Errors in OpenAI's shape."""

import orjson
import pytest

from understudy.gateway.policy.refusal import Refusal, bad_bytes, bad_request, error_body, error_event


def test_the_body_has_the_four_members() -> None:
    body = orjson.loads(error_body(Refusal(404, "model_not_found", 'no "x"', "model")))
    assert body == {
        "error": {"message": 'no "x"', "type": "invalid_request_error", "code": "model_not_found", "param": "model"}
    }


def test_in_a_stream_the_body_is_an_event() -> None:
    refusal = Refusal(503, "no_capacity", "nobody is there")
    assert error_event(refusal) == b"data: %b\n\n" % error_body(refusal)


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (429, "requests"), (503, "server_error")])
def test_the_type_follows_the_status(status: int, kind: str) -> None:
    assert Refusal(status, "c", "m").kind == kind


def test_only_bytes_that_cannot_be_trusted_end_the_connection() -> None:
    assert bad_bytes("x").close
    assert not bad_request("x", "p").close


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 422, 431])
def test_what_is_wrong_with_the_request_stays_so(status: int) -> None:
    assert Refusal(status, "c", "m").terminal


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_another_moment_may_undo_may_be_asked_again_unless_it_says_otherwise(status: int) -> None:
    assert not Refusal(status, "c", "m").terminal
    assert Refusal(status, "c", "m", final=True).terminal
