"""What may be asked of the gateway: an exact list of paths, and for each an exact list of fields."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.fields import NEVER_PASSED
from understudy.gateway.policy import fields
from understudy.gateway.policy.caps import over_cap
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.media import bad_media
from understudy.gateway.policy.players import is_player
from understudy.gateway.policy.refusal import Refusal, bad_request


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One path, and the fields that its requests may have.

    `streams`: answers may be event streams. `salted`: the engine's prefix cache is kept per tenant.
    `copied`: requests may be copied to a shadow, since it is the model that answers them.
    `turns` is the field that holds a conversation.
    """

    path: str
    fields: frozenset[str] = frozenset()
    method: str = "POST"
    streams: bool = False
    salted: bool = False
    copied: bool = True
    chat: bool = False
    turns: str = "messages"


CHAT: Final = Operation("/v1/chat/completions", fields.CHAT, streams=True, salted=True, chat=True)
COMPLETIONS: Final = Operation("/v1/completions", fields.COMPLETIONS, streams=True, salted=True)
RESPONSES: Final = Operation("/v1/responses", fields.RESPONSES, streams=True, salted=True, turns="input")
EMBEDDINGS: Final = Operation("/v1/embeddings", fields.EMBEDDINGS)
RERANK: Final = (Operation("/rerank", fields.RERANK), Operation("/v1/rerank", fields.RERANK))
SCORE: Final = (Operation("/score", fields.SCORE), Operation("/v1/score", fields.SCORE))
TOKENIZE: Final = Operation("/tokenize", fields.TOKENIZE, copied=False)
DETOKENIZE: Final = Operation("/detokenize", fields.DETOKENIZE, copied=False)
MODELS: Final = Operation("/v1/models", method="GET")
EVENTS: Final = Operation("/v1/engagement/events", copied=False)
# Followed by the player's name.
PLAYER: Final = Operation("/v1/engagement/", method="GET", copied=False)
FORWARDED: Final = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, *RERANK, *SCORE, TOKENIZE, DETOKENIZE)
_BY_PATH: Final = {operation.path.encode(): operation for operation in (*FORWARDED, MODELS, EVENTS)}
_OF_PLAYERS: Final = PLAYER.path.encode()

MAX_MODEL_NAME: Final = 256
_JSON: Final = b"application/json"


def find_operation(head: Head) -> Operation | Refusal:
    """The operation that a head asks for, or why there is none. Bodies are checked against their type here too."""
    operation = _BY_PATH.get(head.target)
    if operation is None and head.target.startswith(_OF_PLAYERS) and is_player(head.target[len(_OF_PLAYERS) :]):
        operation = PLAYER
    if operation is None:
        return _unknown_path(head.target)
    if head.method != operation.method.encode() and not (operation is MODELS and head.method == b"HEAD"):
        message = f"{operation.path} takes {operation.method}"
        allow = "GET, HEAD" if operation is MODELS else operation.method
        return Refusal(405, "method_not_allowed", message, final=True, close=head.length != 0, allow=allow)
    if operation.method == "GET":
        return bad_bodied_get() if head.length else operation
    kind = head.fields.get(b"content-type", b"")
    if kind != _JSON and kind.split(b";", 1)[0].strip().lower() != _JSON:
        message = "send the body as JSON, with Content-Type: application/json"
        return Refusal(415, "unsupported_media_type", message, final=True, close=head.length != 0)
    return operation


def check_model(body: dict[str, Any]) -> Refusal | None:
    """The refusal for a body that names no model: whose fields they are is not known then."""
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_NAME:
        return bad_request("model: want the name of a served model", "model")
    return None


def check_fields(
    operation: Operation, body: dict[str, Any], extra: Collection[str] = (), media_hosts: Collection[str] = ()
) -> Refusal | None:
    """The refusal for a body that no engine should see; None when it may go on.

    `extra` fields and `media_hosts` are what the deployment allows beside what everybody may.
    """
    if not operation.fields.issuperset(body):
        refusal = _unknown_field(body.keys() - operation.fields, extra)
        if refusal is not None:
            return refusal
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
    return over_cap(body) or bad_media(body, media_hosts)


def _unknown_field(unknown: AbstractSet[str], extra: Collection[str]) -> Refusal | None:
    for name in sorted(unknown):
        if name in NEVER_PASSED:
            return bad_request(f"{name}: not taken from clients", name)
        if name not in extra:
            shown = name[:64]
            message = f"{shown}: no field of this path, and none that the deployment adds by spec.api.extraFields"
            return Refusal(400, "unknown_parameter", message, shown)
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
    known = ", ".join([*(operation.path for operation in _BY_PATH.values()), f"{PLAYER.path}{{player}}"])
    return Refusal(404, "unknown_path", f"there is no such path; there are {known}", final=True, close=True)
