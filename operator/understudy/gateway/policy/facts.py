"""What of a request bears on how its answers are judged: how many there are, whether they are JSON, how they begin."""

from collections.abc import Mapping
from typing import Any, Final

from understudy.gateway.policy.guarding import languages
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, RESPONSES, Operation
from understudy.gateway.policy.verdicts import Facts
from understudy.guard.actions import Fiction

_ASKED: Final = 4096
_JSON: Final = ("json_object", "json_schema")
_UNFINISHED: Final = ("in_progress", "incomplete")


def facts_of(
    operation: Operation,
    document: Mapping[str, Any],
    fields: Mapping[bytes, bytes],
    room: int,
    *,
    fiction: Fiction = "",
    in_crisis: bool = False,
) -> Facts:
    """Those of one request; of a text that an answer goes on with the last `room` characters."""
    return Facts(
        languages(fields),
        fiction,
        in_crisis=in_crisis,
        json=_wants_json(operation, document),
        before=_before(operation, document, room),
    )


def expected(operation: Operation, document: Mapping[str, Any]) -> int:
    """How many choices its answer has."""
    each = document.get("n")
    each = each if each.__class__ is int and each > 0 else 1
    return each * max(1, len(_prompts(document))) if operation is COMPLETIONS else each


def last_asked(operation: Operation, document: Mapping[str, Any]) -> str:
    """The last text that a user said; of a long one the end."""
    if operation is COMPLETIONS:
        prompt = document.get("prompt")
        return prompt[-_ASKED:] if isinstance(prompt, str) else ""
    turns = document.get(operation.turns)
    if isinstance(turns, str):
        return turns[-_ASKED:]
    for turn in reversed(turns if isinstance(turns, list) else []):
        if isinstance(turn, dict) and turn.get("role") == "user":
            content = turn.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            said = [part.get("text") for part in parts if isinstance(part, dict)]
            return "\n".join(text for text in said if isinstance(text, str))[-_ASKED:]
    return ""


def _prompts(document: Mapping[str, Any]) -> list[Any]:
    prompt = document.get("prompt")
    if not isinstance(prompt, list):
        return [prompt]
    return [prompt] if prompt and all(part.__class__ is int for part in prompt) else prompt


def _wants_json(operation: Operation, document: Mapping[str, Any]) -> bool:
    shape = document.get("response_format")
    if operation is RESPONSES:
        text = document.get("text")
        shape = text.get("format") if isinstance(text, dict) else None
    if isinstance(shape, dict) and shape.get("type") in _JSON:
        return True
    outputs = document.get("structured_outputs")
    # An empty schema is one, too: any JSON.
    return document.get("guided_json") is not None or (isinstance(outputs, dict) and _says_json(outputs))


def _says_json(outputs: Mapping[str, Any]) -> bool:
    return outputs.get("json") is not None or bool(outputs.get("json_object"))


def _before(operation: Operation, document: Mapping[str, Any], room: int) -> dict[int, str]:
    """What the reader has of each choice already; nothing where the engine says it again."""
    if document.get("echo") is True:
        return {}
    if operation is COMPLETIONS:
        prompts = _prompts(document)
        each = expected(operation, document) // max(1, len(prompts))
        texts = {index: prompts[index // each] for index in range(each * len(prompts))}
        return {index: text[-room:] for index, text in texts.items() if isinstance(text, str)}
    turns = document.get(operation.turns)
    last = turns[-1] if isinstance(turns, list) and turns else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return {}
    # A turn that is not complete is gone on with in the Responses API.
    goes_on = document.get("continue_final_message") if operation is CHAT else last.get("status") in _UNFINISHED
    text = _text_of(last.get("content"))
    return dict.fromkeys(range(expected(operation, document)), text[-room:]) if goes_on and text else {}


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    said = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in said if isinstance(text, str))
