"""What was judged before is known by a keyed hash, within bounds."""

import pytest

from understudy.gateway.policy import memory as module
from understudy.gateway.policy.memory import Memory, Outcome
from understudy.guard.gate import Failure


def test_words_are_told_apart_wherever_they_are_cut_and_by_whose_key() -> None:
    memory = Memory(b"k")
    assert memory.digest("a", "bc") != memory.digest("ab", "c")
    assert memory.digest("a") != Memory(b"other").digest("a")
    assert memory.digest("\ud800") == memory.digest("\ud800")


def test_what_a_text_came_to_is_known_unless_something_failed_or_it_is_long() -> None:
    memory = Memory(b"k")
    memory.learn(b"1", Outcome(text="x"))
    memory.learn(b"2", Outcome(failures=(Failure("", "error", "Open"),)))
    memory.learn(b"3", Outcome(text="x" * 20_000))
    assert memory.known(b"1") == Outcome(text="x")
    assert (memory.known(b"2"), memory.known(b"3")) == (None, None)


def test_a_finding_counts_once() -> None:
    memory = Memory(b"k")
    assert [memory.first(b"1"), memory.first(b"1"), memory.first(b"2")] == [True, False, True]


def test_what_was_asked_for_least_lately_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    memory = Memory(b"k")
    for name in (b"1", b"2"):
        memory.learn(name, Outcome())
        memory.first(name)
    memory.known(b"1")
    memory.first(b"1")
    memory.learn(b"3", Outcome())
    memory.first(b"3")
    assert [memory.known(name) is not None for name in (b"1", b"2", b"3")] == [True, False, True]
    assert memory.first(b"2")
