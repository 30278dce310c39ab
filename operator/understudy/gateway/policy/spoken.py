"""What the gateway itself says in the place of a model: a whole answer, in the shape that the client asked for."""

from typing import Any, Final

import orjson

from understudy.gateway.policy.operations import CHAT, RESPONSES, Operation

_DONE: Final = b"data: [DONE]\n\n"
# Events by which a response begins.
_BEGUN: Final = 2


def spoken(operation: Operation, name: str, text: str, request_id: str, created: int) -> bytes:
    """The body of a whole answer of the model that the client calls `name`; `created` is in Unix seconds."""
    if operation is RESPONSES:
        return orjson.dumps(_response(name, text, request_id, created, done=True))
    return orjson.dumps(_choices(operation, name, text, request_id, created, stream=False))


def spoken_events(
    operation: Operation, name: str, text: str, request_id: str, created: int, at: tuple[int, int] = (0, 0)
) -> bytes:
    """The same as the events of a stream, its end mark included.

    `at` are so many items, and events, that a response has said already: then it only goes on.
    """
    if operation is RESPONSES:
        items, number = at
        events = _events(name, text, request_id, created, items)[_BEGUN if number else 0 :]
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps({**event, "sequence_number": number}))
            for number, event in enumerate(events, number)
        )
    said = _choices(operation, name, text, request_id, created, stream=True)
    if operation is CHAT:
        (choice,) = said["choices"]
        ended = {**said, "choices": [{**choice, "finish_reason": "stop", "delta": {}}]}
        return b"data: %b\n\ndata: %b\n\n%b" % (orjson.dumps(said), orjson.dumps(ended), _DONE)
    # Clients know no choice of completions without a reason to end.
    return b"data: %b\n\n%b" % (orjson.dumps(said), _DONE)


def _choices(
    operation: Operation, name: str, text: str, request_id: str, created: int, *, stream: bool
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    kind, said = ("chat.completion", {"message": message}) if operation is CHAT else ("text_completion", {"text": text})
    finish: str | None = "stop"
    if stream and operation is CHAT:
        kind, said, finish = "chat.completion.chunk", {"delta": message}, None
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
    answer = {"id": f"gateway-{request_id}", "object": kind, "created": created, "model": name, "choices": [choice]}
    return answer if stream else {**answer, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}


def _response(name: str, text: str, request_id: str, created: int, *, done: bool) -> dict[str, Any]:
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": created,
        "status": "completed" if done else "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": name,
        "output": [_message(text, request_id, done=True)] if done else [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        }
        if done
        else None,
    }


def _message(text: str, request_id: str, *, done: bool) -> dict[str, Any]:
    return {
        "id": f"msg_{request_id}",
        "type": "message",
        "role": "assistant",
        "status": "completed" if done else "in_progress",
        "content": [_part(text)] if done else [],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _events(name: str, text: str, request_id: str, created: int, items: int) -> list[dict[str, Any]]:
    place = {"item_id": f"msg_{request_id}", "output_index": items, "content_index": 0}
    begun = _response(name, text, request_id, created, done=False)
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": items, "item": _message(text, request_id, done=False)},
        {"type": "response.content_part.added", **place, "part": _part("")},
        {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(text)},
        {"type": "response.output_item.done", "output_index": items, "item": _message(text, request_id, done=True)},
        {"type": "response.completed", "response": _response(name, text, request_id, created, done=True)},
    ]
