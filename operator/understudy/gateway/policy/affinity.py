"""How a long prompt begins, as a number: an engine that has computed such a beginning lately has it in its cache.

The beginning of a conversation is what all its turns have in common: whatever stands before the first message of the
user, and how that message begins. A document with different questions after it is one beginning too.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

# Bytes of a request below which an engine is as quick without its cache: vLLM keeps blocks of 16 tokens.
LONG: Final = 2048
_LEADING: Final = 1024
_ENDS: Final = 512
_MOST_MESSAGES: Final = 8
_MOST_PARTS: Final = 4


def beginning(body: Mapping[str, Any], turns: str, salt: str) -> int:
    """A number from 1 to 2^56 for how the prompt of `body` begins; 0 if that cannot be told.

    `turns` names the field that holds the conversation. Caches are apart where `salt`s are.
    """
    prompt = body.get("prompt", body.get(turns))
    texts = [salt]
    if isinstance(body.get("instructions"), str):
        texts.append(_sampled(body["instructions"]))
    if isinstance(prompt, str):
        texts.append(prompt[:_LEADING])
    elif not isinstance(prompt, list) or not _messages(prompt, texts):
        return 0
    text = "\0".join(texts).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") or 1


def _messages(messages: list[Any], texts: list[str]) -> bool:
    """Add what stands up to the user's first message; whether there is one."""
    for message in messages[:_MOST_MESSAGES]:
        if not isinstance(message, dict):
            return False
        text = _text(message.get("content"))
        if message.get("role") == "user":
            texts.append(text[:_LEADING])
            return True
        texts.append(_sampled(text))
    return False


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content[:_MOST_PARTS] if isinstance(content, list) else ()
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\0".join([text for text in found if isinstance(text, str)])


def _sampled(text: str) -> str:
    # Instructions of many kilobytes need not be hashed to be told from others.
    return text if len(text) <= 2 * _ENDS else f"{len(text)} {text[:_ENDS]}{text[-_ENDS:]}"
