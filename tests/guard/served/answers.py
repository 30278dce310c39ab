"""Answers of served detectors as they come over the wire: recorded shapes, and ways to spoil them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from understudy.guard.windows import Window

FOLDER = Path(__file__).with_name("answers")
TEXT = "Hi my email is abc@def.com"
WINDOW = Window(100, 100 + len(TEXT), TEXT)


def recorded(name: str) -> bytes:
    """One answer, by its name."""
    return (FOLDER / f"{name}.json").read_bytes()


def spoiled(name: str, change: Callable[[Any], Any]) -> bytes:
    """A recorded answer in which `change` has altered something."""
    document = copy.deepcopy(orjson.loads(recorded(name)))
    change(document)
    return orjson.dumps(document)


def chat(text: Any, finish: Any = "stop") -> bytes:
    """A chat completion that says this."""

    def change(document: Any) -> None:
        document["choices"][0]["message"]["content"] = text
        document["choices"][0]["finish_reason"] = finish

    return spoiled("llamaguard-safe", change)
