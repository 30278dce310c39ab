"""Which conversation a request belongs to, and which variant that conversation is served by.

The split is a hash, not a memory: every gateway comes to the same answer alone, and raising the candidate's
weight only moves conversations towards it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import orjson

Source = Literal["header", "metadata", "cache_key", "user", "content", "random"]
SOURCES: Final[tuple[Source, ...]] = ("header", "metadata", "cache_key", "user", "content", "random")
_SPAN: Final = 1 << 64
_SAMPLE: Final = 512
_LONGEST_NAME: Final = 320
_CLIENT_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def conversation_id(
    header: bytes | None, body: Mapping[str, Any], tenant: str, *, from_user: bool, turns: str = "messages"
) -> tuple[bytes, Source]:
    """The conversation's id and where it came from; an empty id when the request carries nothing usable.

    Explicit ids win, in the order header `x-session-id`, `metadata.session`, `prompt_cache_key`, and
    `user` if the deployment says so. Without one, the opening of the conversation is hashed with its tenant;
    `turns` names the field that holds it, "messages" or "input".
    """
    if header:
        return header, "header"
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and _usable(metadata.get("session")):
        return metadata["session"].encode(), "metadata"
    if _usable(body.get("prompt_cache_key")):
        return body["prompt_cache_key"].encode(), "cache_key"
    if from_user and _usable(body.get("user")):
        return body["user"].encode(), "user"
    opening = _opening(body.get("messages") if turns == "messages" else _items(body))
    if opening is None:
        return b"", "random"
    return hashlib.blake2b(tenant.encode() + b"\0" + opening, digest_size=16).digest(), "content"


def session_name(conversation: bytes, source: Source) -> str:
    """A conversation's id as a text: of records, where it has bounds, and of rungs that count for it."""
    text = conversation.hex() if source == "content" else conversation.decode("utf-8", "replace")
    return text.replace("\0", "\ufffd")[:_LONGEST_NAME]


def position(conversation: bytes, deployment: str, salt: str) -> int:
    """Where a conversation lies on the line from 0 to 2^64 that the weights divide.

    `salt` is the candidate's revision: each rollout shuffles anew, so the same people are not always first.
    """
    text = b"%d\0%b%b\0%b" % (len(conversation), conversation, deployment.encode(), salt.encode())
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def thresholds(weights: Sequence[int]) -> tuple[int, ...]:
    """Upper ends of the variants' shares of the line, for whole weights in percent that sum to 100."""
    total = 0
    ends = []
    for weight in weights:
        total += weight
        ends.append(total * _SPAN // 100)
    return tuple(ends)


def variant_at(where: int, ends: Sequence[int]) -> int:
    """Index of the first variant whose share ends above `where`."""
    for index, end in enumerate(ends):
        if where < end:
            return index
    msg = "weights do not sum to 100"
    raise ValueError(msg)


def client_request_id(value: bytes | None) -> bytes | None:
    """A client's own request id, if it is fit to be repeated in an answer."""
    return value if value is not None and _CLIENT_ID.fullmatch(value) else None


def traceparent(value: bytes | None) -> bytes | None:
    """A W3C trace context that is well formed (version 00 to fe, no all-zero ids), else None."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def _usable(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 512


def _items(body: Mapping[str, Any]) -> Any:
    """The conversation of a request for a response, as messages."""
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    instructions = body.get("instructions")
    if isinstance(given, list) and isinstance(instructions, str):
        return [{"role": "system", "content": instructions}, *given]
    return given


def _opening(messages: Any) -> bytes | None:
    """System messages, the first user message and the one after it, each by its ends and its length."""
    if not isinstance(messages, list):
        return None
    parts: list[Any] = []
    found = False
    for message in messages:
        if not isinstance(message, dict):
            return None
        role = message.get("role")
        if found or role in ("system", "developer", "user"):
            parts.append((role, _ends(message.get("content"))))
        if found:
            break
        found = role == "user"
    return orjson.dumps(parts) if parts else None


def _ends(content: Any) -> Any:
    # Megabytes of prompt need not be hashed to tell two openings apart.
    text = content if isinstance(content, str) else orjson.dumps(content).decode()
    return text if len(text) <= 2 * _SAMPLE else (len(text), text[:_SAMPLE], text[-_SAMPLE:])
