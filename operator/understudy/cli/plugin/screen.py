"""Text for a terminal: columns, bars, wrapped sentences, colours where they are wanted. Strings in, strings out."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from understudy.domain.duration import words

Style = Literal["", "bold", "dim", "good", "warn", "bad"]
_CODES: Final = {"bold": "1", "dim": "2", "good": "32", "warn": "33", "bad": "31"}
_GAP: Final = "   "
# Narrower than this nothing can be laid out; longer lines than that nobody reads.
_NARROWEST, _WIDEST = 40, 120
_STUB = 16  # columns that are left of a cell that ends in dots


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text and how it looks."""

    text: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """What is written to. `width` in columns, 0 = a file or a pipe, where nothing is wrapped."""

    width: int = 0
    colour: bool = False
    blocks: bool = True

    def paint(self, text: str, style: Style) -> str:
        """The text in its style, plain where there are no colours."""
        code = _CODES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text

    def columns(self, rows: Sequence[Sequence[str | Cell]], indent: str = "") -> list[str]:
        """Rows as lines, each column as wide as its widest cell; columns that say nothing are left out.

        The first row is the head. On a terminal a last column that is too wide ends in dots.
        """
        cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
        said = [any(row[i].text for row in cells[1:]) for i in range(len(cells[0]))]
        kept = [[cell for cell, keep in zip(row, said, strict=True) if keep] for row in cells]
        widths = [max(len(row[i].text) for row in kept) for i in range(len(kept[0]))]
        return [self._line(row, widths, indent) for row in kept]

    def _line(self, row: Sequence[Cell], widths: Sequence[int], indent: str) -> str:
        *most, last = row
        padded = [self.paint(c.text, c.style) + " " * (w - len(c.text)) for c, w in zip(most, widths, strict=False)]
        taken = len(indent) + sum(widths[:-1]) + len(_GAP) * len(most)
        text = last.text
        room = max(_STUB, self.width - taken)
        if self.width and len(text) > room:
            text = text[: room - 1].rstrip() + "…"
        return (indent + _GAP.join([*padded, self.paint(text, last.style)])).rstrip()

    def sentence(self, text: str, label: str = "", margin: int = 0, style: Style = "") -> list[str]:
        """A sentence behind a label of `margin` columns, wrapped on a terminal."""
        head = label.ljust(margin)
        lines = [text]
        if self.width:
            room = max(_NARROWEST, min(self.width, _WIDEST)) - len(head)
            lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        first = self.paint(head, "dim") + self.paint(lines[0], style)
        return [first.rstrip(), *(" " * len(head) + self.paint(line, style) for line in lines[1:])]

    def bar(self, percent: int, most: int = 20) -> str:
        """`percent` of a bar of at most so many columns filled; a share that is not 0 shows at least one."""
        width = most if self.width == 0 or self.width >= 4 * most else max(5, self.width // 8)
        filled = min(width, max(round(percent * width / 100), 1 if percent else 0))
        full, empty = ("█", "░") if self.blocks else ("#", "-")
        return full * filled + empty * (width - filled)


def age(seconds: float) -> str:
    """A span as kubectl writes it in columns: 45s, 12m, 5h, 3d."""
    left = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if left >= 2 * size or (unit != "m" and left >= size):
            return f"{left // size}{unit}"
    return f"{left}s"


def ago(seconds: float) -> str:
    """A span for a sentence."""
    return f"{words(max(0.0, seconds))} ago" if seconds < 86400 else f"{int(seconds // 86400)} d ago"


def plural(number: int, word: str) -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
