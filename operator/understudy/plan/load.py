"""How the pods of stable bear their load: what gateways counted of their first tokens and gaps in the last half minute.

Nobody tells how much load an engine can take. What can be seen is how long its clients wait, and that is what the
objectives are about: so this is what it means that fewer pods carry the load.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from understudy.domain.key import Key
from understudy.domain.state import ITL_BOUNDS, TTFT_BOUNDS, GatewayState, RevisionState
from understudy.plan.counts import Counts
from understudy.plan.metrics import slower

SPAN: Final = 30.0  # seconds that a judgement looks back
_APART: Final = 5.0  # seconds between two glances that are kept
_FIRST, _BETWEEN = len(TTFT_BOUNDS) + 1, len(ITL_BOUNDS) + 1
_UNSEEN: Final = RevisionState()


@dataclass(frozen=True, slots=True)
class Glance:
    """What all gateways had counted of one revision, on so many `pods`, at one moment (`at`, monotonic seconds).

    `gateways` are the start ids of the processes that were asked: other processes count from other numbers. `first` and
    `between` are histograms, as gateways keep them; a first token that was given up waiting for is in the last bucket.
    """

    at: float
    revision: str
    pods: int
    gateways: frozenset[str]
    first: tuple[int, ...]
    between: tuple[int, ...]
    opened: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a revision's clients waited for in the last `lasted` seconds: first tokens, and gaps between tokens.

    `blind` is True when requests were open all the time and nothing was counted of them.
    """

    lasted: float
    first: tuple[int, ...]
    between: tuple[int, ...]
    blind: bool

    @property
    def whole(self) -> bool:
        """It is long enough, and says something."""
        return self.lasted >= SPAN and not self.blind

    def exceeding(self, first_token: float, between_tokens: float) -> Counts:
        """All first tokens and those surely later than so many seconds, or gaps if there the part is larger."""
        return _worse(slower(self.first, TTFT_BOUNDS, first_token), slower(self.between, ITL_BOUNDS, between_tokens))

    def reaching(self, first_token: float, between_tokens: float) -> Counts:
        """The same with those that may have been later: a bucket that holds the limit counts."""
        return _worse(_upward(self.first, TTFT_BOUNDS, first_token), _upward(self.between, ITL_BOUNDS, between_tokens))


def part(counts: Counts) -> float:
    """Bad ones of all, 0 to 1; 0 of none."""
    return counts[1] / counts[0] if counts[0] else 0.0


def follow(kept: Sequence[Glance], now: Glance) -> tuple[Glance, ...]:
    """The glances with the present one. Of another revision, other pods or other gateways, they begin anew."""
    old = [r for r in kept if (r.revision, r.pods, r.gateways) == (now.revision, now.pods, now.gateways)]
    # The newest one is only there to be compared with; one that is close to it is not needed.
    if len(old) > 1 and old[-1].at - old[-2].at < _APART:
        old.pop()
    while len(old) > 1 and now.at - old[1].at >= SPAN:
        old.pop(0)
    return (*old, now)


def load(glances: Sequence[Glance]) -> Load:
    """What was counted from the first glance to the last."""
    if not glances:
        return Load(0.0, (), (), blind=False)
    begin, end = glances[0], glances[-1]
    first = tuple(max(0, n - b) for n, b in zip(end.first, begin.first, strict=True))
    between = tuple(max(0, n - b) for n, b in zip(end.between, begin.between, strict=True))
    silent = not (any(first) or any(between))
    return Load(end.at - begin.at, first, between, blind=silent and all(r.opened for r in glances))


def look(key: Key, revision: str, pods: int, gateways: Iterable[GatewayState], at: float) -> Glance:
    """What these gateways have counted of a revision of the deployment `key`, all together."""
    first, between, opened = [0] * _FIRST, [0] * _BETWEEN, 0
    started: set[str] = set()
    for gateway in gateways:
        started.add(gateway.start_id)
        deployment = gateway.deployments.get(str(key))
        counted = deployment.revisions.get(revision, _UNSEEN) if deployment is not None else _UNSEEN
        _add(first, counted.ttft)
        _add(between, counted.itl)
        first[-1] += counted.errors.get("firstToken", 0)
        opened += counted.open_requests
    return Glance(at, revision, pods, frozenset(started), tuple(first), tuple(between), opened)


def _add(total: list[int], buckets: Sequence[int]) -> None:
    for index, count in enumerate(buckets):
        total[index] += count


def _upward(buckets: Sequence[int], bounds: Sequence[float], limit: float) -> Counts:
    return sum(buckets), sum(buckets[bisect_right(bounds, limit) :])


def _worse(one: Counts, other: Counts) -> Counts:
    return max(one, other, key=part)
