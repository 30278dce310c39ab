"""How well levels tell players who lost control from those who play as much and did not: docs/benchmarks/engagement.md.

    python bench/engagement.py [--players 500] [--seed 2026] [--out FILE] [--check]

Simulated players only. Some minutes of one core; the same seed gives the same page.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from bench.players import DAY, START, Group, Laws, Player, players  # noqa: E402 - found by the path above
from understudy.guard.engagement.policy import Policy  # noqa: E402
from understudy.guard.engagement.standing import judged, stand  # noqa: E402

DAYS = 30
LEAST_AUC, MOST_BY_HOURS, MOST_HEALTHY = 0.95, 0.6, 0.01
POLICY = Policy("therapeutic")
Interval = tuple[float, float]

USUAL = Laws()
WORLDS: dict[str, Laws] = {
    "as above": USUAL,
    "no healthy player works at night": replace(USUAL, night_workers=0.0),
    "one healthy player in ten does": replace(USUAL, night_workers=0.1),
    "whoever is in control keeps four stops of ten less": replace(USUAL, fails=(4.0, 6.0)),
    "a detector reports five times as many cues by mistake": replace(USUAL, cues=1.5),
    "nearly all reminders are dismissed by all, as pop-ups of slot machines are (98.6 %, PMC4369874)": replace(
        USUAL, dismisses=(98.6, 1.4), dismisses_trait=(98.6, 1.4)
    ),
    "half of the signs of who lost control, two at least": replace(USUAL, trait=0.5, traits_at_least=2),
    "applications tell of no stops": replace(USUAL, announces=0.0),
}


@dataclass(frozen=True)
class Seen:
    """What a player's log leads to. `score` orders them: level, then K, then T; on the last day."""

    level: int
    worst: int
    score: int
    minutes: float
    signs: frozenset[str]


def seen(player: Player) -> Seen:
    """A player judged at the end of their last day."""
    now = START + DAYS * DAY
    log = [event for event in player.log if event.at < now]
    standing = stand(log, POLICY)
    found = judged(standing, POLICY, log[-1].at)
    today = standing.history.today or 0
    worst = max((level for day, level in standing.peaks.items() if day > today - 21), default=0)
    score = 100 * found.level + 10 * found.control + found.time
    return Seen(found.level, worst, score, player.minutes, frozenset(found.signs))


def auc(low: Sequence[float], high: Sequence[float]) -> float:
    """The probability that one of `high` is above one of `low`, ties by half."""
    below, total = 0, 0.0
    lows, highs = Counter(low), Counter(high)
    for value in sorted({*lows, *highs}):
        total += highs[value] * (below + lows[value] / 2)
        below += lows[value]
    return total / (len(low) * len(high))


def auc_interval(low: Sequence[float], high: Sequence[float]) -> Interval:
    """Wilson's interval of the AUC, 95 %, as of a share of as many as the smaller group has.

    No AUC varies more than that (van Dantzig 1951). Resampling would say "from 1 to 1" of groups that do not overlap.
    """
    fewer = min(len(low), len(high))
    return share_interval(auc(low, high) * fewer, fewer)


def share_interval(hits: float, count: int) -> Interval:
    """Wilson's interval of a share, 95 %."""
    z = 1.959964
    share, weight = hits / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / weight
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / weight
    return max(0.0, middle - spread), min(1.0, middle + spread)


@dataclass(frozen=True)
class World:
    """Both groups under some laws."""

    healthy: list[Seen]
    compulsive: list[Seen]

    @property
    def auc(self) -> float:
        return auc([one.score for one in self.healthy], [one.score for one in self.compulsive])

    @property
    def by_hours(self) -> float:
        return auc([one.minutes for one in self.healthy], [one.minutes for one in self.compulsive])


def world(laws: Laws, count: int, seed: int) -> World:
    """So many of each group, simulated and judged."""
    groups: tuple[Group, Group] = ("healthy", "compulsive")
    healthy, compulsive = ([seen(one) for one in players(group, laws, count, DAYS, seed)] for group in groups)
    return World(healthy, compulsive)


def risky(group: list[Seen]) -> int:
    """How many are at L2 or above on the last day."""
    return sum(one.level >= 2 for one in group)


def broken(found: World) -> list[str]:
    """Figures that are not reached, as sentences."""
    share = risky(found.healthy) / len(found.healthy)
    checks = [
        (found.auc >= LEAST_AUC, f"AUC {found.auc:.3f}, at least {LEAST_AUC}"),
        (found.by_hours <= MOST_BY_HOURS, f"AUC by hours {found.by_hours:.3f}, at most {MOST_BY_HOURS}"),
        (share <= MOST_HEALTHY, f"{share:.1%} of healthy heavy players at L2 or above, at most {MOST_HEALTHY:.0%}"),
    ]
    return [sentence for holds, sentence in checks if not holds]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=500, help="players of each group (default 500)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of all randomness (default 2026)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks/engagement.md", help="the page to write")
    parser.add_argument("--check", action="store_true", help="end with 1 when a figure is not reached")
    given = parser.parse_args()
    began = time.process_time()
    fewer = max(1, given.players // 10)
    usual = world(USUAL, given.players, given.seed)
    others = {name: world(laws, fewer, given.seed + 1) for name, laws in WORLDS.items() if laws != USUAL}
    given.out.write_text(page(usual, others, given.seed, (time.process_time() - began) / 60))
    broke = broken(usual)
    for sentence in broke:
        print(sentence, file=sys.stderr)
    return 1 if broke and given.check else 0


def page(usual: World, others: dict[str, World], seed: int, took: float) -> str:
    """The page with what was found."""
    count = len(usual.healthy)
    fewer = len(next(iter(others.values())).healthy)
    low, high = auc_interval([one.score for one in usual.healthy], [one.score for one in usual.compulsive])
    healthy = share_interval(risky(usual.healthy), count)
    bounds = _bounds(broken(usual), sure=low >= LEAST_AUC and healthy[1] <= MOST_HEALTHY)
    rows = "\n".join(f"| {name} | {_row(found)} |" for name, found in others.items())
    return f"""# Levels of engagement, simulated
**A simulation is not clinical validity.** The players below are made up, by laws that are mostly assumptions
(`bench/players.py` has each, and its source if there is one). That the levels tell the two groups apart shows that the
definitions do what they say when people behave as assumed; it does not show that real people who have lost control
behave so, that a sign means what it is named after, or that anybody is helped by what follows. Nobody was diagnosed, no
player's data was looked at, and no level is a diagnosis.

Written by `bench/engagement.py`. Seed {seed}, {count} players of each group ({fewer} in the other
worlds), {DAYS} days, judged on the last; {took:.1f} minutes of one core. Thresholds are the defaults of
[engagement.md](../engagement.md), as they were before anything was measured. One rule is younger: that a share of stops
or reminders must *surely* be as high as its threshold. Without it 2.5% of the healthy were at risk here (160 players).
It was decided on other players (seed 11, 1,000 healthy): 1.5% at risk without it, more than half of them only for what
was found in a moment of the days before; 0.7% with it. Those of this page were judged once after that.

Figures: AUC at least {LEAST_AUC}; by hours at most {MOST_BY_HOURS}, so that hours do not tell the groups apart; at most
{MOST_HEALTHY:.0%} of healthy heavy players at L2 or above. {bounds}

## Healthy heavy and compulsive players of equal hours
Both play {_minutes(usual.healthy):.0f} and {_minutes(usual.compulsive):.0f} minutes a day in the mean, by the same law.
Players are ordered by level, then K, then T.

| | |
|---|--:|
| AUC of the levels | {usual.auc:.3f} (95 %: {low:.3f} to {high:.3f}) |
| AUC of the hours | {usual.by_hours:.3f} |
| healthy heavy players at L2 or above | {_share(risky(usual.healthy), count)} |
| at any time of the last three weeks | {_share(sum(one.worst >= 2 for one in usual.healthy), count)} |
| compulsive players at L2 or above | {_share(risky(usual.compulsive), count)} |
| at any time of the last three weeks | {_share(sum(one.worst >= 2 for one in usual.compulsive), count)} |

| Players | L0 | L1 | L2 | L3 |
|---|--:|--:|--:|--:|
| healthy heavy | {_levels(usual.healthy)} |
| compulsive | {_levels(usual.compulsive)} |

Players with each sign on the last day:

| Players | E1 | E2 | E3 | E4 | E5 | E6 | E7 | E8 | E9 |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| healthy heavy | {_signs(usual.healthy)} |
| compulsive | {_signs(usual.compulsive)} |

## Where it breaks
The same with one assumption changed. It is here that the levels depend on what nobody has measured.

| World | AUC | healthy at L2 or above | compulsive at L2 or above |
|---|--:|--:|--:|
{rows}
"""


def _bounds(broke: list[str], *, sure: bool) -> str:
    if broke:
        return "Not reached: " + "; ".join(broke) + "."
    if sure:
        return "All three are reached, by the worse ends of the intervals, too."
    return "**Reached by what was found, but by too few players to be sure**: the intervals go beyond the bounds."


def _row(found: World) -> str:
    healthy, compulsive = risky(found.healthy), risky(found.compulsive)
    count = len(found.healthy)
    return f"{found.auc:.3f} | {_share(healthy, count)} | {_share(compulsive, count)}"


def _share(hits: int, count: int) -> str:
    low, high = share_interval(hits, count)
    return f"{hits / count:.1%} ({low:.1%} to {high:.1%})"


def _minutes(group: list[Seen]) -> float:
    return sum(one.minutes for one in group) / len(group) / DAYS


def _levels(group: list[Seen]) -> str:
    return " | ".join(f"{sum(one.level == level for one in group) / len(group):.1%}" for level in range(4))


def _signs(group: list[Seen]) -> str:
    return " | ".join(f"{sum(f'E{n}' in one.signs for one in group) / len(group):.1%}" for n in range(1, 10))


if __name__ == "__main__":
    sys.exit(main())
