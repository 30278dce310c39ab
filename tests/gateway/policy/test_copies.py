"""Which requests are copied, and when there is no room for one."""

import pytest

from understudy.domain.table import Shadow
from understudy.gateway.policy.copies import MAX_REQUEST, Lots, Room
from understudy.gateway.policy.evidence import Samples


@pytest.mark.parametrize(("percent", "lot", "wins"), [(10, 0.0999, True), (10, 0.1, False), (100, 0.9999, True)])
def test_so_many_in_a_hundred_are_drawn(percent: int, lot: float, wins: bool) -> None:
    assert Lots(Samples()).take(Shadow(percent, 1.0, 1.0), lot, "a/b", "r1", 7, 0.0) is wins


def test_a_conversation_is_copied_once_in_ten_seconds_and_a_lost_lot_is_no_turn() -> None:
    lots, shadow = Lots(Samples()), Shadow(10, 1.0, 1.0)
    assert [lots.take(shadow, lot, "a/b", "r1", 7, now) for lot, now in ((0.5, 0), (0, 1), (0, 9.9), (0, 10))] == [
        False,
        True,
        False,
        True,
    ]
    assert lots.take(shadow, 0.0, "a/b", "r1", 8, 10.0)


def test_copies_are_bounded_by_their_number() -> None:
    room = Room(max_copies=2, max_bytes=100)
    assert [room.take(1) for _ in range(3)] == [True, True, False]
    room.give(1)
    assert (room.take(1), room.copies, room.held) == (True, 2, 2)


def test_copies_are_bounded_by_what_they_hold() -> None:
    room = Room(max_copies=9, max_bytes=100)
    assert [room.take(60), room.take(41), room.take(40)] == [True, False, True]
    room.give(60)
    assert (room.take(60), room.held) == (True, 100)


def test_a_request_that_takes_long_to_write_is_not_copied() -> None:
    room = Room(max_copies=9, max_bytes=10 * MAX_REQUEST)
    assert (room.take(MAX_REQUEST + 1), room.copies, room.held) == (False, 0, 0)
    assert room.take(MAX_REQUEST)
