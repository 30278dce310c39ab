"""Who waits for an endpoint of one deployment, and who is next: by priority, and in turns among the keys of one.

Turns, and not first come first served: whoever sends a thousand requests at once makes nobody wait for them but
itself. The same holds for room: in a full line a key that has more waiting than others loses its newest.
"""

from collections.abc import Hashable
from itertools import zip_longest
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Line(Generic[T]):
    """Requests that wait. A `holder` is a key, or an address where there are no keys."""

    __slots__ = ("_places", "_turns")

    def __init__(self) -> None:
        self._places: dict[T, tuple[int, str]] = {}
        # Priority to holders in the order of their turns, each with its requests from old to new.
        self._turns: dict[int, dict[str, dict[T, None]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request: T) -> bool:
        return request in self._places

    def first(self) -> T | None:
        """Whose turn it is."""
        if not self._turns:
            return None
        turns = self._turns[max(self._turns)]
        return next(iter(next(iter(turns.values()))))

    def order(self) -> list[T]:
        """Everybody in the order of their turns."""
        found: list[T] = []
        for priority in sorted(self._turns, reverse=True):
            rounds = zip_longest(*self._turns[priority].values(), fillvalue=None)
            found += [request for turn in rounds for request in turn if request is not None]
        return found

    def enter(self, request: T, holder: str, priority: int, most: int) -> T | None:
        """Let `request` wait where at most `most` may; who has to leave for that: nobody, somebody, or `request`.

        It is the newest request of the holder that has most waiting in the lowest priority, if that is lower than
        `priority`, or if its holder has still no fewer than this one afterwards.
        """
        leaves: T | None = None
        if len(self._places) >= most:
            leaves = self._last_of_all(holder, priority)
            if leaves is None:
                return request
            self.leave(leaves)
        self._places[request] = (priority, holder)
        self._turns.setdefault(priority, {}).setdefault(holder, {})[request] = None
        return leaves

    def leave(self, request: T, *, served: bool = False) -> None:
        """Forget `request`, if it waits. `served`: that was its holder's turn."""
        place = self._places.pop(request, None)
        if place is None:
            return
        priority, holder = place
        turns = self._turns[priority]
        requests = turns[holder]
        del requests[request]
        if served or not requests:
            del turns[holder]
            if requests:
                turns[holder] = requests
        if not turns:
            del self._turns[priority]

    def _last_of_all(self, holder: str, priority: int) -> T | None:
        if not self._turns:
            return None
        lowest = min(self._turns)
        turns = self._turns[lowest]
        longest = max(turns.values(), key=len)
        if lowest < priority or (lowest == priority and len(longest) > len(turns.get(holder, ())) + 1):
            return next(reversed(longest))
        return None
