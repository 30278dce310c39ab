"""One request as the request log tells it: what was decided and measured, and not a word of what was said.

Every value is a word of our own, a name out of a table, a number, or the beginning of a key's hash; but for `text`,
which is there only where a deployment has texts kept.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from understudy.gateway.policy.answers import choices_of
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.texts import Texts

# How answers end, as OpenAI and vLLM call it; engines may call it what they like, and that is theirs to know.
FINISHES: Final = ("stop", "length", "tool_calls", "function_call", "content_filter", "abort")
# And how responses do, which say how they go on as well.
STATUSES: Final = ("completed", "incomplete")
KEY_DIGITS: Final = 8
# How a request ended, by status and code: as it should, or because nobody waited for its answer any more.
ANSWERED: Final = (200, "")
CLIENT_GONE: Final = (499, "client_gone")
# What a guardrail lets through to nobody; with no attempt before it, it was the request.
_FORBIDDEN: Final = "content_filter"


class Story:
    """What is known of a request so far. Written on the hot path of gateways that keep a log, hence plain attributes.

    `began` is in monotonic seconds; `first_token` in seconds from then on, None before it. `tokens` are (prompt,
    completion). `sampled` says whether the last attempt was a sample of a rollout. On a kept connection that turned out
    to be dead nothing was tried: that is none of the `attempts`. `texts` are None unless its deployment has them kept.
    """

    __slots__ = (
        "attempts", "began", "finish", "first_token", "key", "name", "operation", "request_id", "revision", "sampled",
        "source", "stream", "texts", "tokens", "track",
    )  # fmt: skip

    def __init__(self, request_id: str, name: str, operation: str, key_hash: str, now: float, *, stream: bool) -> None:
        self.request_id = request_id
        self.name = name
        self.operation = operation
        self.key = key_hash[:KEY_DIGITS]
        self.stream = stream
        self.began = now
        self.attempts = 0
        self.first_token: float | None = None
        self.revision = self.track = self.finish = self.source = ""
        self.tokens = (0, 0)
        self.sampled = False
        self.texts: Texts | None = None

    @property
    def room(self) -> int:
        """Characters of an answer that whoever listens to it must have room for."""
        return 0 if self.texts is None else self.texts.room

    def listening(self, half: Half | None) -> Half | None:
        """Who listens to the next try; `half` does in any case."""
        return half if self.texts is None else self.texts.listening(half, stream=self.stream)

    def line(self, deployment: str, fallback: str, status: int, code: str, now: float, wall: float) -> dict[str, Any]:
        """The whole story as one JSON object, once it is over; `wall` is now in seconds since 1970."""
        seconds = now - self.began
        answered = self.first_token is not None or (status, code) == ANSWERED
        forbidden = code == _FORBIDDEN and not self.attempts
        return {
            "time": _time(wall - seconds),
            "requestId": self.request_id,
            "deployment": deployment,
            "servedName": self.name,
            "fallback": fallback or None,
            "operation": self.operation,
            "stream": self.stream,
            "revision": self.revision or None,
            "track": self.track or None,
            "status": status,
            "code": code or None,
            "attempts": self.attempts,
            "retries": max(0, self.attempts - 1),
            "firstTokenSeconds": None if self.first_token is None else round(self.first_token, 6),
            "seconds": round(seconds, 6),
            "tokensIn": self.tokens[0],
            "tokensOut": self.tokens[1],
            "finishReason": self.finish or None,
            "conversation": self.source or None,
            "sampled": self.sampled,
            "key": self.key or None,
            "text": None if self.texts is None else self.texts.line(answered=answered, forbidden=forbidden),
        }


# Where no log is kept all requests write into this one, which nobody reads: that costs less than to ask each time.
NO_STORY: Final = Story("", "", "", "", 0.0, stream=False)


def finish_of(answer: dict[str, Any]) -> str:
    """Why an answer ended, or the stream of which this is the last chunk: of FINISHES or STATUSES.

    "" if it is not said, "other" for a reason that is none of these.
    """
    if answer.get("status") in STATUSES:
        return str(answer["status"])
    for choice in choices_of(answer)[::-1]:
        said = choice.get("finish_reason")
        if said:
            return said if said in FINISHES else "other"
    return ""


def _time(wall: float) -> str:
    """Seconds since 1970 as ISO 8601 writes them, in UTC, down to the millisecond."""
    microseconds = round(wall * 1_000_000)
    return f"{_second(microseconds // 1_000_000)}.{microseconds // 1000 % 1000:03d}+00:00"


@lru_cache(maxsize=8)
def _second(wall: int) -> str:
    # Of thousands of requests in a second only the first has it written.
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def is_kept(status: int, lot: float, percent: float) -> bool:
    """Whether the log has a line for a request: each that we failed, of the others by `lot`, in [0, 1)."""
    return status >= 500 or lot * 100 < percent
