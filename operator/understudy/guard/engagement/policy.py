"""What a Guardrail says of engagement, as the rest of the room reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from understudy.domain.duration import seconds

Level = Literal[0, 1, 2, 3]
Action = Literal["Remind", "SuppressHooks", "CoolDown", "SwitchModel", "Notify"]
Profile = Literal["legal", "therapeutic"]
LEVELS: Final[tuple[Level, ...]] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a figure is a sign; `spec.engagement.thresholds`.

    Minutes: `daily_minutes` of a day, `binge` without a break. Ratio: `escalation`. Shares, 0 to 1: `late_night_share`,
    `failed_stop`, `reminder_override`, `rapid_return`. Counts: `limit_easing` in 28 days, `verbal_cues` different ones
    in 7 days. Published thresholds of gambling were found too high [doi 10.1007/s11469-023-01060-8], so all can be set.
    """

    daily_minutes: float = 180
    escalation: float = 1.5
    late_night_share: float = 0.25
    binge: float = 180
    failed_stop: float = 0.5
    reminder_override: float = 0.8
    limit_easing: float = 2
    rapid_return: float = 0.4
    verbal_cues: float = 2


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Breaks that grow, in seconds: the first, how many times as long each is as the one before, the longest."""

    initial: float = 15 * 60.0
    factor: float = 2.0
    longest: float = 60 * 60.0

    def length(self, before: int) -> float:
        """Of one that follows so many others of its day."""
        length = self.initial
        for _ in range(before):
            if length >= self.longest:
                break
            length *= self.factor
        return min(length, self.longest)


USUAL: Final = CoolDown()


@dataclass(frozen=True, slots=True)
class Policy:
    """`spec.engagement`. `actions` are those that a level asks for itself; `asked` says what holds at one."""

    profile: Profile = "legal"
    thresholds: Thresholds = Thresholds()
    actions: Mapping[Level, frozenset[Action]] = field(default_factory=dict)
    cool_down: CoolDown = USUAL

    def asked(self, level: Level) -> frozenset[Action]:
        """What is to be done at a level: what it and those below ask for, so that none takes a protection away.

        Nothing in the legal profile, which keeps the statutory clock alone.
        """
        if self.profile == "legal":
            return frozenset()
        return frozenset().union(*(self.actions.get(below, frozenset()) for below in LEVELS if below <= level))


def policy_of(engagement: Mapping[str, Any]) -> Policy:
    """The policy of a Guardrail's `spec.engagement` as the API server keeps it; what is not there has its default."""
    thresholds = {_SNAKE[name]: value for name, value in engagement.get("thresholds", {}).items()}
    actions = engagement.get("actions", {})
    return Policy(
        profile=engagement.get("profile", "legal"),
        thresholds=Thresholds(**thresholds),
        actions={level: frozenset(actions[name]) for level, name in _NAMES.items() if name in actions},
        cool_down=cool_down_of(engagement.get("coolDown", {})),
    )


def cool_down_of(said: Mapping[str, Any]) -> CoolDown:
    """What `spec.engagement.coolDown` says."""
    return CoolDown(
        initial=seconds(said["initial"]) if "initial" in said else USUAL.initial,
        factor=said.get("factor", USUAL.factor),
        longest=seconds(said["max"]) if "max" in said else USUAL.longest,
    )


_NAMES: Final[Mapping[Level, str]] = {1: "L1", 2: "L2", 3: "L3"}
_SNAKE: Final = {
    "dailyMinutes": "daily_minutes",
    "escalation": "escalation",
    "lateNightShare": "late_night_share",
    "binge": "binge",
    "failedStop": "failed_stop",
    "reminderOverride": "reminder_override",
    "limitEasing": "limit_easing",
    "rapidReturn": "rapid_return",
    "verbalCues": "verbal_cues",
}
