"""Where in a list of records a page ends: at a row, so that what comes meanwhile moves nothing."""

import re
from dataclasses import dataclass
from typing import Final

_TEXT: Final = re.compile(r"([0-9]{1,15})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page: when it happened, in Unix milliseconds, and its number among those of that moment."""

    at_ms: int
    id: int

    def __str__(self) -> str:
        return f"{self.at_ms}.{self.id}"


def parse_cursor(text: str) -> Cursor:
    """A cursor as `str` writes it; ValueError says that it is none."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError("not a cursor: send what `next` of the page before says")
    return Cursor(int(found[1]), int(found[2]))
