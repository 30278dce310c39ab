"""How much one request may ask for: each bound keeps one client's single request from being a hundred requests.

They are checked here and not left to engines because engines bound some of them by flags, others not at all.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import Refusal, bad_request

MAX_CHOICES: Final = 16
MAX_LOGPROBS: Final = 20
MAX_TOKENS: Final = 10_000_000
MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 256
MAX_LISTED: Final = 1024
MAX_TOOLS: Final = 128
MAX_TOOLS_BYTES: Final = 256 * 1024
MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_TEMPLATE_KWARGS: Final = 32
MAX_TEMPLATE_TEXT: Final = 1024
# Parameters of the tokenizer's own rendering, which a template's variables are passed beside: with them a client
# could bring its own template, or have the engine return something else than a prompt.
RENDERING: Final = frozenset(
    {
        "chat_template", "conversation", "messages", "tools", "documents", "tokenize", "padding", "truncation",
        "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs",
        "processor_kwargs", "add_generation_prompt", "continue_final_message",
    }
)  # fmt: skip

Check = Callable[[str, Any], Refusal | None]


def over_cap(body: Mapping[str, Any]) -> Refusal | None:
    """The refusal for the first field that asks for too much, or is not of the kind that could be bounded."""
    for name, value in body.items():
        check = _CHECKS.get(name)
        if check is not None and value is not None:
            refusal = check(name, value)
            if refusal is not None:
                return refusal
    return None


def _whole(low: int, high: int) -> Check:
    def check(name: str, value: Any) -> Refusal | None:
        if value.__class__ is int and low <= value <= high:
            return None
        return bad_request(f"{name}: want a whole number from {low} to {high}", name)

    return check


def _logprobs(name: str, value: Any) -> Refusal | None:
    # A flag in chat, a number of alternatives in completions.
    if value.__class__ is bool or (value.__class__ is int and 0 <= value <= MAX_LOGPROBS):
        return None
    return bad_request(f"{name}: want true, false, or a whole number from 0 to {MAX_LOGPROBS}", name)


def _texts(most: int) -> Check:
    def check(name: str, value: Any) -> Refusal | None:
        texts = [value] if value.__class__ is str else value
        if texts.__class__ is list and len(texts) <= most and all(map(_short, texts)):
            return None
        message = f"{name}: want a text of at most {MAX_STOP_LENGTH} characters, or a list of at most {most}"
        return bad_request(message, name)

    return check


def _short(text: Any) -> bool:
    return text.__class__ is str and len(text) <= MAX_STOP_LENGTH


def _listed(most: int) -> Check:
    def check(name: str, value: Any) -> Refusal | None:
        if value.__class__ in (list, dict) and len(value) <= most:
            return None
        return bad_request(f"{name}: want at most {most} entries", name)

    return check


def _tools(name: str, value: Any) -> Refusal | None:
    if value.__class__ is not list or len(value) > MAX_TOOLS:
        return bad_request(f"{name}: want a list of at most {MAX_TOOLS} tools", name)
    return _small(name, value, MAX_TOOLS_BYTES)


def _schema(name: str, value: Any) -> Refusal | None:
    return _small(name, value, MAX_SCHEMA_BYTES)


def _small(name: str, value: Any, most: int) -> Refusal | None:
    if len(orjson.dumps(value)) <= most:
        return None
    return bad_request(f"{name}: want at most {most} bytes of JSON", name)


def _template_kwargs(name: str, value: Any) -> Refusal | None:
    if value.__class__ is not dict or len(value) > MAX_TEMPLATE_KWARGS:
        return bad_request(f"{name}: want an object of at most {MAX_TEMPLATE_KWARGS} entries", name)
    for key, given in value.items():
        if key in RENDERING:
            return bad_request(f"{name}: {key} is not taken from clients", name)
        if given.__class__ in (list, dict) or (given.__class__ is str and len(given) > MAX_TEMPLATE_TEXT):
            message = f"{name}: want true, false, numbers, and texts of at most {MAX_TEMPLATE_TEXT} characters"
            return bad_request(message, name)
    return None


_CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(("n", "best_of"), _whole(1, MAX_CHOICES)),
    **dict.fromkeys(("top_logprobs", "prompt_logprobs"), _whole(0, MAX_LOGPROBS)),
    "logprobs": _logprobs,
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens", "thinking_token_budget"),
        _whole(0, MAX_TOKENS),
    ),
    "stop": _texts(MAX_STOPS),
    "bad_words": _texts(MAX_LISTED),
    **dict.fromkeys(("stop_token_ids", "logit_bias"), _listed(MAX_LISTED)),
    "logprob_token_ids": _listed(MAX_LOGPROBS),
    **dict.fromkeys(("tools", "functions"), _tools),
    **dict.fromkeys(
        (
            "response_format", "structured_outputs", "text", "guided_json", "guided_regex", "guided_choice",
            "guided_grammar", "tool_choice",
        ),
        _schema,
    ),
    "chat_template_kwargs": _template_kwargs,
}  # fmt: skip
