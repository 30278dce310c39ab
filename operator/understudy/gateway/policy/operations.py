"""What may be asked of the gateway: an exact list of paths, and the fields that are refused on any of them."""

from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.head import Head
from understudy.gateway.policy.refusal import Refusal, bad_request


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One path. `streams`: answers may be event streams. `salted`: the engine's prefix cache is kept per tenant."""

    path: str
    method: str = "POST"
    streams: bool = False
    salted: bool = False
    chat: bool = False


CHAT: Final = Operation("/v1/chat/completions", streams=True, salted=True, chat=True)
COMPLETIONS: Final = Operation("/v1/completions", streams=True, salted=True)
EMBEDDINGS: Final = Operation("/v1/embeddings")
TOKENIZE: Final = Operation("/tokenize")
DETOKENIZE: Final = Operation("/detokenize")
MODELS: Final = Operation("/v1/models", method="GET")
FORWARDED: Final = (CHAT, COMPLETIONS, EMBEDDINGS, TOKENIZE, DETOKENIZE)
_BY_PATH: Final = {operation.path.encode(): operation for operation in (*FORWARDED, MODELS)}

# Fields by which a client could reach past the gateway into the engine, its cache, or other tenants.
FORBIDDEN: Final = frozenset(
    {
        "chat_template", "kv_transfer_params", "ec_transfer_params", "mm_processor_kwargs", "media_io_kwargs",
        "priority", "request_id", "session_id", "vllm_xargs", "cache_salt",
    }
)  # fmt: skip
MAX_MODEL_NAME: Final = 256


def find_operation(head: Head) -> Operation | Refusal:
    """The operation that a head asks for, or why there is none. Bodies are checked against their type here too."""
    operation = _BY_PATH.get(head.target)
    if operation is None:
        return _unknown_path(head.target)
    if head.method != operation.method.encode() and not (operation is MODELS and head.method == b"HEAD"):
        message = f"{operation.path} takes {operation.method}"
        allow = "GET, HEAD" if operation is MODELS else operation.method
        return Refusal(405, "method_not_allowed", message, final=True, close=head.length != 0, allow=allow)
    if operation is MODELS:
        return bad_bodied_get() if head.length else operation
    kind = head.fields.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if kind != b"application/json":
        message = "send the body as JSON, with Content-Type: application/json"
        return Refusal(415, "unsupported_media_type", message, final=True, close=head.length != 0)
    return operation


def check_fields(operation: Operation, body: dict[str, Any]) -> Refusal | None:
    """The refusal for a body that no engine should see; None when it may go on."""
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_NAME:
        return bad_request("model: want the name of a served model", "model")
    if not FORBIDDEN.isdisjoint(body):
        field = min(FORBIDDEN.intersection(body))
        return bad_request(f"{field}: not taken from clients", field)
    stream = body.get("stream")
    if stream is not None:
        if not isinstance(stream, bool):
            return bad_request("stream: want true or false", "stream")
        if stream and not operation.streams:
            return bad_request(f"stream: {operation.path} does not stream", "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        return bad_request("stream_options: want an object", "stream_options")
    if operation.chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return bad_request("messages: want a list with at least one message", "messages")
    return None


def bad_bodied_get() -> Refusal:
    """400 for a GET with a body: nothing could be done with it but misread it."""
    return Refusal(400, "bad_request", "this path takes no body", final=True, close=True)


def _unknown_path(target: bytes) -> Refusal:
    path = target.split(b"?", 1)[0]
    if b"%" in path or b"/." in path or b"//" in path or b"\\" in path:
        message = "paths are taken literally: no escapes, no dot segments"
        return Refusal(400, "bad_path", message, final=True, close=True)
    if path in _BY_PATH:
        return Refusal(400, "bad_path", "no query parameters are taken", final=True, close=True)
    known = ", ".join(operation.path for operation in _BY_PATH.values())
    return Refusal(404, "unknown_path", f"there is no such path; there are {known}", final=True, close=True)
