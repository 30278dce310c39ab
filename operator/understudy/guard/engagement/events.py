"""What is known to have happened around one player: the only thing that engagement is judged by.

An event is a value that its maker cannot bend in the player's disfavour: what a client may tell can only add
protection, its time is held within bounds around the time at which it was received, and an id counts once.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from understudy.domain.duration import instant
from understudy.guard.ladder import Terms

Kind = Literal[
    "turn",
    "exit_intent",
    "break_shown",
    "break_accepted",
    "break_dismissed",
    "limit_set",
    "limit_raised",
    "limit_removed",
    "mood",
    "goal_done",
    "session_end",
    "cue",
    "assist_hook",
    "notice_shown",
    "crisis_sign",
    "crisis_cleared",
    "finding",
    "ladder_lifted",
]
# Who says so: a gateway; an application by a key with `assertsPlayers`; an application by any other key.
Source = Literal["gateway", "asserted", "client"]
Mark = Literal["early", "late", "unknown_zone"]

ROLES: Final = ("user", "assistant")
# What a player says that is a sign (E9), and what a model does to keep them (the hook rate).
CUES: Final = ("unavailability_distress", "activities_given_up", "fear_of_addiction", "prefers_bot")
HOOKS: Final = ("pressure_to_stay", "guilt_on_exit", "exclusivity", "discouraging_help")
# Seconds before and after its receipt in which the time of an event is believed.
EARLIEST: Final = 24 * 3600.0
LATEST: Final = 5 * 60.0

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {"turn": ROLES, "cue": CUES, "assist_hook": HOOKS}
_GATEWAYS_ALONE: Final = frozenset(("turn", "assist_hook", "notice_shown", "finding"))
# Told falsely each of these could make a player look better off; the others can only make them look worse off.
_ASSERTED_ALONE: Final = frozenset(
    ("break_shown", "limit_set", "mood", "goal_done", "session_end", "crisis_cleared", "ladder_lifted")
)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_REVISION: Final = re.compile(r"[A-Za-z0-9]{0,64}")
_FIELDS: Final = ("event_id", "kind", "at", "zone", "name", "mood")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one player.

    `at`: Unix seconds. `zone`: IANA name of where the player was, empty if nobody said. `name`: the role of a turn, or
    which cue or hook it was. `mood`: -2 to 2. `revision`: whose turn or hook it was. An answer with several hooks is
    one event, named after the worst. `terms`: of a finding, of the rung that counts it. ValueError says what is wrong
    with one.
    """

    id: str
    kind: Kind
    at: float
    source: Source = "gateway"
    zone: str = ""
    name: str = ""
    mood: int = 0
    revision: str = ""
    marks: tuple[Mark, ...] = ()
    terms: Terms | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("event_id: write 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if not 0 <= self.at < float("inf"):
            raise ValueError("at: write an instant after 1970")
        if self.name not in _NAMES.get(self.kind, ("",)):
            raise ValueError(_wrong_name(self.kind, self.name))
        if self.mood not in (range(-2, 3) if self.kind == "mood" else (0,)):
            raise ValueError("mood: write a whole number from -2 to 2 with kind mood, and nothing with any other")
        if not _REVISION.fullmatch(self.revision):
            raise ValueError("revision: write up to 64 letters and digits")
        if (self.terms is not None) != (self.kind == "finding"):
            raise ValueError("terms: write those of a rung with kind finding, and with no other")

    @property
    def key(self) -> tuple[str, str]:
        """What must not come twice. With its source: else a client could take the id of a turn before it happens."""
        return self.id, self.source

    @property
    def order(self) -> tuple[float, str, str]:
        """Its place in a log."""
        return self.at, self.id, self.source

    @property
    def trusted(self) -> bool:
        """Whether it may speak for the player as well as against them."""
        return self.source != "client"


def _wrong_name(kind: Kind, name: str) -> str:
    if kind in _NAMES:
        return f"name: {name!r} is no {kind}: write one of {', '.join(_NAMES[kind])}"
    return f"name: {name!r} does not belong to kind {kind}: leave it out"


def posted(document: Mapping[str, object], source: Source, received: float) -> Event:
    """The event of a document posted by an application, as `POST /v1/engagement/events` takes it.

    `received`: Unix seconds. A time outside of the bounds around it is moved to the bound, and a zone that does not
    exist counts as none; both leave a mark. A crisis that was cleared was by its receipt at the latest, and one whose
    sign bears a time that is not believed begins with its receipt. ValueError says what is wrong and what to write
    instead.
    """
    if unknown := sorted(set(document) - set(_FIELDS)):
        raise ValueError(f"{unknown[0]}: no such field; there are {', '.join(_FIELDS)}")
    given = {field: _text(document, field) for field in ("event_id", "kind", "at", "zone", "name")}
    _allow(given["kind"], given["zone"], source)
    mood = document.get("mood", 0)
    if type(mood) is not int or ("mood" in document) != (given["kind"] == "mood"):
        raise ValueError("mood: write a whole number from -2 to 2 with kind mood, and nothing with any other")
    at, marks = _bounded(given["kind"], _instant(given["at"]), received)
    if given["zone"] and zone(given["zone"]) is None:
        given["zone"], marks = "", (*marks, "unknown_zone")
    # What kinds there are is checked by the event itself, whoever makes it.
    kind: Kind = given["kind"]  # type: ignore[assignment]
    return Event(given["event_id"], kind, at, source, given["zone"], given["name"], mood, marks=marks)


def in_order(log: Iterable[Event]) -> list[Event]:
    """A log by time; of several events with one key the first that was told."""
    first: dict[tuple[str, str], Event] = {}
    for event in log:
        first.setdefault(event.key, event)
    return sorted(first.values(), key=lambda event: event.order)


def zone(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name, None if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _text(document: Mapping[str, object], field: str) -> str:
    value = document.get(field, "")
    if not isinstance(value, str):
        raise ValueError(f"{field}: write a string")
    return value


def _allow(kind: str, where: str, source: Source) -> None:
    if kind in _GATEWAYS_ALONE and source != "gateway":
        raise ValueError(f"kind: {kind} is told by gateways alone: leave it out")
    if kind in _ASSERTED_ALONE and source == "client":
        raise ValueError(f"kind: {kind} may lower protection: post it with a key that has assertsPlayers")
    if where and source == "client":
        raise ValueError("zone: it may lower protection: post it with a key that has assertsPlayers")


def _instant(text: str) -> float:
    try:
        return instant(text)
    except ValueError:
        raise ValueError("at: write an RFC 3339 instant with its zone, such as 2026-03-01T20:15:00Z") from None


def _bounded(kind: str, at: float, received: float) -> tuple[float, tuple[Mark, ...]]:
    # A clock that is wrong must not end a crisis: neither one that this sign begins, nor one that begins after now.
    earliest = received if kind == "crisis_sign" else received - EARLIEST
    latest = received if kind == "crisis_cleared" else received + LATEST
    if at < received - EARLIEST:
        return earliest, ("early",)
    if at > latest:
        return latest, ("late",)
    return at, ()
