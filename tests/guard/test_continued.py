"""A text that goes on with another is clear only where it is so with it and without."""

from collections.abc import Sequence

import pytest

from understudy.guard.continued import Continued
from understudy.guard.findings import Finding, Step
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import prepare
from understudy.guard.pii import CHECKS, pii_patterns
from understudy.guard.scan import Scanner

CARD = "4111 1111 1111 1111"
NUMBERS = Scanner([prepare(each, 2048) for each in pii_patterns("g/n", ["CREDIT_CARD"])], hyperscan_engine, CHECKS)


def found(before: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where in what comes after it something is found, and that it was not clear before."""
    session, begin, clear = Continued(NUMBERS, before), len(before), 0
    spans: list[tuple[int, int]] = []
    for step in [*map(session.feed, pieces), session.finish()]:
        assert all(each.start >= clear or each.end <= begin for each in step.findings)
        spans += [(each.start - begin, each.end - begin) for each in step.findings]
        clear = step.safe_upto
    return spans


@pytest.mark.parametrize("before", ["card: ", "9", "card 12", "x", CARD + " "])
def test_a_number_is_found_whatever_stands_before_it(before: str) -> None:
    for cut in range(1, len(CARD)):
        assert (0, len(CARD)) in found(before, [CARD[:cut], CARD[cut:] + ", ok"])


def test_a_number_that_begins_before_it_is_found_too() -> None:
    assert found("card 4111 1111 ", ["1111", " 1111, ok"]) == [(-10, 9)]


class Fails:
    """A detector whose sessions fail from the n-th on."""

    def __init__(self, first: int) -> None:
        self.opened = 0
        self._first = first

    def open(self) -> "Fails":
        self.opened += 1
        return self

    def feed(self, text: str) -> Step:
        return Step(len(text))

    def finish(self) -> Step:
        return Step(3, (Finding("g/n", "x", "pii", 6, None, 0, 1, 1, 0),), "error" if self._first else "ok")

    def close(self) -> None:
        """Nothing to free."""


def test_where_one_look_fails_nothing_was_said() -> None:
    failing = Continued(Fails(1), "ab")
    assert failing.feed("abc") == Step(3)
    assert failing.finish() == Step(3, status="error")
    well = Continued(Fails(0), "ab")
    assert [(each.start, each.end) for each in well.finish().findings] == [(0, 1), (2, 3)]
    well.close()
