"""What an engine says beside the texts of an answer: as much of it as can be no text.

Numbers under names that are known, and words such as ids, which somebody has judged (`say`): whatever else stands there
could be a way around a gate.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Say = Callable[[str], bool]
"""Whether a word may be said."""

REACH: Final = 1024
"""Items of an answer, texts of an item, and calls of a message are counted up to here."""
_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:[]")
_LONGEST: Final = 128
# Numbers that any reader of JSON has.
_MOST: Final = 1 << 53
_WORDS: Final = ("object", "system_fingerprint", "service_tier")
_COUNTS: Final = frozenset(
    {
        "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
        "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details", "cached_tokens",
        "cache_write_tokens", "reasoning_tokens", "audio_tokens", "text_tokens", "image_tokens", "tool_output_tokens",
        "accepted_prediction_tokens", "rejected_prediction_tokens", "input_tokens_per_turn", "cached_tokens_per_turn",
        "output_tokens_per_turn", "tool_output_tokens_per_turn",
    }
)  # fmt: skip
_DEEPEST: Final = 4


def is_word(given: Any) -> bool:
    """Whether it has the shape of an id or of a word of the API's own, and not that of a text."""
    return isinstance(given, str) and 0 < len(given) <= _LONGEST and _CHARS.issuperset(given)


def place(given: Any) -> int:
    """The number of an item, a text or a call; 0 for what is none."""
    return given if given.__class__ is int and 0 <= given < REACH else 0


def head_of(said: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """What a chunk, or a whole answer, says of itself. The model's name is the gateway's own by now."""
    head: dict[str, Any] = {}
    for name, value in said.items():
        if name == "model":
            head[name] = value
        elif name == "id":
            head[name] = value if is_word(value) and say(value) else "answer"
        elif (name == "created" and _is_number(value)) or (name in _WORDS and is_word(value) and say(value)):
            head[name] = value
    return head


def counts(usage: Any) -> dict[str, Any] | None:
    """The tokens used; None where it is not said how many."""
    if not isinstance(usage, dict):
        return None
    found = {name: _counted(value) for name, value in usage.items() if name in _COUNTS}
    return {name: value for name, value in found.items() if value is not None}


def _counted(value: Any) -> Any:
    if isinstance(value, list):
        return [each for each in value if _is_number(each)]
    return value if _is_number(value) else counts(value)


def reflected(value: Any, asked: Any, say: Say) -> Any:
    """What a response says of its request: what was `asked`, or what an engine takes where nothing is, if that is no
    text.
    """
    return value if value == asked or _is_harmless(value, say, _DEEPEST) else asked


def _is_harmless(value: Any, say: Say, depth: int) -> bool:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return depth > 0 and all(_is_harmless(each, say, depth - 1) for each in value)
    if isinstance(value, str):
        return is_word(value) and say(value)
    return value is None or isinstance(value, bool | float) or _is_number(value)


def _is_number(value: Any) -> bool:
    return value.__class__ is int and abs(value) < _MOST
