"""Probe sets: prompts in a ConfigMap, a JSON object a line, read whole or refused with the line that is wrong."""

import json
from typing import Any

import pytest

from understudy.guard.probeset import (
    MAX_CHARS,
    MAX_MESSAGES,
    MAX_PROMPTS,
    ProbePrompt,
    ProbeSetError,
    probe_set_hash,
    read_probe_set,
)

HELLO = {"role": "user", "content": "Hello"}


def lines(*said: dict[str, Any]) -> str:
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in said)


def test_each_line_is_a_prompt_or_a_conversation() -> None:
    text = lines(
        {"id": "threat-1", "prompt": "Say\u2028it."},
        {"id": "Threat_2.b", "messages": [{"role": "system", "content": "Be rude."}, HELLO], "max_tokens": 12},
    )
    assert read_probe_set(f"\n{text}\r\n  \n") == (
        ProbePrompt("threat-1", ({"role": "user", "content": "Say\u2028it."},), 256),
        ProbePrompt("Threat_2.b", ({"role": "system", "content": "Be rude."}, HELLO), 12),
    )


def test_another_text_is_another_set() -> None:
    assert probe_set_hash("a") != probe_set_hash("b")
    assert len(probe_set_hash("a")) == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has 0 prompts: write from 1 to 500"),
        ("{", "line 1 is no JSON object: write one such as"),
        ("[1]", "line 1 is no JSON object"),
        ("[" * 100_000, "line 1 is no JSON object"),
        (lines({"id": "a", "prompt": "x", "temperature": 1}), "line 1 has 'temperature': write only id, max_tokens"),
        (lines({"prompt": "x"}), "line 1: write an id of at most 63 letters"),
        (lines({"id": "a b", "prompt": "x"}), "line 1: write an id"),
        (lines({"id": "a" * 64, "prompt": "x"}), "line 1: write an id"),
        (lines({"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}), "line 2: another prompt has the id 'a'"),
        (lines({"id": "a", "prompt": "x", "max_tokens": 1025}), "line 1: write max_tokens from 1 to 1024"),
        (lines({"id": "a", "prompt": "x", "max_tokens": 0}), "line 1: write max_tokens"),
        (lines({"id": "a", "prompt": "x", "max_tokens": True}), "line 1: write max_tokens"),
        (lines({"id": "a"}), "line 1: write either prompt, a text, or messages"),
        (lines({"id": "a", "prompt": "x", "messages": [HELLO]}), "line 1: write either prompt"),
        (lines({"id": "a", "prompt": ""}), "line 1: write 1 to 64 messages, each of role (system, user, assistant)"),
        (lines({"id": "a", "prompt": 1}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": []}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": "x"}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": ["x"]}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": [{"role": "tool", "content": "x"}]}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": [{**HELLO, "name": "x"}]}), "line 1: write 1 to 64 messages"),
        (lines({"id": "a", "messages": [HELLO] * (MAX_MESSAGES + 1)}), "line 1: write 1 to 64 messages"),
        (lines(*({"id": f"p{n}", "prompt": "x"} for n in range(MAX_PROMPTS + 1))), "it has 501 prompts"),
        ("x" * (MAX_CHARS + 1), "it has 524289 characters, and at most 524288 are replayed"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ProbeSetError) as refused:
        read_probe_set(text)
    assert str(refused.value).startswith(said)
