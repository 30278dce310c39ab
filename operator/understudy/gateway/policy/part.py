"""What one of several workers may have of something that is bounded for the whole pod."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the worker `index` of `count`."""

    index: int = 0
    count: int = 1

    def of(self, total: int) -> int:
        """Its share of a whole number: those of all workers add up to `total`, but for one at least where there is any.

        Whoever has none could serve nobody, and which worker a client comes to is chance.
        """
        share, rest = divmod(total, self.count)
        return max(share + (self.index < rest), min(total, 1))


WHOLE: Final = Part()
