"""Errors in OpenAI's shape."""

import orjson
import pytest

from understudy.gateway.policy.refusal import Refusal, bad_bytes, bad_request, error_body


def test_the_body_has_the_four_members() -> None:
    body = orjson.loads(error_body(Refusal(404, "model_not_found", 'no "x"', "model")))
    assert body == {
        "error": {"message": 'no "x"', "type": "invalid_request_error", "code": "model_not_found", "param": "model"}
    }


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (503, "api_error")]
)
def test_the_type_follows_the_status(status: int, kind: str) -> None:
    assert Refusal(status, "c", "m").kind == kind


def test_only_bytes_that_cannot_be_trusted_end_the_connection() -> None:
    assert bad_bytes("x").close
    assert not bad_request("x", "p").close
