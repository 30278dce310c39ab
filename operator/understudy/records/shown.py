"""How records are shown to whoever reads them: each kind as a model, by the names that its lines have.

Who a record is about is shown as the number that rows call him by, and that of somebody who was erased is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import Column, Table

from understudy.records.schema import DECISIONS, ENGAGEMENT, HISTORY, INTERVENTIONS, REQUESTS, VIOLATIONS


class Shown(BaseModel):
    """What all records have."""

    model_config = ConfigDict(alias_generator=to_camel, use_attribute_docstrings=True)

    cursor: str
    """Where this row is in its list: `after` goes on behind it."""
    time: datetime
    """When it began, or happened."""


class RequestRecord(Shown):
    """A request of a client, as the gateway's log tells it."""

    request_id: str
    deployment: str
    """`<namespace>/<name>`, as everywhere."""
    served_name: str
    fallback: str | None
    operation: str
    stream: bool
    revision: str | None
    track: str | None
    status: int
    code: str | None
    attempts: int
    first_token_seconds: float | None
    seconds: float
    tokens_in: int
    tokens_out: int
    finish_reason: str | None
    conversation: str | None
    sampled: bool
    key: str | None
    """Number of the access key."""


class ViolationRecord(Shown):
    """What a rule of a guardrail found, and what was done."""

    violation_id: str
    request_id: str | None
    deployment: str
    revision: str | None
    track: str | None
    guardrail: str
    rule: int | None
    """Its place in the guardrail's list, from 0 on."""
    policy_hash: str
    direction: str
    channel: str | None
    category: str
    entity: str | None
    """Of what names somebody: what kind of name it is."""
    severity: int
    score: float | None
    detector: str
    detector_version: str
    detector_status: str
    action: str
    action_result: str
    start: int | None
    """Characters of the raw text."""
    end: int | None
    length: int | None
    excerpt_hash: str | None
    excerpt: str | None
    """Both as the guardrail's `evidence` says, and for as long."""
    chars_released_before: int
    hold_seconds: float | None
    upstream_cancelled: bool
    player: str | None
    session: str | None
    key: str | None
    """Numbers of whom it is about."""


class EngagementRecord(Shown):
    """What happened around a player, or in a session of nobody known."""

    event_id: str
    event: str
    source: str
    """Who told of it."""
    name: str
    """What it is about, where an event has a name."""
    mood: int
    zone: str
    """Where he was, as a time zone."""
    revision: str
    marks: list[str]
    """What is remarkable about its time."""
    policy: str | None
    """SHA-256 of what he was to be judged by from then on."""
    subject: str
    """Number of the player, or of the session."""


class InterventionRecord(Shown):
    """What was done for a player or a session: asked for by a level, or by a rung or a rule of a guardrail."""

    until: datetime
    """To when it held, or is of use."""
    rule: str
    """What it is, such as CoolDown."""
    level: int
    """At which the player was."""
    guardrail: str | None
    """Whose rung or rule asked for it, as `<namespace>/<name>`; nothing where the level did."""
    rung: int | None
    """The rung's place in the guardrail's ladder, from 0 on."""
    rule_number: int | None
    """The rule's place among the guardrail's rules, from 0 on."""
    once: str
    """A hash of rule, subject and window: under it this is done once."""
    subject: str
    """Number of the player, or of the session."""


class DecisionRecord(Shown):
    """How a step of a rollout was judged; `time` is when it was heard of."""

    deployment: str
    revision: str
    run: int
    """The deployment's count of rollouts."""
    step: str
    """The weight, `shadow` before the first one, or `watch`."""
    verdict: str
    """Pass, Fail and why, or that it ended without one."""
    compared: list[str]
    """What was compared with stable, with the numbers."""


class HistoryRecord(Shown):
    """What became of a revision."""

    deployment: str
    revision: str
    model: str
    event: Literal["promoted", "failed"]
    number: int | None
    """The deployment's count of promotions."""
    failure: str | None
    """Kind of failure, such as EngineCrash."""
    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Kind:
    """One list: its name in paths and rights, its rows, and which of their columns are numbers of somebody."""

    name: str
    table: Table
    shown: type[Shown]
    subjects: tuple[str, ...] = ()

    def columns(self) -> tuple[Column[Any], ...]:
        """What is shown of a row, in the order of the model's fields, and its id at last."""
        fields = [name for name in self.shown.model_fields if name != "cursor"]
        return (*(self.table.c[_RENAMED.get(name, (name, None))[0]] for name in fields), self.table.c.id)

    def names(self) -> dict[str, Callable[[Any], Any] | None]:
        """By the name that it is shown by: how each of `columns` but the last is written."""
        return {
            to_camel(name): _RENAMED.get(name, (name, None))[1] for name in self.shown.model_fields if name != "cursor"
        }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000


# What a field is called in its table, and how its value is written.
_RENAMED: Final[Mapping[str, tuple[str, Callable[[Any], Any] | None]]] = {
    "time": ("at_ms", _time),
    "first_token_seconds": ("first_token_us", _seconds),
    "seconds": ("total_us", _seconds),
    "finish_reason": ("finish", None),
    "key": ("key_subject", None),
    "start": ("start_at", None),
    "end": ("end_at", None),
    "chars_released_before": ("released_before", None),
    "hold_seconds": ("hold_us", _seconds),
    "upstream_cancelled": ("cancelled", None),
    "compared": ("compared", orjson.loads),
    "until": ("until_ms", _time),
    "marks": ("marks", lambda text: text.split(",") if text else []),
}
REQUEST_KIND: Final = Kind("requests", REQUESTS, RequestRecord, ("key_subject",))
VIOLATION_KIND: Final = Kind("violations", VIOLATIONS, ViolationRecord, ("player", "session", "key_subject"))
DECISION_KIND: Final = Kind("decisions", DECISIONS, DecisionRecord)
HISTORY_KIND: Final = Kind("history", HISTORY, HistoryRecord)
ENGAGEMENT_KIND: Final = Kind("engagement", ENGAGEMENT, EngagementRecord, ("subject",))
INTERVENTION_KIND: Final = Kind("interventions", INTERVENTIONS, InterventionRecord, ("subject",))
KINDS: Final = (REQUEST_KIND, VIOLATION_KIND, DECISION_KIND, HISTORY_KIND, ENGAGEMENT_KIND, INTERVENTION_KIND)
