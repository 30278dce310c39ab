"""What a line of a segment may be: each kind as a model, and as the row that it becomes."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel

from understudy.guard.engagement.events import Event, Kind, Mark, Source
from understudy.guard.engagement.policy import policy_of

# JSON's numbers are exact up to 2^53, and a BIGINT holds more.
Number = Annotated[int, Field(ge=0, le=10**15, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]
# PostgreSQL has no text with a NUL in it.
_TEXT: Final = r"^[^\x00]*$"
Short = Annotated[str, Field(max_length=16, pattern=_TEXT)]
Word = Annotated[str, Field(max_length=64, pattern=_TEXT)]
Name = Annotated[str, Field(max_length=320, pattern=_TEXT)]
_MICRO: Final = 1_000_000


class _Line(BaseModel):
    # A newer gateway may tell more.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Record(_Line):
    time: datetime

    @property
    def at_ms(self) -> int:
        """When it began, in Unix milliseconds."""
        return int(self.time.timestamp() * 1000)


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


class Violation(_Record):
    """What a rule found in what was said, and what was done; `start` and `end` are characters of the raw text.

    `player` and `session` are identifiers of a tenant's own, which are not stored.
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
    direction: Literal["input", "output"]
    category: Word
    severity: Annotated[int, Field(ge=0, le=6)]
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    detector: Word
    detector_version: Word
    detector_status: Short
    start: Number | None = None
    end: Number | None = None
    excerpt_hash: Annotated[str, Field(max_length=128, pattern=_TEXT)] | None = None
    action: Annotated[str, Field(max_length=32, pattern=_TEXT)]
    action_result: Annotated[str, Field(max_length=32, pattern=_TEXT)]
    chars_released_before: Number
    hold_seconds: Seconds | None = None
    upstream_cancelled: bool

    def row(self) -> dict[str, Any]:
        """As columns, but for those of who it is about."""
        renamed = {"start", "end", "chars_released_before", "hold_seconds", "upstream_cancelled"}
        row = self.model_dump(exclude={"kind", "time", "tenant", "player", "session", *renamed})
        hold = self.hold_seconds
        return {
            **row,
            "at_ms": self.at_ms,
            "start_at": self.start,
            "end_at": self.end,
            "released_before": self.chars_released_before,
            "hold_us": None if hold is None else round(hold * _MICRO),
            "cancelled": self.upstream_cancelled,
        }


class Engagement(_Record):
    """What happened around a player, or in a session where no player is known: guard/engagement/events.py.

    A `sign` begins or ends a crisis. `policy` is a Guardrail's `spec.engagement`, by which to judge from then on.
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

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.player and not self.session:
            raise ValueError("of nobody")
        self.told()
        if self.policy is not None:
            try:
                policy_of(self.policy)
            except (AttributeError, KeyError, TypeError) as error:
                raise ValueError(f"policy: {error}") from error
        return self

    def told(self) -> Event:
        """As the rules read it; raises ValueError."""
        what = (self.event_id, self.event, self.at_ms / 1000, self.source, self.zone, self.name, self.mood)
        return Event(*what, self.revision, self.marks)

    def row(self) -> dict[str, Any]:
        """As columns, but for those of who it is about."""
        row = self.model_dump(exclude={"kind", "time", "tenant", "player", "session", "marks", "policy"})
        return {**row, "at_ms": self.at_ms, "marks": ",".join(self.marks)}


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
