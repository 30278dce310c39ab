"""What a player is told at the end of an answer of the Responses API: as in `postscript.py`, in its last message.

What ends a message comes before it is known whether it was the last. So those events wait for the one that follows
them, which engines send at once.
"""

from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.postscript import GAP

_DELTA: Final = "response.output_text.delta"
# A text ends, then its part, then its item.
_TEXT: Final = "response.output_text.done"
_PART: Final = "response.content_part.done"
_ITEM: Final = "response.output_item.done"
_CUT: Final = "max_output_tokens"


@dataclass(frozen=True, slots=True)
class _Last:
    """The last message of a response, the text with which it ends, and where both are."""

    item: dict[str, Any]
    part: dict[str, Any]
    output_index: int
    content_index: int


def whole_response(answer: dict[str, Any], text: str) -> bool:
    """Put it at the end of a whole response; whether that was done."""
    last = _last(answer)
    if last is None:
        return False
    last.part["text"] += GAP + text
    return True


class ResponsePostscript:
    """Puts `text` at the end of a streamed response; `done` once it is there."""

    __slots__ = ("_held", "_text", "done")

    def __init__(self, text: str) -> None:
        self._text = text
        self._held: list[dict[str, Any]] = []
        self.done = False

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for an event that came."""
        if event.get("type") in (_TEXT, _PART, _ITEM):
            self._held.append(event)
            return []
        response = event.get("response")
        last = _last(response) if isinstance(response, dict) else None
        return [*self.rest(), event] if last is None else self._ended(event, last)

    def rest(self) -> list[dict[str, Any]]:
        """What waits, as it came: the answer does not end with it, or has no end."""
        held, self._held = self._held, []
        return held

    def _ended(self, event: dict[str, Any], last: _Last) -> list[dict[str, Any]]:
        self.done = True
        added = GAP + self._text
        last.part["text"] += added
        ending = [*self.rest(), event]
        said: dict[str, Any] = {
            "type": _DELTA,
            "item_id": last.item.get("id"),
            "output_index": last.output_index,
            "content_index": last.content_index,
            "delta": added,
            "logprobs": [],
        }
        first = ending[0].get("sequence_number")
        for number, each in enumerate((said, *ending), first if first.__class__ is int else 0):
            _tell_all(each, last)
            each["sequence_number"] = number
        return [said, *ending]


def _tell_all(event: dict[str, Any], last: _Last) -> None:
    """Have an event that ends the last text, its part or its item say all of it."""
    if event.get("output_index") != last.output_index:
        return
    if event["type"] == _ITEM:
        event["item"] = last.item
    elif event.get("content_index") == last.content_index:
        if event["type"] == _PART:
            event["part"] = last.part
        elif event["type"] == _TEXT:
            event["text"] = last.part["text"]


def _last(response: dict[str, Any]) -> _Last | None:
    """Where a person reads the end of a response that has ended; None if it called anything, or was stopped."""
    details = response.get("incomplete_details")
    cut = response.get("status") == "incomplete" and isinstance(details, dict) and details.get("reason") == _CUT
    output = response.get("output")
    if not (cut or response.get("status") == "completed") or not isinstance(output, list):
        return None
    if any(str(item.get("type")).endswith("_call") for item in output if isinstance(item, dict)):
        return None
    item = output[-1] if output else None
    content = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
    part = content[-1] if isinstance(content, list) and content else None
    if not isinstance(part, dict) or part.get("type") != "output_text" or not isinstance(part.get("text"), str):
        return None
    return _Last(output[-1], part, len(output) - 1, len(content or ()) - 1)
