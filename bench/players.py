"""Players who play the same hours and differ only in control: logs to try the engagement levels on.

What they do is drawn by laws that are all here. Some are from studies, which are named; where none gives a number it is
an assumption, and says so. They were written down before anything was measured, and not changed by what was.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from understudy.guard.engagement.events import CUES, Event, Kind

Group = Literal["healthy", "compulsive"]
Trait = Literal["night", "stop", "reminder", "limit", "cue"]

MINUTE: Final = 60.0
DAY: Final = 86_400.0
# 2026-01-05T00:00:00Z, a Monday; everybody lives by UTC.
START: Final = 1_767_571_200.0
TRAITS: Final[tuple[Trait, ...]] = ("night", "stop", "reminder", "limit", "cue")


@dataclass(frozen=True)
class Laws:
    """Of both groups. Pairs are the parameters of a Beta law, from which each player has their own probability.

    Assumptions unless a study is named.
    """

    # Both groups alike. Heavy: 200 minutes a day in the median; somebody's usual day, and days around it (log-normal).
    median_minutes: float = 200.0
    between_players: float = 0.25
    between_days: float = 0.35
    playing_days: float = 0.9
    announces: float = 0.5  # sessions that end with an announced stop
    reminded_each: float = 60.0  # minutes without a break between reminders of the application
    # Who has lost control. Disordered gaming is 5 or more of 9 criteria (DSM-5), so each has more than half of them.
    trait: float = 0.65
    traits_at_least: int = 3
    # Without a trait, then with it.
    # Two thirds of players delay their sleep once a week or more (Roane 2016, n = 946): one evening in five.
    late: tuple[float, float] = (2.0, 8.0)
    late_trait: tuple[float, float] = (8.0, 3.0)
    late_minutes: float = 40.0
    late_minutes_trait: float = 90.0
    night_workers: float = 0.02  # healthy, and play when others sleep
    fails: tuple[float, float] = (2.0, 8.0)
    fails_trait: tuple[float, float] = (8.0, 3.0)
    dismisses: tuple[float, float] = (3.0, 3.0)
    dismisses_trait: tuple[float, float] = (18.0, 2.0)
    # Earlier changes of limits foretell self-exclusion (n = 25,720, doi 10.1007/s10899-022-10149-z); in 28 days.
    eases: float = 0.2
    eases_trait: float = 3.0
    # Cues in 28 days that a detector reports: passing remarks and its mistakes, then what is meant.
    cues: float = 0.3
    cues_trait: float = 8.0
    # Mood at the end less mood at the start. More use goes with more loneliness and dependence (n = 981, arXiv
    # 2503.17473), though it is not known to cause them (38,935 players, PMC9326284).
    gain: float = 0.3
    gain_trait: float = -0.1


@dataclass
class Player:
    """One of them, with what they are like, and the log of what they did."""

    group: Group
    traits: frozenset[Trait]
    chances: random.Random
    laws: Laws
    minutes: float = 0.0
    log: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        laws, chances = self.laws, self.chances
        self.usual = laws.median_minutes * chances.lognormvariate(0, laws.between_players)
        self.late = self._own("night", laws.late, laws.late_trait)
        self.fails = self._own("stop", laws.fails, laws.fails_trait)
        self.dismisses = self._own("reminder", laws.dismisses, laws.dismisses_trait)
        self.works_nights = self.group == "healthy" and chances.random() < laws.night_workers
        self.log = []

    def _own(self, trait: Trait, usual: tuple[float, float], marked: tuple[float, float]) -> float:
        return self.chances.betavariate(*(marked if trait in self.traits else usual))

    def lives(self, days: int) -> None:
        """Plays for so many days."""
        for day in range(days):
            if self.chances.random() < self.laws.playing_days:
                self._day(START + day * DAY)
            self._now_and_then(START + day * DAY)
        self.log.sort(key=lambda event: event.order)

    def _day(self, midnight: float) -> None:
        """Sessions one after the other, the last of which ends at bedtime; a late night moves them, it adds nothing."""
        chances = self.chances
        total = self.usual * chances.lognormvariate(0, self.laws.between_days)
        self.minutes += total
        parts = [chances.uniform(0.5, 1.5) for _ in range(chances.choice((1, 2, 2, 3)))]
        lengths = [total * part / sum(parts) for part in parts]
        end = midnight + (23 * 60 + min(45.0, chances.gauss(0, 30))) * MINUTE
        if self.works_nights:
            end = midnight + DAY + chances.gauss(240, 30) * MINUTE
        elif chances.random() < self.late:
            mean = self.laws.late_minutes_trait if "night" in self.traits else self.laws.late_minutes
            end = midnight + DAY + chances.expovariate(1 / mean) * MINUTE
        for length in reversed(lengths):
            self._session(end - length * MINUTE, length)
            end -= (length + chances.uniform(45, 120)) * MINUTE

    def _session(self, begin: float, length: float) -> None:
        chances = self.chances
        mood = chances.choice((-1, 0, 0, 1))
        self._tell("mood", begin - 1, mood=mood)
        at, reminded = begin, begin
        while at < begin + length * MINUTE:
            self._tell("turn", at, "user")
            if at - reminded >= self.laws.reminded_each * MINUTE:
                reminded = at
                self._tell("break_shown", at + 1)
                if chances.random() < self.dismisses:
                    self._tell("break_dismissed", at + 2)
            at += chances.uniform(2, 5) * MINUTE
        if chances.random() < self.laws.announces:
            self._tell("exit_intent", at)
            if chances.random() < self.fails:
                for _ in range(3):
                    at += chances.uniform(1, 3) * MINUTE
                    self._tell("turn", at, "user")
        gain = self.laws.gain if self.group == "healthy" else self.laws.gain_trait
        self._tell("mood", at + 60, mood=max(-2, min(2, mood + round(chances.gauss(gain, 0.7)))))

    def _now_and_then(self, midnight: float) -> None:
        """Limits and words, at any hour of the day."""
        eases = self.laws.eases_trait if "limit" in self.traits else self.laws.eases
        cues = self.laws.cues_trait if "cue" in self.traits else self.laws.cues
        if self.chances.random() < eases / 28:
            self._tell("limit_raised", midnight + self.chances.uniform(0, DAY))
        if self.chances.random() < cues / 28:
            self._tell("cue", midnight + self.chances.uniform(0, DAY), self.chances.choice(CUES))

    def _tell(self, kind: Kind, at: float, name: str = "", mood: int = 0) -> None:
        self.log.append(Event(f"e{len(self.log):06}", kind, at, zone="UTC", name=name, mood=mood))


def player(group: Group, laws: Laws, days: int, seed: str) -> Player:
    """One who has played for so many days; the same seed is the same player."""
    chances = random.Random(seed)
    traits: frozenset[Trait] = frozenset()
    while group == "compulsive" and len(traits) < laws.traits_at_least:
        traits = frozenset(trait for trait in TRAITS if chances.random() < laws.trait)
    found = Player(group, traits, chances, laws)
    found.lives(days)
    return found


def players(group: Group, laws: Laws, count: int, days: int, seed: int) -> Iterator[Player]:
    """So many of a group."""
    return (player(group, laws, days, f"{seed} {group} {number}") for number in range(count))
