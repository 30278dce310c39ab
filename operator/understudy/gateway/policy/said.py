"""What a request says to a model: every string of it, where it stands, and whether there is something that is no text.

What is not known is taken for something that the model sees: a new field must not be a way around a Guardrail.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, DETOKENIZE, RESPONSES, TOKENIZE, Operation

# Of a request, what says how and by whom it is to be answered.
_SETTINGS: Final = frozenset(
    {
        "model", "user", "stream_options", "metadata", "prompt_cache_key", "safety_identifier", "service_tier", "stop",
        "bad_words", "logit_bias", "cache_salt", "encoding_format", "embed_dtype", "endianness", "truncation",
        "truncation_side", "padding", "include", "reasoning_effort", "verbosity", "modalities", "audio",
        "prompt_cache_retention", "prompt_cache_options", "reasoning",
    }
)  # fmt: skip
# Of messages, what names a kind, a place or somebody in words of the API's own: no template shows it.
_NAMES: Final = frozenset({"type", "role", "id", "call_id", "tool_call_id", "item_id", "status", "detail", "format"})
# What is loaded and looked at, and its type where it is a part.
_MEDIA: Final = frozenset(
    {
        "image_url", "input_audio", "video_url", "audio_url", "file_url", "image", "audio", "video", "file",
        "input_file", "input_image", "input_video", "file_data", "image_embeds",
    }
)  # fmt: skip
# Prompts in numbers: which text they are only the engine knows.
_TOKENS: Final = ("prompt", "input")


@dataclass(frozen=True, slots=True)
class Said:
    """One string. `holder[place]` is where it stands; `role` is who says it, `path` how a person finds it."""

    path: str
    role: str
    text: str
    json: bool
    holder: Any
    place: Any

    def put(self, text: str) -> None:
        """Have the model hear something else in its place."""
        self.holder[self.place] = text


def is_heard(operation: Operation) -> bool:
    """Whether a model hears what is said on a path."""
    return operation not in (TOKENIZE, DETOKENIZE)


def in_tokens(document: Mapping[str, Any]) -> str:
    """The field of a request whose prompt is in numbers, empty if none is."""
    return next((field for field in _TOKENS if _numbers(document.get(field))), "")


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and any(
        part.__class__ is int or (isinstance(part, list) and any(each.__class__ is int for each in part))
        for part in value
    )


def shows_media(document: Mapping[str, Any]) -> bool:
    """Whether anything in it is no text."""
    return any(_shows(value) for field, value in document.items() if field not in _SETTINGS)


def _shows(value: Any) -> bool:
    if isinstance(value, dict):
        return any((key in _MEDIA and each) or _shows(each) for key, each in value.items()) or (
            isinstance(value.get("type"), str) and value["type"] in _MEDIA
        )
    return isinstance(value, list) and any(_shows(each) for each in value)


def said(operation: Operation, document: dict[str, Any]) -> Iterator[Said]:
    """Every string that a model hears, in the order in which it does, as far as that can be told."""
    for field, value in document.items():
        if field in _SETTINGS:
            continue
        if isinstance(value, str):
            yield Said(field, _role(operation, field), value, json=False, holder=document, place=field)
        elif isinstance(value, list | dict):
            skipped = _NAMES | _MEDIA if field in ("messages", "input") else _MEDIA
            yield from _within(value, field, _role(operation, field), skipped)


def _role(operation: Operation, field: str) -> str:
    if field in ("tools", "functions", "instructions", "documents"):
        return "system"
    return "user" if operation in (CHAT, COMPLETIONS, RESPONSES) else "text"


def _within(value: list[Any] | dict[str, Any], path: str, role: str, skipped: frozenset[str]) -> Iterator[Said]:
    places: list[tuple[Any, Any, str]]
    if isinstance(value, dict):
        spoken = value.get("role")
        role = spoken if isinstance(spoken, str) and len(spoken) <= _LONGEST_ROLE else role
        places = [(key, each, f"{path}.{key}") for key, each in value.items() if key not in skipped]
    else:
        places = [(number, each, f"{path}[{number}]") for number, each in enumerate(value)]
    for place, each, where in places:
        if isinstance(each, str):
            yield Said(where, role, each, json=place == "arguments", holder=value, place=place)
        elif isinstance(each, list | dict):
            yield from _within(each, where, role, skipped)


_LONGEST_ROLE: Final = 32
