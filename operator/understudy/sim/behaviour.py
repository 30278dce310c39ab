"""The knobs of a simulated engine, as one immutable value that can be replaced while it serves.

Flags, environment and the live admin call all end here, so a knob means the same everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

HANGS: Final = ("", "requests", "streams", "all")
CRASH_NOW: Final = "now"
MAX_TOKENS: Final = 1_000_000


class BehaviourError(ValueError):
    """A knob that does not exist or a value that it cannot take; the message names both."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the engine behaves from now on. Times are in seconds.

    `start_delay`: until `/health` and `/v1` answer; set live, the engine is unready for that long again.
    `jitter`: 0 to 1, each time t is drawn from t * (1 - jitter) to t * (1 + jitter).
    `error_rate`: 0 to 1, share of completions answered with 500.
    `hang`: "requests" never answers a completion, "streams" stops after the first token, "all" hangs `/health` too.
    `crash`: "now", or n > 0: exit non-zero when the n-th completion from now arrives; 0 never.
    `identity`: the model id that the engine claims to be; empty for the one that it was started with.
    `text`: answered word by word; empty for seeded words. `tokens`: length of a seeded answer.
    """

    start_delay: float = 0.0
    first_token: float = 0.02
    inter_token: float = 0.01
    jitter: float = 0.2
    error_rate: float = 0.0
    hang: str = ""
    crash: str | int = 0
    identity: str = ""
    text: str = ""
    tokens: int = 16


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise BehaviourError(f"{name}: want seconds from 0 to 86400, got {value!r}")
    return float(value)


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BehaviourError(f"{name}: want a number from 0 to 1, got {value!r}")
    return float(value)


def _hang(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "requests" if value else ""
    if value not in HANGS:
        raise BehaviourError(f"{name}: want true, false or one of {', '.join(HANGS[1:])}, got {value!r}")
    return str(value)


def _crash(name: str, value: Any) -> str | int:
    if isinstance(value, bool):
        return CRASH_NOW if value else 0
    if value == CRASH_NOW or (isinstance(value, int) and value >= 0):
        return value  # type: ignore[no-any-return]  # just checked
    raise BehaviourError(f'{name}: want "now", true, false or a number of requests, got {value!r}')


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BehaviourError(f"{name}: want a string, got {value!r}")
    return value


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        raise BehaviourError(f"{name}: want a whole number from 0 to {MAX_TOKENS}, got {value!r}")
    return value


# JSON name -> field, check. The same names as flags (--start-delay) and environment (SIM_START_DELAY).
_KNOBS: Final = {
    "startDelay": ("start_delay", _seconds),
    "firstToken": ("first_token", _seconds),
    "interToken": ("inter_token", _seconds),
    "jitter": ("jitter", _share),
    "errorRate": ("error_rate", _share),
    "hang": ("hang", _hang),
    "crash": ("crash", _crash),
    "identity": ("identity", _string),
    "text": ("text", _string),
    "tokens": ("tokens", _count),
}
KNOBS: Final = tuple(_KNOBS)


def changed(behaviour: Behaviour, knobs: Mapping[str, Any]) -> Behaviour:
    """`behaviour` with the named knobs (JSON names) changed; raises BehaviourError for the first bad one."""
    values: dict[str, Any] = {}
    for name, value in knobs.items():
        if name not in _KNOBS:
            raise BehaviourError(f"{name}: no such knob; there are {', '.join(KNOBS)}")
        field, check = _KNOBS[name]
        values[field] = check(name, value)
    return replace(behaviour, **values)


def described(behaviour: Behaviour) -> dict[str, Any]:
    """All knobs by their JSON names: the inverse of `changed`."""
    values = {field.name: getattr(behaviour, field.name) for field in fields(behaviour)}
    return {name: values[field] for name, (field, _) in _KNOBS.items()}


def flag(knob: str) -> str:
    """The command-line spelling of a knob: `startDelay` is `--start-delay`."""
    return "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in knob)


def variable(knob: str) -> str:
    """The environment spelling of a knob: `startDelay` is `SIM_START_DELAY`."""
    return "SIM_" + "".join(f"_{c}" if c.isupper() else c.upper() for c in knob)


def from_text(knob: str, text: str) -> Any:
    """A flag's or variable's text as the value that `changed` takes.

    Texts that are no number stay strings, which the check then refuses or takes.
    """
    if knob in ("identity", "text"):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
