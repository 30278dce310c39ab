"""What gateways have found for Guardrails, added up for their statuses.

Gateways count from zero when they begin, and this process knows what they had counted only since it began itself. So
what is added is what has come since the last look; what comes between the last look at a gateway and its end, or while
no operator looks, is not in the sum. Who needs every single one asks the records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from understudy.domain.key import Key
from understudy.plan.observed import GatewayPod

MAX_CATEGORIES: Final = 64  # as many as a status has room for
# Of which deployment and revision, and what: `<category>/<severity>`.
_Counts = Mapping[tuple[str, str, str], int]


@dataclass(frozen=True, slots=True)
class _Look:
    """What each process of a gateway had counted, and when that was, in monotonic seconds."""

    at: float
    counts: Mapping[tuple[str, str], _Counts]


class Findings:
    """The last look at what was found for each Guardrail."""

    def __init__(self) -> None:
        self._looks: dict[Key, _Look] = {}

    def since(
        self, guardrail: Key, deployments: Iterable[Key], gateways: Sequence[GatewayPod], monotonic: float
    ) -> dict[str, int]:
        """Turns with findings by category since the last look; a turn counts once for each category, by the gravest."""
        last, names = self._looks.get(guardrail), [str(key) for key in deployments]
        found: dict[str, int] = {}
        counts: dict[tuple[str, str], _Counts] = {}
        for pod in gateways:
            if pod.state is None:
                continue
            process = (pod.uid, pod.state.start_id)
            counts[process] = now = _counted(pod, guardrail.name, names)
            before = last.counts.get(process) if last is not None else None
            if before is None:
                # One that was there before this process looked may have counted for weeks.
                young = last is not None and pod.state.uptime + pod.age < monotonic - last.at
                before = {} if young else now
            for what, count in now.items():
                category = what[2].partition("/")[0]
                found[category] = found.get(category, 0) + max(0, count - before.get(what, 0))
        self._looks[guardrail] = _Look(monotonic, counts)
        return {category: count for category, count in found.items() if count}

    def forget(self, guardrail: Key) -> None:
        """The Guardrail is gone."""
        self._looks.pop(guardrail, None)


def added(before: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    """The sums by category; of too many categories the first by name."""
    sums = {category: before.get(category, 0) + new.get(category, 0) for category in sorted({*before, *new})}
    return dict(list(sums.items())[:MAX_CATEGORIES])


def _counted(pod: GatewayPod, guardrail: str, deployments: Iterable[str]) -> _Counts:
    counts: dict[tuple[str, str, str], int] = {}
    for name in deployments:
        told = pod.state.deployments.get(name) if pod.state is not None else None
        for revision, state in (told.revisions if told is not None else {}).items():
            for what, count in state.guard.found.items():
                owner, _, rest = what.partition("/")
                if owner == guardrail:
                    counts[name, revision, rest] = count
    return counts
