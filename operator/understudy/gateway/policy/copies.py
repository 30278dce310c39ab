"""Which requests are copied to a shadow, and how much of a worker the copies may take: clients come first."""

from typing import Final

from understudy.domain.table import Shadow
from understudy.gateway.policy.evidence import Taking

# A larger request is not copied: to write it out once more would hold up everybody else for a millisecond.
MAX_REQUEST: Final = 1024 * 1024


class Lots:
    """Which requests are copied: so many in a hundred, but of one conversation one in ten seconds at most.

    Whoever talks all day is then one voice among many, as in the samples that candidates are judged on.
    """

    __slots__ = ("_samples",)

    def __init__(self, samples: Taking) -> None:
        self._samples = samples

    def take(self, shadow: Shadow, lot: float, deployment: str, revision: str, where: int, now: float) -> bool:
        """Whether `lot`, a random number in [0, 1), wins and the conversation at `where` is due; `now` is monotonic."""
        return lot * 100 < shadow.percent and self._samples.take(deployment, revision, where, now)


class Room:
    """How many copies may be under way, and how many bytes of requests they may hold together."""

    __slots__ = ("_max_bytes", "_max_copies", "copies", "held")

    def __init__(self, max_copies: int, max_bytes: int) -> None:
        self._max_copies = max_copies
        self._max_bytes = max_bytes
        self.copies = 0
        self.held = 0

    def take(self, size: int) -> bool:
        """Make room for a copy of a request of `size` bytes, if there is any."""
        if size > MAX_REQUEST or self.copies >= self._max_copies or self.held + size > self._max_bytes:
            return False
        self.copies += 1
        self.held += size
        return True

    def give(self, size: int) -> None:
        """A copy that had taken room has ended."""
        self.copies -= 1
        self.held -= size
