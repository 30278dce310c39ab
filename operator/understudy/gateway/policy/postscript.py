"""What a player is told at the end of an answer: that they talk to a machine, that an hour is over.

It becomes part of the answer's text, so that whatever shows the one shows the other. Answers that call tools, or that
were cut, get none: nobody would read it.
"""

from collections.abc import Mapping
from typing import Any, Final

from understudy.gateway.policy.operations import CHAT, COMPLETIONS, RESPONSES, Operation

GAP: Final = "\n\n"
# Ways to end after which somebody reads the text.
_READ: Final = frozenset({"stop", "length"})


def takes(operation: Operation, document: Mapping[str, Any]) -> bool:
    """Whether an answer to such a request can have one: one text for a person, in no form that something parses."""
    if operation not in (CHAT, COMPLETIONS, RESPONSES) or document.get("n", 1) != 1 or document.get("echo") is True:
        return False
    shaped = document.get("response_format")
    if operation is RESPONSES:
        text = document.get("text")
        shaped = text.get("format") if isinstance(text, dict) else None
    plain = shaped is None or (isinstance(shaped, dict) and shaped.get("type") == "text")
    return plain and not document.get("structured_outputs") and not isinstance(document.get("prompt"), list)


def whole(answer: dict[str, Any], text: str) -> bool:
    """Put it at the end of a whole answer; whether that was done."""
    choice = _choice(answer)
    if choice is None:
        return False
    message = choice.get("message")
    holder, field = (message, "content") if isinstance(message, dict) else (choice, "text")
    if not isinstance(holder.get(field), str) or holder.get("tool_calls"):
        return False
    holder[field] += GAP + text
    return True


def streamed(chunk: dict[str, Any], text: str) -> list[dict[str, Any]] | None:
    """The chunks in the place of the one that ends an answer; None if this one does not end it, or it gets none."""
    choice = _choice(chunk)
    if choice is None:
        return None
    empty: dict[str, Any] = {"delta": {}}
    added: dict[str, Any] = {"delta": {"content": GAP + text}}
    if not isinstance(choice.get("delta"), dict):
        empty, added = {"text": ""}, {"text": GAP + text}
    said = {**chunk, "choices": [{**choice, "finish_reason": None}]}
    more = {**chunk, "choices": [{"index": choice.get("index", 0), **added, "logprobs": None, "finish_reason": None}]}
    last = {**chunk, "choices": [{**choice, **empty, "logprobs": None}]}
    for each in (said, more):
        if each.get("usage") is not None:
            each["usage"] = None
    return [said, more, last] if _says(choice) else [more, last]


def _choice(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    return choice if choice.get("finish_reason") in _READ else None


def _says(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta")
    return bool(delta.get("content")) if isinstance(delta, dict) else bool(choice.get("text"))
