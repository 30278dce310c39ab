"""What to do when an attempt failed before the client got its first byte.

A request is tried again only where that cannot make things worse: refused connections cost nothing, answers
that were bad are rationed, and a request that ended two engines is not given a third.
"""

from enum import Enum, auto
from typing import Final, Literal

from understudy.gateway.policy.balance import Endpoint
from understudy.gateway.policy.evidence import ErrorKind
from understudy.gateway.policy.refusal import Refusal

# connect: no connection. stale: a kept connection ended before any byte of an answer. killed: a new one did so
# after the request was sent. broken: it ended within the answer. status: 5xx. timeout: no first token in time.
# malformed: not an answer to what was asked.
Failure = Literal["connect", "stale", "killed", "broken", "status", "timeout", "malformed"]

MAX_SENT: Final = 2
MAX_CONNECTS: Final = 6
SHARE: Final = 0.2
FLOOR_PER_SECOND: Final = 10
_WINDOW: Final = 10
POISON_SECONDS: Final = 60.0
_MAX_POISONS: Final = 1000

CHARGED: Final[dict[Failure, ErrorKind]] = {
    "connect": "connect",
    "stale": "connect",
    "killed": "connect",
    "broken": "truncated",
    "status": "5xx",
    "timeout": "firstToken",
    "malformed": "malformed",
}


class Step(Enum):
    """What comes next for the request."""

    SAME = auto()
    """The same endpoint on a new connection: the kept one may simply have been idle too long."""
    ANOTHER = auto()
    """Another endpoint of the variant, else stable."""
    STABLE = auto()
    """An endpoint of stable."""
    GIVE_UP = auto()
    """The client gets the failure."""
    POISON = auto()
    """Two engines ended over this request: it is refused and nobody is blamed."""


class Course:
    """How far one request has come. `sent` counts attempts whose bytes went out, free ones not included."""

    __slots__ = ("connects", "kills", "sent", "suspect", "tried")

    def __init__(self) -> None:
        self.sent = 0
        self.kills = 0
        self.connects = 0
        self.tried: set[Endpoint] = set()
        self.suspect: Endpoint | None = None

    def give_up(self) -> None:
        """No further attempt, whatever the next failure is: the request's whole time is over."""
        self.sent = MAX_SENT


def next_step(course: Course, failure: Failure, endpoint: Endpoint, *, on_candidate: bool) -> Step:
    """The step after `failure` at `endpoint`; GIVE_UP, POISON and SAME aside, the retry budget has a word too.

    After bytes were sent to a candidate the one retry goes to stable: a second candidate endpoint would tell
    nothing new, and stable is what tells a bad revision from a bad request.
    """
    if failure == "stale":
        course.suspect = endpoint
        return Step.SAME
    course.tried.add(endpoint)
    if failure == "connect" and endpoint is not course.suspect:
        course.connects += 1
        return Step.ANOTHER if course.connects < MAX_CONNECTS else Step.GIVE_UP
    course.sent += 1
    if failure in ("connect", "killed", "broken"):
        course.kills += 1
        if course.kills >= MAX_SENT:
            return Step.POISON
    if course.sent >= MAX_SENT:
        return Step.GIVE_UP
    return Step.STABLE if on_candidate else Step.ANOTHER


def ends_connection(failure: Failure) -> bool:
    """Whether the endpoint itself may be gone: nobody should be sent there for the moment."""
    return failure in ("connect", "killed", "broken")


def rationed(failure: Failure) -> bool:
    """Whether a retry after `failure` comes out of the budget: the engine answered, or did not in time."""
    return failure in ("status", "timeout", "malformed")


class RetryBudget:
    """Retries of at most 20 % of the requests of the last ten seconds, and never fewer than `floor` a second."""

    __slots__ = ("_floor", "_requests", "_retries", "_second")

    def __init__(self, floor: int = FLOOR_PER_SECOND) -> None:
        self._floor = floor * _WINDOW
        self._requests = [0] * _WINDOW
        self._retries = [0] * _WINDOW
        self._second = 0

    def request(self, now: float) -> None:
        """Count a request that arrived at `now` (monotonic seconds)."""
        second = int(now)
        if second != self._second:
            self._forward(second)
        self._requests[second % _WINDOW] += 1

    def take(self, now: float) -> bool:
        """Take one retry at `now` if there is one left."""
        second = int(now)
        if second != self._second:
            self._forward(second)
        if sum(self._retries) >= max(self._floor, SHARE * sum(self._requests)):
            return False
        self._retries[second % _WINDOW] += 1
        return True

    def _forward(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - _WINDOW + 1), second + 1):
            self._requests[passed % _WINDOW] = 0
            self._retries[passed % _WINDOW] = 0
        self._second = second


class Poisons:
    """Digests of the requests that ended two engines, for a minute each."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, digest: bytes, now: float) -> None:
        """Remember a digest from `now` (monotonic seconds) on; the oldest is dropped beyond a thousand."""
        self._until.pop(digest, None)
        self._until[digest] = now + POISON_SECONDS
        if len(self._until) > _MAX_POISONS:
            del self._until[next(iter(self._until))]

    def holds(self, digest: bytes, now: float) -> bool:
        """Whether the digest is one of them; the ones whose minute is over are forgotten on the way."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now:
                break
            del self._until[oldest]
        return digest in self._until


POISONED: Final = Refusal(502, "poison", "two engines ended while answering this request", final=True)


def gave_up(failure: Failure) -> Refusal:
    """What the client is told when no attempt is left."""
    if failure == "timeout":
        return Refusal(504, "first_token_timeout", "the engine did not begin its answer in time")
    if failure in ("connect", "stale"):
        return Refusal(503, "no_capacity", "no engine can be reached", retry_after=1)
    if failure in ("killed", "broken"):
        return Refusal(502, "engine_lost", "the connection to the engine was lost before its answer")
    if failure == "status":
        return Refusal(502, "engine_error", "the engine failed to answer")
    return Refusal(502, "bad_answer", "the engine's answer was not understood")
