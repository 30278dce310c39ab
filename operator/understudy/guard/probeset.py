"""A probe set: prompts that a candidate must answer before anybody hears it, as a Guardrail's ConfigMap holds them.

One JSON object a line. It is read whole or not at all, and the first mistake is said with its line.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_PROMPTS: Final = 500
"""Of one set: what two engines answer within some minutes."""
MAX_CHARS: Final = 512 * 1024
"""Of the whole text."""
MAX_MESSAGES: Final = 64
MAX_TOKENS: Final = 1024
USUAL_TOKENS: Final = 256
_ID: Final = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_ROLES: Final = ("system", "user", "assistant")
_FIELDS: Final = frozenset({"id", "prompt", "messages", "max_tokens"})


class ProbeSetError(Exception):
    """What is wrong with a probe set: in which line, and what to write instead. Never what a prompt says."""


@dataclass(frozen=True, slots=True)
class ProbePrompt:
    """One prompt, by the name under which it is told of."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    max_tokens: int


def probe_set_hash(text: str) -> str:
    """Another one is another set."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_probe_set(text: str) -> tuple[ProbePrompt, ...]:
    """The prompts in their order; empty lines count for nothing. Raises ProbeSetError."""
    if len(text) > MAX_CHARS:
        raise ProbeSetError(f"it has {len(text)} characters, and at most {MAX_CHARS} are replayed: write a smaller set")
    found: dict[str, ProbePrompt] = {}
    for number, line in _lines(text):
        prompt = _prompt(f"line {number}", line)
        if prompt.id in found:
            raise ProbeSetError(f"line {number}: another prompt has the id {prompt.id!r}: write another one")
        found[prompt.id] = prompt
    if not 0 < len(found) <= MAX_PROMPTS:
        raise ProbeSetError(f"it has {len(found)} prompts: write from 1 to {MAX_PROMPTS}, each as a JSON object a line")
    return tuple(found.values())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(): a character such as U+2028 may stand within a JSON string.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _prompt(where: str, line: str) -> ProbePrompt:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ProbeSetError(f'{where} is no JSON object: write one such as {{"id": "threat-1", "prompt": "…"}}')
    if strange := sorted(said.keys() - _FIELDS):
        raise ProbeSetError(f"{where} has {strange[0][:63]!r}: write only {', '.join(sorted(_FIELDS))}")
    name, tokens = said.get("id"), said.get("max_tokens", USUAL_TOKENS)
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ProbeSetError(f"{where}: write an id of at most 63 letters, digits, dots, dashes and underscores")
    if type(tokens) is not int or not 1 <= tokens <= MAX_TOKENS:
        raise ProbeSetError(f"{where}: write max_tokens from 1 to {MAX_TOKENS}, or leave it out for {USUAL_TOKENS}")
    return ProbePrompt(name, _messages(where, said), tokens)


def _messages(where: str, said: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    if ("prompt" in said) == ("messages" in said):
        raise ProbeSetError(f"{where}: write either prompt, a text, or messages, a list of role and content")
    listed = said["messages"] if "messages" in said else [{"role": "user", "content": said["prompt"]}]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_MESSAGES or not all(map(_is_message, listed)):
        roles = ", ".join(_ROLES)
        raise ProbeSetError(
            f"{where}: write 1 to {MAX_MESSAGES} messages, each of role ({roles}) and content, a text that is not empty"
        )
    return tuple(listed)


def _is_message(said: object) -> bool:
    return (
        isinstance(said, dict)
        and said.keys() == {"role", "content"}
        and said["role"] in _ROLES
        and isinstance(said["content"], str)
        and bool(said["content"])
    )
