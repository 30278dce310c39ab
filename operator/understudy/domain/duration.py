"""Durations as users write them (`90s`, `1h30m`) and instants as the API server stamps them (RFC 3339)."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h)")
_DAYS: Final = re.compile(r"([0-9]+)d")
_WHOLE: Final = re.compile(r"([0-9]+(ms|s|m|h))+")


@lru_cache(maxsize=1024)
def seconds(text: str) -> float:
    """Seconds of a duration such as `1h30m`; ValueError says what to write instead."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write one such as 90s or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def retention(text: str) -> float:
    """Seconds of how long records are kept, such as `30d` or `12h`; ValueError says what to write instead."""
    days = _DAYS.fullmatch(text)
    return int(days[1]) * 86400.0 if days else seconds(text)


def words(amount: float) -> str:
    """A span of seconds for people, in its two largest units at most: `about` is left to the caller."""
    left = round(amount)
    if left < 60:
        return f"{left} s"
    if left < 3600:
        minutes, rest = divmod(left, 60)
        return f"{minutes} min" if rest == 0 or minutes >= 10 else f"{minutes} min {rest} s"
    hours, rest = divmod(left, 3600)
    return f"{hours} h" if rest < 60 else f"{hours} h {rest // 60} min"


def stamp(wall: float) -> str:
    """Unix seconds as the API server writes an instant: UTC, whole seconds."""
    return datetime.fromtimestamp(wall, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> float:
    """Unix seconds of an RFC 3339 instant; ValueError if it is none or has no time zone."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return value.timestamp()
