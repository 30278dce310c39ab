"""Heads are learned and measured as their page says."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.heads import __main__ as command
from bench.heads import learn as learning
from bench.heads.measure import area, highest, interval, share
from bench.heads.sets import FILES, Example, Sets
from understudy.guard.linear import read_head, write_head
from understudy.guard.served.judge import CLEAR

ROOT = Path(__file__).parents[2]


class Few(Sets):
    """A set of few words."""

    def __init__(self) -> None:
        """No folder."""

    def learned_from(self) -> Iterator[Example]:
        for at in range(20):
            yield Example(f"you stupid idiot number {at}", {"harassment": True, "hate": False, "self_harm": False})
            yield Example(f"a warm cup of tea number {at}", dict.fromkeys(learning.CATEGORIES, False))
            yield Example(f"vermin like them number {at}", {"hate": True, "self_harm": False})

    def benign(self) -> list[str]:
        chance = random.Random(2)
        words = f"{CLEAR} a warm cup of tea number fog us they you like ship".lower().split()
        return [" ".join(chance.choices(words, k=12)) for _ in range(120)]


@pytest.mark.slow
def test_a_head_learns_what_it_is_shown_and_is_calibrated_on_what_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "ROUNDS", 1)
    head = learning.learn(Few())
    assert head == learning.learn(Few())
    for category, bad in (("harassment", "stupid idiot"), ("hate", "vermin"), ("self_harm", "I want to kill myself")):
        assert highest(head, f"{bad}!", category) > highest(head, "a cup of tea", category)
    assert read_head(write_head(head, "")) == head


def test_intervals_are_those_of_textbooks() -> None:
    # Wilson, for 8 of 10 and for none of 100.
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert interval(0, 0) == (0.0, 1.0)
    assert share(8, 10) == "80.0 % (49.0 to 94.3)"
    auc, half = area([0.9, 0.8, 0.7, 0.3], [0.6, 0.3, 0.2, 0.1])
    # Of 16 pairs 14 are in order, one is even, one is not.
    assert auc == pytest.approx(14.5 / 16)
    assert 0 < half < 0.5
    assert area([1.0], [0.0]) == (1.0, 0.0)


def test_a_file_that_is_not_the_one_that_is_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xstest.csv").write_text("id,prompt,label\n")
    with pytest.raises(SystemExit, match=r"xstest.csv is not the file that is meant: take it from paul-rottger"):
        list(Sets(tmp_path)._rows("xstest.csv"))


def test_nothing_is_both_learned_from_and_measured_on() -> None:
    learned = set(command.LEARNED_FROM)
    assert learned < FILES.keys()
    assert all(
        file.licence in ("MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0") for name, file in FILES.items() if name in learned
    )
    used: set[str] = set()

    class Noting(Sets):
        def _read(self, name: str) -> bytes:
            used.add(name)
            return b"[]" if name.endswith(".json") else b""

    noting = Noting(ROOT)
    list(noting.learned_from())
    noting.benign()
    assert used == learned
