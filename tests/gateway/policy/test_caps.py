"""How much one request may ask for."""

from collections.abc import Sequence
from typing import Any

import pytest

from understudy.gateway.policy.caps import (
    MAX_LISTED,
    MAX_SCHEMA_BYTES,
    MAX_TOKENS,
    MAX_TOOLS,
    MAX_TOOLS_BYTES,
    RENDERING,
    over_cap,
)

TOOL = {"type": "function", "function": {"name": "f"}}


def each(fields: Sequence[str], *values: Any) -> list[tuple[str, Any]]:
    return [(field, value) for field in fields for value in values]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *each(("n", "best_of"), 1, 16),
        *each(("top_logprobs", "prompt_logprobs"), 0, 20),
        *each(("logprobs",), True, False, 0, 20),
        *each(("max_tokens",), 0, 1, MAX_TOKENS),
        *each(("stop",), "a", "a" * 256, [], ["a"] * 16),
        ("bad_words", ["a"] * MAX_LISTED),
        ("logit_bias", {str(i): 1 for i in range(MAX_LISTED)}),
        ("stop_token_ids", [1] * MAX_LISTED),
        ("logprob_token_ids", [1] * 20),
        ("tools", [TOOL] * MAX_TOOLS),
        ("tools", []),
        ("response_format", {"type": "json_schema", "json_schema": {"schema": "x" * (MAX_SCHEMA_BYTES - 100)}}),
        ("guided_regex", "a" * 1000),
        ("chat_template_kwargs", {"enable_thinking": False, "effort": 3, "tone": "x" * 1024, "none": None}),
        ("anything", 10**30),
    ],
)
def test_what_is_within_bounds_goes_on(field: str, value: Any) -> None:
    assert over_cap({field: value}) is None
    assert over_cap({field: None}) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *each(("n", "best_of"), 0, 17, True, "2", 2.0, [2]),
        *each(("top_logprobs", "prompt_logprobs"), -1, 21, True, "2"),
        *each(("logprobs",), -1, 21, "true", [1]),
        *each(
            ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens"),
            *(-1, MAX_TOKENS + 1, 1.5, "5", False, {}),
        ),
        *each(("stop",), 7, {}, "a" * 257, ["a"] * 17, [1], ["a" * 257]),
        ("bad_words", ["a"] * (MAX_LISTED + 1)),
        ("logit_bias", {str(i): 1 for i in range(MAX_LISTED + 1)}),
        ("logit_bias", "x"),
        ("stop_token_ids", [1] * (MAX_LISTED + 1)),
        ("logprob_token_ids", [1] * 21),
        ("tools", [TOOL] * (MAX_TOOLS + 1)),
        ("tools", TOOL),
        ("functions", [{"description": "x" * MAX_TOOLS_BYTES}]),
        *each(
            ("response_format", "structured_outputs", "text", "guided_json", "tool_choice"),
            {"x": "y" * MAX_SCHEMA_BYTES},
        ),
        ("guided_regex", "a" * MAX_SCHEMA_BYTES),
        ("chat_template_kwargs", []),
        ("chat_template_kwargs", {str(i): i for i in range(33)}),
        *each(("chat_template_kwargs",), {"x": []}, {"x": {}}, {"x": "x" * 1025}),
        *(("chat_template_kwargs", {key: True}) for key in sorted(RENDERING)),
    ],
)
def test_what_is_not_is_refused_by_its_name(field: str, value: Any) -> None:
    found = over_cap({"model": "m", field: value})
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "invalid_request", field)
    assert found.message.startswith(f"{field}: ")
