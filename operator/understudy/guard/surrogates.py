"""Text as whole characters: what was spelt in two halves is joined, also over a cut.

JSON may write one character as two escapes (surrogates), and an engine may send them in two events. Whoever puts the
events together reads the character, so it has to be whole before anybody judges it. A half by itself is no character
and has no encoding: U+FFFD takes its place, as everywhere on the web.
"""

import re
from typing import Final

LOST: Final = "\ufffd"
"""What stands for half of a character."""
_HALF: Final = re.compile("[\ud800-\udfff]")
_LAST_IS_FIRST_HALF: Final = re.compile("[\ud800-\udbff]\\Z")


class Joiner:
    """One text. What comes out is whole, one piece for each that goes in."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """The next piece, but for half of a character at its end."""
        if not self._half and (text.isascii() or _HALF.search(text) is None):
            return text
        text = self._half + text
        self._half = text[-1] if _LAST_IS_FIRST_HALF.search(text) else ""
        return joined(text[:-1] if self._half else text)

    def finish(self) -> str:
        """What is left, if anything: the other half does not come."""
        half, self._half = self._half, ""
        return joined(half)


def joined(text: str) -> str:
    """The whole of a text, all of it whole characters."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
