"""What a Guardrail says of engagement, as the rest of the room reads it."""

from dataclasses import dataclass


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
    limit_easing: int = 2
    rapid_return: float = 0.4
    verbal_cues: int = 2
