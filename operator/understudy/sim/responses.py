"""What a simulated engine says on `/v1/responses`: the same answers in the shape of OpenAI's Responses API.

Events come in vLLM's order (0.33): the response twice without output, then its one message opened, filled and closed,
then the whole response; nothing marks the end of the stream beside that.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from understudy.sim.answers import Answer, Request

_PART: Mapping[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def whole_response(request: Request, said: Answer, head: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is not streamed, and of the last event; `head` holds id, created and model."""
    cut = said.finish_reason == "length"
    return {
        **_response(head),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [_message(head, said)],
        "usage": {
            "input_tokens": request.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(said.tokens),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": request.prompt_tokens + len(said.tokens),
        },
    }


class ResponseEvents:
    """Server-sent events of one streamed response, as bytes."""

    def __init__(self, request: Request, head: Mapping[str, Any]) -> None:
        self._request = request
        self._head = head
        self._number = -1
        self._place = {"item_id": f"msg_{head['id']}", "output_index": 0, "content_index": 0}

    def opening(self) -> bytes:
        """The events before the first token."""
        begun = {"response": _response(self._head)}
        item = {"output_index": 0, "item": {**_message(self._head, None), "status": "in_progress"}}
        return (
            self._event("response.created", begun)
            + self._event("response.in_progress", begun)
            + self._event("response.output_item.added", item)
            + self._event("response.content_part.added", {**self._place, "part": _PART})
        )

    def token(self, text: str, said: int) -> bytes:
        """The event of one token."""
        del said
        return self._event("response.output_text.delta", {**self._place, "delta": text, "logprobs": []})

    def closing(self, said: Answer) -> bytes:
        """The events after the last token: everything again as a whole."""
        response = whole_response(self._request, said, self._head)
        part = {**_PART, "text": said.text}
        return (
            self._event("response.output_text.done", {**self._place, "text": said.text, "logprobs": []})
            + self._event("response.content_part.done", {**self._place, "part": part})
            + self._event("response.output_item.done", {"output_index": 0, "item": response["output"][0]})
            + self._event(f"response.{response['status']}", {"response": response})
        )

    def _event(self, kind: str, body: Mapping[str, Any]) -> bytes:
        self._number += 1
        payload = orjson.dumps({**body, "sequence_number": self._number, "type": kind})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)


def _response(head: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": head["id"],
        "created_at": head["created"],
        "model": head["model"],
        "object": "response",
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "none",
        "tools": [],
        "usage": None,
    }


def _message(head: Mapping[str, Any], said: Answer | None) -> dict[str, Any]:
    return {
        "id": f"msg_{head['id']}",
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if said is not None and said.finish_reason == "length" else "completed",
        "content": [] if said is None else [{**_PART, "text": said.text}],
    }
