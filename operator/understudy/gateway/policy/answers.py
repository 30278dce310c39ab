"""What an engine's answer contains: content or none, tokens used, and the model that it claims to come from."""

from typing import Any, Final

# No request takes more tokens, so a higher count is none: sums of those would leave the 64 bits in which they are told.
_MOST_TOKENS: Final = 10**9
_SAID: Final = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal", "audio")
# Statuses by which an engine says that the gateway, not the client, is at fault, or that it is overloaded.
_ENGINES_FAULT: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 426, 429})


def choices_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of an answer, or of one chunk of a stream; none where that is not what it has there."""
    choices = answer.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def says_something(answer: dict[str, Any]) -> bool:
    """Whether an answer, or one chunk of a stream, carries anything for the reader."""
    for choice in choices_of(answer):
        if choice.get("text") or _said(choice.get("delta")) or _said(choice.get("message")):
            return True
    return False


def finishes(chunk: dict[str, Any]) -> bool:
    """Whether a chunk ends a choice: even an answer without a word is one from then on."""
    return any(choice.get("finish_reason") is not None for choice in choices_of(chunk))


def has_choices(answer: dict[str, Any]) -> bool:
    """Whether an answer has choices at all: embeddings and usage chunks have none."""
    return bool(answer.get("choices"))


def tokens_used(answer: dict[str, Any]) -> tuple[int, int] | None:
    """Prompt and completion tokens of the `usage` member, None without a sound one."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    if "input_tokens" in usage:
        prompt, completion = usage["input_tokens"], usage.get("output_tokens", 0)
    else:
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    return (prompt, completion) if _is_count(prompt) and _is_count(completion) else None


def is_refusal(status: int) -> bool:
    """Whether a 4xx is the engine's judgement of the request, and thus the client's to hear."""
    return 400 <= status < 500 and status not in _ENGINES_FAULT


def _is_count(number: Any) -> bool:
    return number.__class__ is int and 0 <= number <= _MOST_TOKENS


def _said(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    for field in _SAID:  # noqa: SIM110  # on every answer's path, and half as long as any() of a generator
        if part.get(field):
            return True
    return False
