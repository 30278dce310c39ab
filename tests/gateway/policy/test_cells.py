"""Counters in somebody else's memory count like plain ones."""

from collections.abc import Callable

import pytest

from understudy.domain.table import Shadow
from understudy.gateway.policy.cells import BYTES, COUNT, OPEN, add, blank, placed, twin
from understudy.gateway.policy.evidence import PLACES, Counters, Evidence
from understudy.gateway.policy.pairs import Half, compare

SHADOW = Shadow(percent=100, first_token=1.0, between_tokens=1.0)


def opened(counters: Counters) -> None:
    counters.open += 2


def emptied(counters: Counters) -> None:
    counters.empty += True
    counters.sample.empty += True


def compared(counters: Counters) -> None:
    stable, shadow = Half(stream=True, room=10), Half(stream=True, room=10)
    shadow.failed = True
    counters.pairs.add(compare(stable, shadow, SHADOW))
    counters.pairs.dropped += 1


EVENTS: tuple[Callable[[Counters], object], ...] = (
    opened,
    emptied,
    compared,
    lambda c: c.first_token(0.3),
    lambda c: c.gap(99.0),
    lambda c: c.answered(),
    lambda c: c.refused(),
    lambda c: c.failed("truncated"),
    lambda c: c.errors.__setitem__("5xx", c.errors["5xx"] + 1),
    lambda c: c.used(3, 5),
    lambda c: c.sample.first_token(0.3),
    lambda c: c.sample.failed(),
    lambda c: c.sample.refused(),
    lambda c: c.sample.streamed(0.3),
    lambda c: c.guard.turn([(0, 2), (63, 6)], acted=True),
)


@pytest.mark.parametrize("event", EVENTS)
def test_whatever_is_counted_is_counted_as_by_plain_counters(event: Callable[[Counters], object]) -> None:
    cells, plain = blank(), Counters()
    for counters in (twin(cells), plain):
        event(counters)
        event(counters)
    # Whoever sees the cells alone, and later, sees the same.
    assert twin(cells).state(3) == plain.state(3)
    assert any(cells)


def test_each_number_has_a_cell_of_its_own() -> None:
    cells = blank()
    cells[:] = memoryview(b"".join((1000 + at).to_bytes(8, "little") for at in range(COUNT))).cast("q")
    counters = twin(cells)
    state = counters.state(0)
    flat = [
        counters.ttft_ns, counters.itl_ns, counters.waits_ns, counters.ejections, *counters.waits,
        state.attempts, state.rejected_4xx, state.empty, state.tokens_in, state.tokens_out, state.open_requests,
        *state.errors.values(), *state.ttft, *state.itl,
        state.sample.attempts, state.sample.errors, state.sample.rejected_4xx, state.sample.empty,
        *state.sample.ttft, *state.sample.slowest,
        state.pairs.count, state.pairs.dropped, state.pairs.other_finish, state.pairs.other_tools,
        *state.pairs.worse.values(), *state.pairs.better.values(), *state.pairs.both.values(), *state.pairs.similarity,
        counters.guard.turns, counters.guard.acted, *counters.guard.found,
    ]  # fmt: skip
    assert sorted(flat) == [1000 + at for at in range(COUNT)]
    assert state.open_requests == 1000 + OPEN


def test_sums_are_of_every_number() -> None:
    one, other = blank(), blank()
    for number, event in enumerate(EVENTS):
        for _ in range(number):
            event(twin(one))
        event(twin(other))
    whole = blank()
    for cells in (one, other):
        add(whole, cells)
    assert list(whole) == [a + b for a, b in zip(one, other, strict=True)]


def test_an_unwritten_row_is_no_counters_at_all() -> None:
    assert twin(memoryview(bytes(BYTES)).cast("q")).state(0) == Counters().state(0)


def test_what_was_found_moves_to_where_others_have_a_place_for_it() -> None:
    counters = twin(cells := blank())
    counters.open = 3
    counters.guard.turn([(0, 2), (1, 6)], acted=True)
    names = ("calm/rude", "calm/pii")
    assert placed(cells, names, names) is cells
    moved = twin(placed(cells, names, ("other/x", "calm/pii", "calm/rude")))
    assert (moved.open, moved.guard.turns, moved.guard.acted) == (3, 1, 1)
    assert moved.guard.state(("other/x", "calm/pii", "calm/rude")).found == {"calm/pii/6": 1, "calm/rude/2": 1}
    full = [f"x/{number}" for number in range(PLACES)]
    assert twin(placed(cells, names, [*full, *names])).guard.state(full).found == {}


def test_things_that_may_be_found_have_places_as_far_as_there_are() -> None:
    evidence = Evidence()
    evidence.place("a", ["calm/rude", "calm/pii"])
    evidence.place("a", ["calm/pii", *(f"x/{number}" for number in range(2 * PLACES))])
    assert list(evidence.places["a"])[:3] == ["calm/rude", "calm/pii", "x/0"]
    assert sorted(evidence.places["a"].values()) == list(range(PLACES))
