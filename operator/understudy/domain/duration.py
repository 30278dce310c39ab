"""Durations as people write them in a manifest: `2m`, `1h30m`, `500ms`; `30d` for retention."""

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d))+")


def parse_duration(text: str) -> float:
    """Seconds of a duration: whole numbers with unit ms, s, m, h or d, added up; never negative.

    Raises ValueError that says what to write instead.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write whole numbers with a unit, such as 90s, 1h30m or 500ms")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """A duration for people: the two largest units that are not zero, `0s` below half a millisecond.

    Below ten seconds milliseconds show; above, whole seconds. Raises ValueError when negative.
    """
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    millis = round(seconds * 1000) if seconds < 10 else round(seconds) * 1000
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
