"""A worker's memory: what is read of it is whole, however it is written meanwhile."""

import os
import threading
from collections.abc import Iterator

import pytest

from understudy.gateway import slot as module
from understudy.gateway.policy.cells import BYTES, twin
from understudy.gateway.slot import Slot


@pytest.fixture
def slots() -> Iterator[tuple[Slot, Slot]]:
    """One memory, as its parent and as the worker see it."""
    parent = Slot.make()
    worker = Slot(os.dup(parent.descriptor))
    yield parent, worker
    worker.close()
    parent.close()


def test_the_last_notice_is_heard(slots: tuple[Slot, Slot]) -> None:
    parent, worker = slots
    assert (parent.said, parent.heard()) == (0, b"")
    for number, notice in enumerate((b"one", b"a longer one", b"three"), 1):
        worker.say(notice)
        assert (parent.said, parent.heard()) == (number, notice)


def test_a_notice_that_was_half_written_when_its_writer_died_is_not_heard(slots: tuple[Slot, Slot]) -> None:
    parent, worker = slots
    worker.say(b"whole")
    # The next one goes to the other place, and counts only at the end.
    worker._map[module._HEAD : module._HEAD + 4] = b"half"
    assert (parent.said, parent.heard()) == (1, b"whole")


def test_a_notice_is_never_heard_in_part(slots: tuple[Slot, Slot]) -> None:
    parent, worker = slots
    over = threading.Event()

    def talk() -> None:
        number = 0
        while not over.is_set():
            number += 1
            worker.say(b"%d" % (number % 10) * (1 + number * 7919 % 5000))

    worker.say(b"0")
    talking = threading.Thread(target=talk)
    talking.start()
    try:
        assert all(len(set(parent.heard())) == 1 for _ in range(500))
    finally:
        over.set()
        talking.join()


def test_what_nobody_wrote_as_a_notice_is_an_error(slots: tuple[Slot, Slot]) -> None:
    parent, worker = slots
    worker.say(b"one")
    worker._map[module._HEAD + module._NOTICE] = ord("x")
    with pytest.raises(RuntimeError, match="cannot be read"):
        parent.heard()


def test_a_notice_that_is_too_long_says_so(slots: tuple[Slot, Slot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NOTICE", 10)
    with pytest.raises(ValueError, match="11 bytes: there is room for 10"):
        slots[1].say(b"x" * 11)


def test_rows_are_new_ones_and_read_as_they_are_at_one_moment(slots: tuple[Slot, Slot]) -> None:
    parent, worker = slots
    rows = dict(worker.row() for _ in range(3))
    assert list(rows) == [0, 1, 2]
    twin(rows[1]).attempts = 5
    seen = parent.read(1)
    twin(rows[1]).attempts = 6
    assert [twin(parent.read(row)).attempts for row in rows] == [0, 6, 0]
    assert twin(seen).attempts == 5


def test_whoever_has_used_all_rows_ends(slots: tuple[Slot, Slot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", module._ROWS + 2 * BYTES)
    worker = slots[1]
    worker.row()
    worker.row()
    with pytest.raises(SystemExit, match="every row"):
        worker.row()
