"""What a line of a segment may be: each kind as a model, and as the row that it becomes."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

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


class Request(_Line):
    """A request of a client; gateway/policy/story.py says what each field means."""

    kind: Literal["request"]
    time: datetime
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

    @property
    def at_ms(self) -> int:
        """When it began, in Unix milliseconds."""
        return int(self.time.timestamp() * 1000)

    def row(self) -> dict[str, Any]:
        """As columns."""
        row = self.model_dump(exclude={"kind", "time", "first_token_seconds", "seconds", "finish_reason"})
        first = self.first_token_seconds
        row["first_token_us"] = None if first is None else round(first * _MICRO)
        return {**row, "at_ms": self.at_ms, "total_us": round(self.seconds * _MICRO), "finish": self.finish_reason}


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


Line = Request | Ended | Lost
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
