"""What must be held back: everything that may be under way, and little besides."""

import pytest

from tests.guard.corpus import LONG, SHORT, needles
from understudy.guard import liveness
from understudy.guard.liveness import Automaton, Follower
from understudy.guard.lookalikes import ALIKE
from understudy.guard.needles import Needle, Pattern, prepare
from understudy.guard.views import PLAIN, Views


def literal(text: str) -> Needle:
    return prepare(Pattern("d", text, "c", 6, literal=text), 100)


def expression(source: str) -> Needle:
    return prepare(Pattern("d", source, "c", 6, regex=source), 100)


def begins(looked_for: list[Needle], text: str) -> list[int | None]:
    """After each character: where something may be under way."""
    view = looked_for[0].view != PLAIN
    follower = Follower(Automaton(looked_for, ALIKE if view else {}))
    piece = Views().feed(text)[view]
    said = follower.feed(piece, list(piece.origins))
    assert follower.begins() == said[-1]
    return said


@pytest.mark.parametrize(
    ("looked_for", "text", "said"),
    [
        ([literal("abc")], "xabc abd ", [None, None, None, None, None, 5, 5, None, None]),
        ([literal("abc"), literal("ab cd")], "ab cx", [0, 0, 0, 0, None]),
        # "b c" begins within what was under way for "a b d", and goes on when that has ended.
        ([literal("a b d"), literal("b c")], "a b c.", [0, 0, 0, 0, 2, None]),
        ([literal("abc")], "abc", [0, 0, 0]),
        ([literal("ab-")], "ab-", [0, 0, None]),
        ([literal("all"), literal("fail")], "a11 fa1| fal", [0, 0, 0, None, 4, 4, 4, 4, None, 9, 9, None]),
        ([literal("人殺")], "人人殺人", [0, 1, None, 3]),
        ([expression("ab{1,3}c")], "abbbbab", [0, 0, 0, 0, None, 5, 5]),
        ([expression("\\bab")], "aabab ab", [0, None, None, None, None, None, 6, None]),
        ([expression("ab\\b")], "ab abc", [0, 0, None, 3, 3, None]),
        ([expression("(?:x{1,9}|y)z")], "yxxxxx", [0, 1, 1, 1, 1, 1]),
    ],
)
def test_what_may_be_under_way_begins_there(looked_for: list[Needle], text: str, said: list[int | None]) -> None:
    assert begins(looked_for, text) == said


def test_more_than_is_known_to_be_under_way_is_never_held_back() -> None:
    # By its position alone, what follows the `@` might be up to 31 characters from the beginning.
    mail = expression("\\b[a-z]{1,30}@[a-z]{2}")
    assert begins([mail], "so me@x") == [0, 0, None, 3, 3, 3, 3]


def test_the_tables_are_forgotten_when_they_grow_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = [needle for needle in needles() if needle.view == PLAIN]
    text = " ".join(SHORT + LONG)
    whole = begins(looked_for, text)
    monkeypatch.setattr(liveness, "MAX_KEPT", 10)
    automaton = Automaton(looked_for, {})
    follower = Follower(automaton)
    piece = Views().feed(text)[0]
    assert follower.feed(piece, list(piece.origins)) == whole
    assert automaton._kept <= 12


def test_states_of_many_positions_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "MAX_KEPT", 1000)
    automaton = Automaton([expression("a.{0,90}x")], {})
    follower = Follower(automaton)
    # Where it began says which states there are: nearly each is a new one.
    for start in range(20):
        follower.feed(piece := Views().feed("a" + "ab" * start + "c" * 60)[0], list(piece.origins))
    assert sum(len(state.positions) for state in automaton._states.values()) <= 1200
