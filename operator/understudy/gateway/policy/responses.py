"""OpenAI's Responses API as far as it needs no memory: what is refused, and what its answers and events mean.

An engine would keep what it answered, by ids that any client could name; and no second engine would know them. Every
request therefore brings its whole conversation, and engines are told to store nothing.
"""

from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import Refusal, bad_request, error_object, unsupported

# What only a server that remembers could do.
_REMEMBERED: Final = {
    "previous_response_id": "nothing is kept here: send the whole conversation as input",
    "conversation": "nothing is kept here: send the whole conversation as input",
    "prompt": "no prompts are kept here: send instructions and input",
    "background": "nothing is kept here: ask without background and read the answer",
}
# Tools that the client runs itself.
_CLIENT_SIDE: Final = frozenset({"function", "custom"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILS: Final = frozenset({"response.failed", "error"})


def make_stateless(body: dict[str, Any]) -> Refusal | None:
    """Have the engine store nothing, whatever the client says of it; the refusal for what cannot do without memory."""
    for name, instead in _REMEMBERED.items():
        if body.get(name):
            return unsupported(f"{name}: {instead}", name)
    given = body.get("input")
    if given.__class__ is list:
        for item in given:
            if item.__class__ is dict and item.get("type") == "item_reference":
                return unsupported("input: nothing is kept here that an item_reference could name", "input")
    elif given.__class__ is not str:
        return bad_request("input: want a text or a list of items", "input")
    if not _run_by_clients(body.get("tools"), nested=True):
        return unsupported("tools: want only tools that the client runs: function, custom", "tools")
    body["store"] = False
    return None


def says_something(event: dict[str, Any]) -> bool:
    """Whether an event of a stream carries anything for the reader."""
    kind = event.get("type")
    if not isinstance(kind, str):
        return False
    if kind.endswith(".delta"):
        return bool(event.get("delta"))
    return kind == "response.output_item.added" and _is_call(event.get("item"))


def ends(event: dict[str, Any]) -> bool:
    """Whether an event is the last one of a whole answer."""
    return event.get("type") in _ENDS


def fails(event: dict[str, Any]) -> bool:
    """Whether an event says that the engine failed."""
    return event.get("type") in _FAILS


def error_event(refusal: Refusal, number: int) -> bytes:
    """The event, of this number, that ends a stream which cannot go on: flat as documented, and nested as clients
    look for it.
    """
    error = error_object(refusal)
    body = {**error, "type": "error", "sequence_number": number, "error": error}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(body)


def is_empty(answer: dict[str, Any]) -> bool:
    """Whether a whole answer has nothing for the reader: no text and no call."""
    output = answer.get("output")
    return not any(_is_call(item) or _has_text(item) for item in output) if isinstance(output, list) else True


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and str(item.get("type")).endswith("_call")


def _has_text(item: Any) -> bool:
    parts = item.get("content") if isinstance(item, dict) else None
    if not isinstance(parts, list):
        return False
    return any(isinstance(part, dict) and (part.get("text") or part.get("refusal")) for part in parts)


def _run_by_clients(tools: Any, *, nested: bool) -> bool:
    """Whether all are the client's to run. What is no list of objects at all is found by others."""
    if not isinstance(tools, list):
        return True
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else "function"
        if kind == "namespace" and nested:
            if not _run_by_clients(tool.get("tools"), nested=False):
                return False
        elif not isinstance(kind, str) or kind not in _CLIENT_SIDE:
            return False
    return True
