"""The simulated players are what they are said to be, and the figures are computed as they are named."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import engagement
from bench.engagement import USUAL, WORLDS, Seen, World, auc, auc_interval, broken, page, risky, seen, share_interval
from bench.players import DAY, START, Group, Laws, player, players

GROUPS: tuple[Group, Group] = ("healthy", "compulsive")


@pytest.mark.parametrize("group", GROUPS)
def test_the_same_seed_is_the_same_player(group: Group) -> None:
    one, same, other = (player(group, USUAL, 5, seed) for seed in ("7", "7", "8"))
    assert one.log == same.log
    assert one.log != other.log
    assert one.log == sorted(one.log, key=lambda event: event.order)


def test_both_groups_play_the_same_hours() -> None:
    minutes = [[one.minutes for one in players(group, USUAL, 60, 2, 3)] for group in GROUPS]
    assert auc(*minutes) == pytest.approx(0.5, abs=0.15)


def test_who_lost_control_has_most_of_the_traits_and_nobody_else_has_any() -> None:
    assert all(len(one.traits) >= USUAL.traits_at_least for one in players("compulsive", USUAL, 40, 0, 1))
    assert all(not one.traits for one in players("healthy", USUAL, 40, 0, 1))
    assert not any(one.works_nights for one in players("compulsive", replace(USUAL, night_workers=1.0), 5, 0, 1))


def test_a_late_night_moves_minutes_and_adds_none() -> None:
    early, late = (replace(USUAL, late=law, between_days=0.0, playing_days=1.0) for law in ((1.0, 9e9), (9e9, 1.0)))
    minutes = [sum(one.minutes for one in players("healthy", laws, 10, 4, 5)) for laws in (early, late)]
    assert minutes[0] == pytest.approx(minutes[1], rel=0.15)
    nights = [
        sum((event.at - START) % DAY < 5 * 3600 for one in players("healthy", laws, 10, 4, 5) for event in one.log)
        for laws in (early, late)
    ]
    assert nights[1] > 10 * nights[0]


def test_what_an_application_does_not_tell_is_not_there() -> None:
    silent = player("compulsive", WORLDS["applications tell of no stops"], 10, "1")
    assert Counter(event.kind for event in silent.log)["exit_intent"] == 0


def test_a_player_is_judged_on_their_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engagement, "DAYS", 4)
    found = seen(player("compulsive", USUAL, 4, "3"))
    assert found.level <= found.score // 100 <= 3
    assert found.worst >= found.level
    assert found.minutes > 0


@pytest.mark.slow
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_auc_is_the_part_of_pairs_in_order(low: list[int], high: list[int]) -> None:
    pairs = [(a < b) + (a == b) / 2 for a in low for b in high]
    assert auc(low, high) == pytest.approx(sum(pairs) / len(pairs))


def test_its_interval_is_that_of_a_share_of_the_smaller_group() -> None:
    assert auc_interval([1.0] * 50, [2.0] * 500) == share_interval(50, 50)
    assert auc_interval([1.0] * 50, [1.0] * 20) == share_interval(10, 20)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 500, 0.0, 0.0076), (5, 500, 0.0043, 0.0232), (50, 100, 0.4038, 0.5962)]
)
def test_the_interval_of_a_share_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    assert share_interval(hits, count) == pytest.approx((low, high), abs=5e-5)


def made(level: int, minutes: float) -> Seen:
    return Seen(level, level, 100 * level, minutes, frozenset({"E1"}))


GOOD = World([made(1, 200.0), made(0, 100.0)], [made(2, 100.0), made(3, 200.0)])


def test_a_figure_that_is_not_reached_is_said() -> None:
    assert broken(GOOD) == []
    assert broken(World(GOOD.healthy, GOOD.healthy)) == ["AUC 0.500, at least 0.95"]
    more = World([made(0, 1.0), made(2, 1.0)], [made(3, 9.0)])
    assert broken(more) == [
        "AUC by hours 1.000, at most 0.6",
        "50.0% of healthy heavy players at L2 or above, at most 1%",
    ]
    assert risky(more.healthy) == 1


def test_the_page_says_what_a_simulation_is_not() -> None:
    text = page(GOOD, {"another world": GOOD}, 1, 0.5)
    assert "**A simulation is not clinical validity.**" in text
    assert "by too few players to be sure" in text
    many = World(GOOD.healthy * 300, GOOD.compulsive * 300)
    assert "All three are reached, by the worse ends of the intervals, too." in page(many, {"x": many}, 1, 0.5)
    none = World(GOOD.healthy, GOOD.healthy)
    assert "Not reached: AUC 0.500, at least 0.95." in page(none, {"x": none}, 1, 0.5)
    assert "| another world | 1.000 | 0.0% (0.0% to 65.8%) | 100.0% (34.2% to 100.0%) |" in text


def test_the_command_writes_the_page_and_ends_with_1_when_a_figure_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        engagement, "world", lambda laws, count, seed: GOOD if laws == Laws() else World([made(2, 1.0)], [made(2, 1.0)])
    )
    monkeypatch.setattr("sys.argv", ["engagement", "--players", "4", "--check", "--out", str(tmp_path / "page.md")])
    assert engagement.main() == 0
    assert "Where it breaks" in (tmp_path / "page.md").read_text()
    monkeypatch.setattr(engagement, "world", lambda *_: World(GOOD.healthy, GOOD.healthy))
    assert engagement.main() == 1
