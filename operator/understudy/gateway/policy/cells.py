"""Counters in memory that another process reads: what a worker has counted is still there when it was killed.

The twin of plain `Counters` does all that they do, and its numbers lie in cells of eight bytes each. Their order
follows from the attributes of the plain ones, so a counter that somebody adds there has its cell here.
"""

from collections.abc import Sequence
from typing import Any, Final

from understudy.gateway.policy.evidence import PLACES, SEVERITIES, Counters

# One revision's numbers, as a view of whole numbers of eight bytes.
Cells = memoryview


class _Tally:
    """Numbers by word: what of a dict is used to count."""

    __slots__ = ("_cells", "_places")

    def __init__(self, words: list[str], cells: Cells) -> None:
        self._cells = cells
        self._places = {word: place for place, word in enumerate(words)}

    def keys(self) -> list[str]:
        return list(self._places)

    def __getitem__(self, word: str) -> int:
        number: int = self._cells[self._places[word]]
        return number

    def __setitem__(self, word: str, number: int) -> None:
        self._cells[self._places[word]] = number


_twins: Final[dict[type, type]] = {}


def twin(cells: Cells) -> Counters:
    """Counters whose numbers are those in `cells`."""
    made, _ = _lay(Counters(), cells, 0)
    counters: Counters = made
    return counters


def _lay(plain: Any, cells: Cells, at: int) -> tuple[Any, int]:
    """The twin of `plain`, its numbers in the cells from `at` on, and the first cell after them."""
    kind = type(plain)
    numbers: dict[str, property] = {}
    parts: dict[str, Any] = {}
    begin = at
    for name in (name for cls in reversed(kind.__mro__) for name in getattr(cls, "__slots__", ())):
        value = getattr(plain, name)
        if isinstance(value, int):
            numbers[name] = _number(at - begin)
            at += 1
        elif isinstance(value, (list, dict)):
            part = cells[at : at + len(value)]
            parts[name] = part if isinstance(value, list) else _Tally(list(value), part)
            at += len(value)
        else:
            parts[name], at = _lay(value, cells, at)
    if kind not in _twins:
        _twins[kind] = type(kind.__name__, (kind,), {"__slots__": ("cells",), **numbers})
    made: Any = object.__new__(_twins[kind])
    made.cells = cells[begin:at]
    for name, part in parts.items():
        setattr(made, name, part)
    return made, at


def _number(place: int) -> property:
    def write(self: Any, number: int) -> None:
        self.cells[place] = number

    return property(lambda self: self.cells[place], write)


def _measure() -> tuple[int, int, int]:
    """How many cells there are, which one counts the open requests, and which is the first for what was found."""
    room = memoryview(bytearray(8 * 4096)).cast("q")
    made, count = _lay(Counters(), room, 0)
    made.open = 1
    made.guard.found[0] = 2
    return count, list(room).index(1), list(room).index(2)


COUNT, OPEN, FOUND = _measure()
_EACH: Final = len(SEVERITIES)
BYTES: Final = 8 * COUNT


def blank() -> Cells:
    """Cells of this process alone, all zero."""
    return memoryview(bytearray(BYTES)).cast("q")


def placed(cells: Cells, names: Sequence[str], order: Sequence[str]) -> Cells:
    """The cells of whoever has places for `names`, as who has them in `order` would have them."""
    if list(names) == list(order[: len(names)]):
        return cells
    found = memoryview(bytearray(cells.tobytes())).cast("q")
    for at in range(FOUND, FOUND + _EACH * PLACES):
        found[at] = 0
    for place, name in enumerate(names):
        to = order.index(name)
        for severity in range(_EACH if to < PLACES else 0):
            found[FOUND + _EACH * to + severity] = cells[FOUND + _EACH * place + severity]
    return found


def add(total: Cells, more: Cells) -> None:
    """Add all numbers of `more`."""
    for at, number in enumerate(more):
        if number:
            total[at] += number
