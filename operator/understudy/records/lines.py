"""What a line of a segment may be: each kind as a model, and as the row that it becomes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from understudy.domain.duration import retention
from understudy.guard.engagement.events import Event, Kind, Mark, Source
from understudy.guard.engagement.policy import policy_of
from understudy.guard.ladder import Per, Terms, parse_terms

# JSON's numbers are exact up to 2^53, and a BIGINT holds more.
Number = Annotated[int, Field(ge=0, le=10**15, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]
# PostgreSQL has no text with a NUL in it.
_TEXT: Final = r"^[^\x00]*$"
Short = Annotated[str, Field(max_length=16, pattern=_TEXT)]
Word = Annotated[str, Field(max_length=64, pattern=_TEXT)]
Name = Annotated[str, Field(max_length=320, pattern=_TEXT)]
_MICRO: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A clock that says anything else was never set, and what it says of when a record began is worth nothing.
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def unix_ms(time: datetime) -> int:
    """Unix milliseconds of a time that has a zone."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


class _Line(BaseModel):
    # A newer gateway may tell more.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Record(_Line):
    time: Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)]

    @property
    def at_ms(self) -> int:
        """When it began, in Unix milliseconds."""
        return unix_ms(self.time)


class Request(_Record):
    """A request of a client; gateway/policy/story.py says what each field means."""

    kind: Literal["request"]
    request_id: Word
    deployment: Name
    served_name: Name
    fallback: Name | None
    operation: Word
    stream: bool
    revision: Word | None
    track: Short | None
    status: Annotated[int, Field(ge=100, le=599)]
    code: Word | None
    attempts: Annotated[int, Field(ge=0, le=1000)]
    first_token_seconds: Seconds | None
    seconds: Seconds
    tokens_in: Number
    tokens_out: Number
    finish_reason: Word | None
    conversation: Short | None
    sampled: bool
    key: Word | None = None

    def row(self) -> dict[str, Any]:
        """As columns."""
        row = self.model_dump(exclude={"kind", "time", "first_token_seconds", "seconds", "finish_reason", "key"})
        first = self.first_token_seconds
        row["first_token_us"] = None if first is None else round(first * _MICRO)
        return {**row, "at_ms": self.at_ms, "total_us": round(self.seconds * _MICRO), "finish": self.finish_reason}


class Counted(_Line):
    """A rung of a ladder that counts a finding, of the session or the player whom it is about; `terms` are its."""

    per: Per
    terms: dict[str, Any]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            self.read()
        except (KeyError, TypeError) as error:
            raise ValueError(f"terms: {error!r}") from error
        return self

    def read(self) -> Terms:
        """As the rules read them; raises ValueError."""
        return parse_terms(self.terms)


class Violation(_Record):
    """What a rule found in what was said, and what was done; `start` and `end` are characters of the raw text.

    `player` and `session` are identifiers of a tenant's own, which are not stored. Of what was found there is as much
    as the guardrail's `evidence` says (`excerpt_hash`, `excerpt`), for `evidence_seconds`; of what names somebody only
    the `entity`, such as EMAIL, and its `length`. For each of `ladder` it is an event of engagement besides.
    """

    kind: Literal["violation", "crisis"]
    violation_id: Word
    request_id: Word | None = None
    deployment: Name
    guardrail: Name
    policy_hash: Annotated[str, Field(max_length=128, pattern=_TEXT)]
    revision: Word | None = None
    track: Short | None = None
    tenant: Name = ""
    player: Name | None = None
    session: Name | None = None
    key: Word | None = None
    rule: Annotated[int, Field(ge=0, le=1000)] | None = None
    direction: Literal["input", "output"]
    channel: Annotated[str, Field(max_length=32, pattern=_TEXT)] | None = None
    category: Word
    entity: Word | None = None
    severity: Annotated[int, Field(ge=0, le=6)]
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    detector: Word
    detector_version: Word = ""
    detector_status: Short = "ok"
    start: Number | None = None
    end: Number | None = None
    length: Number | None = None
    excerpt_hash: Annotated[str, Field(max_length=128, pattern=_TEXT)] | None = None
    excerpt: Annotated[str, Field(max_length=1024, pattern=_TEXT)] | None = None
    evidence_seconds: Annotated[float, Field(ge=0, le=10**9)] | None = None
    action: Annotated[str, Field(max_length=32, pattern=_TEXT)]
    action_result: Annotated[str, Field(max_length=32, pattern=_TEXT)] = "done"
    chars_released_before: Number = 0
    hold_seconds: Seconds | None = None
    upstream_cancelled: bool = False
    ladder: Annotated[tuple[Counted, ...], Field(max_length=16)] = ()

    def row(self) -> dict[str, Any]:
        """As columns, but for those of who it is about."""
        renamed = {"start", "end", "chars_released_before", "hold_seconds", "upstream_cancelled", "evidence_seconds"}
        row = self.model_dump(exclude={"kind", "time", "tenant", "player", "session", "key", "ladder", *renamed})
        hold, kept = self.hold_seconds, self.evidence_seconds
        return {
            **row,
            "at_ms": self.at_ms,
            "start_at": self.start,
            "end_at": self.end,
            "released_before": self.chars_released_before,
            "hold_us": None if hold is None else round(hold * _MICRO),
            "cancelled": self.upstream_cancelled,
            "evidence_until_ms": None if kept is None else self.at_ms + int(kept * 1000),
        }


def findings(violation: Violation) -> Iterator["Engagement"]:
    """What rungs count of a finding, as events: of whom each says, where he is known."""
    for rung in violation.ladder:
        whom = violation.player if rung.per == "player" else None
        session = None if whom else violation.session
        if whom or session:
            said = {"kind": "engagement", "event": "finding", "source": "gateway", "terms": rung.terms}
            who = {"time": violation.time, "tenant": violation.tenant, "player": whom, "session": session}
            yield Engagement.model_validate({**said, **who, "eventId": f"{violation.violation_id}/{rung.read().rung}"})


class Engagement(_Record):
    """What happened around a player, or in a session where no player is known: guard/engagement/events.py.

    A `sign` begins or ends a crisis. `policy` is a Guardrail's `spec.engagement`, by which to judge from then on.
    `terms` are of the rung that counts a finding.
    """

    kind: Literal["engagement", "sign"]
    tenant: Name
    player: Name | None = None
    session: Name | None = None
    event_id: Annotated[str, Field(max_length=128)]
    event: Kind
    source: Source
    zone: Word = ""
    name: Word = ""
    mood: int = 0
    revision: Word = ""
    marks: tuple[Mark, ...] = ()
    policy: dict[str, Any] | None = None
    terms: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.player and not self.session:
            raise ValueError("of nobody")
        self.told()
        if self.policy is not None:
            try:
                policy_of(self.policy)
                retention(self.policy.get("ttl", "90d"))
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(f"policy: {error}") from error
        return self

    def told(self) -> Event:
        """As the rules read it; raises ValueError."""
        terms = None if self.terms is None else parse_terms(self.terms)
        what = (self.event_id, self.event, self.at_ms / 1000, self.source, self.zone, self.name, self.mood)
        return Event(*what, self.revision, self.marks, terms)

    def row(self) -> dict[str, Any]:
        """As columns, but for those of who it is about."""
        row = self.model_dump(exclude={"kind", "time", "tenant", "player", "session", "marks", "policy", "terms"})
        terms = None if self.terms is None else json.dumps(self.terms, sort_keys=True, separators=(",", ":"))
        return {**row, "at_ms": self.at_ms, "marks": ",".join(self.marks), "terms": terms}


class Ended(_Line):
    """Of `segment`, which had so many `lines`, nothing more comes: it made way."""

    kind: Literal["ended"]
    segment: Annotated[str, Field(pattern="^[0-9a-f]{16}-[ck][0-9]{8}$")]
    lines: Number


class Lost(_Line):
    """So many records of a kind never got into a segment."""

    kind: Literal["lost"]
    of: Short
    count: Number


Record = Request | Violation | Engagement
Line = Record | Ended | Lost
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
