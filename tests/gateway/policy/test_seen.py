"""One set of samples for all workers."""

import pytest

from understudy.gateway.policy import seen as module
from understudy.gateway.policy.seen import BYTES, Seen


def test_a_conversation_gives_one_sample_to_all_workers_together() -> None:
    memory = memoryview(bytearray(BYTES))
    one, other = Seen(memory), Seen(memory)
    assert one.take("a/b", "r1", 7, 1.0)
    assert not other.take("a/b", "r1", 7, 9.9)
    assert other.take("a/b", "r2", 7, 9.9)
    assert other.take("a/c", "r1", 7, 9.9)
    assert one.take("a/b", "r1", 8, 9.9)


def test_the_next_span_is_a_new_one() -> None:
    seen = Seen(memoryview(bytearray(BYTES)))
    times = (0.0, 9.9, 10.0, 19.9, 10.0 * 2**24)
    assert [seen.take("a/b", "r1", 7, now) for now in times] == [True, False, True, False, True]


def test_nearly_every_conversation_has_a_cell_of_its_own() -> None:
    seen = Seen(memoryview(bytearray(BYTES)))
    taken = [where for where in range(0, 2**64, 2**64 // 5_000) if seen.take("a/b", "r1", where, 0.0)]
    assert len(taken) >= 5_000
    assert not any(seen.take("a/b", "r1", where, 1.0) for where in taken)


def test_where_all_cells_are_taken_there_are_no_further_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 4)
    seen = Seen(memoryview(bytearray(32)))
    assert sum(seen.take("a/b", "r1", where << 30, 0.0) for where in range(100)) == 4
    assert seen.take("a/b", "r1", 1 << 30, 10.0)
