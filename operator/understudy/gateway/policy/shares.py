"""Memory that is lent out by the byte, so that no holder can take it from all others.

A holder may have at most twice as many bytes as stay free. One alone gets two thirds of the whole, two get two fifths
each; however many there are, some is left for the next one. (Dynamic thresholds, as switches share their buffers by:
A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
"""

from typing import Final

FACTOR: Final = 2


class Shares:
    """`size` bytes, of which `used` are lent out."""

    __slots__ = ("_held", "size", "used")

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._held: dict[str, int] = {}

    @property
    def most(self) -> int:
        """The most that can be lent at all: to one holder, while there is no other."""
        return FACTOR * self.size // (FACTOR + 1)

    def left(self, holder: str) -> int:
        """The most that `holder` may have now beside what it has."""
        return (FACTOR * (self.size - self.used) - self._held.get(holder, 0)) // (FACTOR + 1)

    def take(self, holder: str, size: int) -> bool:
        """Lend `size` bytes to `holder`, if it may have them."""
        if size > self.left(holder):
            return False
        self.used += size
        self._held[holder] = self._held.get(holder, 0) + size
        return True

    def give(self, holder: str, size: int) -> None:
        """Take `size` bytes back from `holder`."""
        self.used -= size
        left = self._held[holder] - size
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
