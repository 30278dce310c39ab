"""Inputs that together reach all that was ever reached: one bytes literal a line, so that a change can be read."""

import ast
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read(target: str) -> list[bytes]:
    """The inputs of a target."""
    return [ast.literal_eval(line) for line in (FOLDER / f"{target}.txt").read_text().splitlines()]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these instead, the short ones first."""
    lines = sorted({repr(data) for data in inputs}, key=lambda line: (len(line), line))
    (FOLDER / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines))
