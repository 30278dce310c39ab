"""What a request says to a model: every string of it, where it stands, and whether there is something that is no text.

What is not known is taken for something that the model sees: a new field must not be a way around a Guardrail. Names of
members are seen too, such as those of a tool's parameters, and so are ids, which some templates show.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, DETOKENIZE, RESPONSES, TOKENIZE, Operation

# Of a request, what says how and by whom it is to be answered.
_SETTINGS: Final = frozenset(
    {
        "model", "user", "stream_options", "metadata", "prompt_cache_key", "safety_identifier", "service_tier", "stop",
        "bad_words", "logit_bias", "cache_salt", "encoding_format", "embed_dtype", "endianness", "truncation",
        "truncation_side", "padding", "include", "modalities", "audio", "prompt_cache_retention",
        "prompt_cache_options",
    }
)  # fmt: skip
# Whose members are named by whoever writes them: none of them is a picture for being called so.
_OPEN: Final = frozenset(
    {
        "tools", "functions", "tool_choice", "function_call", "response_format", "structured_outputs", "guided_json",
        "guided_choice", "chat_template_kwargs", "text", "arguments", "parameters",
    }
)  # fmt: skip
_TURNS: Final = ("messages", "input")
# Of messages, what names a kind, a place or somebody, and the API's own words for that.
_NAMES: Final = frozenset({"type", "role", "id", "call_id", "tool_call_id", "item_id", "status", "detail", "format"})
_WORDS: Final = frozenset(
    {
        "system", "developer", "user", "assistant", "tool", "function", "text", "message", "input_text", "output_text",
        "refusal", "reasoning", "reasoning_text", "summary_text", "function_call", "function_call_output", "custom",
        "custom_tool_call", "custom_tool_call_output", "completed", "in_progress", "incomplete", "auto", "low", "high",
        "image_url", "input_audio", "video_url", "audio_url", "file_url", "file", "input_file", "input_image",
        "input_video",
    }
)  # fmt: skip
# Names of members that the API gives, and those of schemas: nobody has anything judged by them.
_KNOWN: Final = _NAMES | {
    "content", "text", "name", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "function",
    "arguments", "input", "output", "summary", "annotations", "logprobs", "audio", "image_url", "input_audio", "url",
    "data", "file", "parameters", "strict", "properties", "required", "description", "items", "enum", "title",
    "default", "additionalProperties", "anyOf", "oneOf", "allOf", "const", "minimum", "maximum", "json_schema",
    "schema", "json", "regex", "choice", "grammar", "tools", "effort", "encrypted_content", "prefix", "$defs", "$ref",
}  # fmt: skip
# What is loaded and looked at, and its type where it is a part.
_MEDIA: Final = frozenset(
    {
        "image_url", "input_audio", "video_url", "audio_url", "file_url", "image", "audio", "video", "file",
        "input_file", "input_image", "input_video", "file_data", "image_embeds",
    }
)  # fmt: skip
# Of a message, parts whose text is in a member that is called as they are; that of all others is in `text`.
_OTHER_PARTS: Final = ("refusal", "thinking")
# Prompts in numbers: which text they are only the engine knows.
_TOKENS: Final = ("prompt", "input")
# From here on a number may be one of somebody's: a template shows it as a text would be.
_LONG_NUMBER: Final = 10**8

# Whose members are read: of messages, of parts of something, or whatever somebody calls them.
_Kind = Literal["turns", "parts", "open"]


@dataclass(frozen=True, slots=True)
class Said:
    """One string. `holder[place]` is where it stands; `role` is who says it, `path` how a person finds it.

    `word`: a name, or an id, in whose place nothing else could stand. `answered`: somebody has said something to it
    already, and it is sent again with what is new. `part_of`: the list of a message whose part it is the text of, empty
    where it is not.
    """

    path: str
    role: str
    text: str
    json: bool
    holder: Any
    place: Any
    word: bool = False
    answered: bool = False
    part_of: str = ""

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
    return any(_shows(value) for field, value in document.items() if field not in _SETTINGS and field not in _OPEN)


def _shows(value: Any) -> bool:
    if isinstance(value, dict):
        kind = value.get("type")
        return (isinstance(kind, str) and kind in _MEDIA) or any(
            (key in _MEDIA and each) or (key not in _OPEN and _shows(each)) for key, each in value.items()
        )
    return isinstance(value, list) and any(_shows(each) for each in value)


def said(operation: Operation, document: dict[str, Any]) -> Iterator[Said]:
    """Every string that a model hears, in the order in which it does, as far as that can be told."""
    for field, value in document.items():
        if field in _SETTINGS:
            continue
        role = _role(operation, field)
        if isinstance(value, str):
            yield Said(field, role, value, json=False, holder=document, place=field)
        elif isinstance(value, list) and field in _TURNS:
            answered = _answered(value)
            for number in range(len(value)):
                yield from _one(value, number, f"{field}[{number}]", role, "turns", number < answered)
        elif isinstance(value, list | dict):
            yield from _within(value, field, role, "open" if field in _OPEN else "parts", answered=False)


def _role(operation: Operation, field: str) -> str:
    if field in ("tools", "functions", "instructions", "documents"):
        return "system"
    return "user" if operation in (CHAT, COMPLETIONS, RESPONSES) else "text"


def _answered(turns: list[Any]) -> int:
    """Before which turn everything has been answered: the last one of the assistant's that others come after."""
    at = len(turns)
    while at and _answers(turns[at - 1]):
        # The beginning of the answer that is asked for.
        at -= 1
    while at and not _answers(turns[at - 1]):
        at -= 1
    return at


def _answers(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "assistant"


def _within(value: list[Any] | dict[str, Any], path: str, role: str, kind: _Kind, *, answered: bool) -> Iterator[Said]:
    if isinstance(value, list):
        for number in range(len(value)):
            yield from _one(value, number, f"{path}[{number}]", role, kind, answered)
        return
    spoken = value.get("role")
    if kind != "open" and isinstance(spoken, str) and len(spoken) <= _LONGEST_ROLE:
        role = spoken
    for key in value:
        if kind != "open" and key in _MEDIA:
            continue
        # What somebody calls a thing is no part of any record or refusal.
        where = f"{path}.{key if key in _KNOWN else '*'}"
        if key not in _KNOWN:
            yield Said(where, role, key, json=False, holder=None, place=None, word=True, answered=answered)
        yield from _one(value, key, where, role, kind, answered)


def _one(holder: Any, place: Any, where: str, role: str, kind: _Kind, answered: bool) -> Iterator[Said]:
    value = holder[place]
    if isinstance(value, str):
        word = kind == "turns" and place in _NAMES
        if not (word and value in _WORDS):
            json = place == "arguments"
            parts = _parts(holder, place, where) if kind == "turns" else ""
            yield Said(where, role, value, json, holder, place, word, answered, parts)
    elif isinstance(value, list | dict):
        yield from _within(value, where, role, "open" if place in _OPEN else kind, answered=answered)
    elif isinstance(value, int | float) and abs(value) >= _LONG_NUMBER:
        yield Said(where, role, str(value), json=False, holder=holder, place=place, answered=answered)


def _parts(holder: Any, place: Any, where: str) -> str:
    """The list of a message whose part says this; empty where engines take it for something else."""
    if isinstance(holder, dict):
        kind = holder.get("type")
        if place != (kind if kind in _OTHER_PARTS else "text") or where.rpartition("]")[2].count(".") > 1:
            return ""
    parts = where[: where.rindex("[")]
    # The list of all messages is no message.
    return parts if "." in parts else ""


_LONGEST_ROLE: Final = 32
