"""Counters by revision: what the operator judges a rollout by, and what metrics are sampled from.

They outlive tables: a revision that left its table is still counted while its last streams go on.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

from understudy.domain.state import ERROR_KINDS, ITL_BOUNDS, TTFT_BOUNDS, Guarded, RevisionState, Sample
from understudy.gateway.policy.pairs import PairCounters
from understudy.telemetry.beside import WAIT_BOUNDS

ErrorKind = Literal["connect", "5xx", "firstToken", "truncated", "malformed"]
# Revisions that a deployment's counters are kept for after they left its table and ended their last request.
KEPT: Final = 10
# A conversation gives one sample for each revision in so many seconds, and all together at most so many.
SPAN: Final = 10.0
MAX_SAMPLES: Final = 100_000
# Of what the Guardrails of a deployment may find so many things are counted, each at three severities.
PLACES: Final = 64
SEVERITIES: Final = (2, 4, 6)


class Taking(Protocol):
    """Which attempts are samples."""

    def take(self, deployment: str, revision: str, where: int, now: float) -> bool:
        """Whether the conversation at `where` gives a sample with this attempt; `now` is monotonic seconds."""
        ...


class Samples:
    """Which attempts are samples, where one process sees them all."""

    __slots__ = ("_seen", "_span")

    def __init__(self) -> None:
        self._span = 0.0
        self._seen: set[tuple[str, str, int]] = set()

    def take(self, deployment: str, revision: str, where: int, now: float) -> bool:
        """As Taking's."""
        span = now // SPAN
        if span != self._span:
            self._span = span
            self._seen.clear()
        key = (deployment, revision, where)
        if key in self._seen or len(self._seen) >= MAX_SAMPLES:
            return False
        self._seen.add(key)
        return True


class Outcomes:
    """What became of attempts. Written on the hot path, hence plain attributes."""

    __slots__ = ("attempts", "empty", "rejected_4xx", "ttft")

    def __init__(self) -> None:
        self.attempts = 0
        self.rejected_4xx = 0
        self.empty = 0
        self.ttft = [0] * (len(TTFT_BOUNDS) + 1)

    def first_token(self, seconds: float) -> None:
        """An attempt succeeded so far: its first content came after `seconds`."""
        self.attempts += 1
        self.ttft[bisect_left(TTFT_BOUNDS, seconds)] += 1

    def answered(self) -> None:
        """An attempt was answered whole; its first token cannot be told from its last."""
        self.attempts += 1

    def refused(self) -> None:
        """The engine judged the request itself to be bad."""
        self.attempts += 1
        self.rejected_4xx += 1


class SampleCounters(Outcomes):
    """What became of one revision's samples."""

    __slots__ = ("errors", "slowest")

    def __init__(self) -> None:
        super().__init__()
        self.errors = 0
        self.slowest = [0] * (len(ITL_BOUNDS) + 1)

    def failed(self) -> None:
        """It failed before its first content."""
        self.attempts += 1
        self.errors += 1

    def streamed(self, gap: float) -> None:
        """Its stream has ended, however; `gap` is the longest time between two arrivals of content, in seconds."""
        self.slowest[bisect_left(ITL_BOUNDS, gap)] += 1

    def state(self) -> Sample:
        """As said on `/state`."""
        return Sample(
            attempts=self.attempts,
            errors=self.errors,
            rejected_4xx=self.rejected_4xx,
            empty=self.empty,
            ttft=tuple(self.ttft),
            slowest=tuple(self.slowest),
        )


class GuardCounters:
    """What the Guardrails of a deployment said of one revision's answers.

    `found` counts turns, by what was found in them: three severities for each name that Evidence has a place for.
    """

    __slots__ = ("acted", "found", "turns")

    def __init__(self) -> None:
        self.turns = 0
        self.acted = 0
        self.found = [0] * (len(SEVERITIES) * PLACES)

    def turn(self, found: Iterable[tuple[int, int]], *, acted: bool) -> None:
        """An answer was judged; `found` are places and severities of what was found in it, each once."""
        self.turns += 1
        self.acted += acted
        for place, severity in found:
            self.found[len(SEVERITIES) * place + SEVERITIES.index(severity)] += 1

    def state(self, names: Sequence[str]) -> Guarded:
        """As said on `/state`; `names` are those of the places, in their order."""
        counted = zip(((name, severity) for name in names for severity in SEVERITIES), self.found, strict=False)
        found = {f"{name}/{severity}": count for (name, severity), count in counted if count}
        return Guarded(self.turns, found, self.acted)


class Counters(Outcomes):
    """One revision's evidence on this gateway.

    `open` is a gauge: requests dispatched to the revision that have not ended, on whichever table.
    For metrics alone, nothing is judged by them: `ttft_ns`, `itl_ns` and `waits_ns` are the nanoseconds behind the
    buckets of `ttft`, `itl` and `waits` (for an endpoint, of those requests that had to wait), `ejections` counts
    endpoints that went out.
    """

    __slots__ = (
        "ejections", "errors", "guard", "itl", "itl_ns", "open", "pairs", "sample", "tokens_in", "tokens_out",
        "ttft_ns", "waits", "waits_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, int] = dict.fromkeys(ERROR_KINDS, 0)
        self.tokens_in = 0
        self.tokens_out = 0
        self.ttft_ns = 0
        self.itl = [0] * (len(ITL_BOUNDS) + 1)
        self.itl_ns = 0
        self.waits = [0] * (len(WAIT_BOUNDS) + 1)
        self.waits_ns = 0
        self.ejections = 0
        self.open = 0
        self.sample = SampleCounters()
        self.pairs = PairCounters()
        self.guard = GuardCounters()

    def first_token(self, seconds: float) -> None:
        """An attempt succeeded so far: its first content came after `seconds`."""
        super().first_token(seconds)
        self.ttft_ns += int(seconds * 1e9)

    def used(self, tokens_in: int, tokens_out: int) -> None:
        """Tokens of one answer."""
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def gap(self, seconds: float) -> None:
        """Time between two arrivals of content."""
        self.itl[bisect_left(ITL_BOUNDS, seconds)] += 1
        self.itl_ns += int(seconds * 1e9)

    def waited(self, seconds: float) -> None:
        """A request that comes to the revision waited for it, for so long."""
        self.waits[bisect_left(WAIT_BOUNDS, seconds)] += 1
        self.waits_ns += int(seconds * 1e9)

    def failed(self, kind: ErrorKind) -> None:
        """An attempt failed before its first content."""
        self.attempts += 1
        self.errors[kind] += 1

    def state(self, usable_endpoints: int, names: Sequence[str] = ()) -> RevisionState:
        """As said on `/state`; `names` are what its Guardrails may find."""
        return RevisionState(
            attempts=self.attempts,
            errors=dict(self.errors),
            rejected_4xx=self.rejected_4xx,
            empty=self.empty,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            ttft=tuple(self.ttft),
            itl=tuple(self.itl),
            open_requests=self.open,
            usable_endpoints=usable_endpoints,
            sample=self.sample.state(),
            pairs=self.pairs.state(),
            guard=self.guard.state(names),
        )


class Evidence:
    """Counters of every revision that this process has served, by deployment (`namespace/name`).

    `make` makes those of a revision at zero; where they lie is its affair.
    """

    __slots__ = ("_make", "by_deployment", "places")

    def __init__(self, make: Callable[[str, str], Counters] = lambda _deployment, _revision: Counters()) -> None:
        self._make = make
        self.by_deployment: dict[str, dict[str, Counters]] = {}
        # By deployment: where each thing is counted that its Guardrails may find. No place is ever another's.
        self.places: dict[str, dict[str, int]] = {}

    def place(self, deployment: str, names: Iterable[str]) -> None:
        """Have places for what the deployment's Guardrails may find (`<guardrail>/<category>`), as far as there are."""
        places = self.places.setdefault(deployment, {})
        for name in names:
            if name not in places and len(places) < PLACES:
                places[name] = len(places)

    def counters(self, deployment: str, revision: str) -> Counters:
        """The revision's counters, made at zero when it is new."""
        revisions = self.by_deployment.setdefault(deployment, {})
        found = revisions.get(revision)
        if found is None:
            found = revisions[revision] = self._make(deployment, revision)
        return found

    def prune(self, deployment: str, current: frozenset[str]) -> None:
        """Forget the oldest revisions outside `current` that have ended, beyond the KEPT youngest."""
        revisions = self.by_deployment.get(deployment, {})
        ended = [r for r, counters in revisions.items() if r not in current and not counters.open]
        for revision in ended[: max(0, len(ended) - KEPT)]:
            del revisions[revision]
