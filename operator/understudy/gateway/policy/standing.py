"""How a deployment stands with one worker, and with all workers of a pod: which table it is served by, who waits.

The operator goes on, and deletes pods, when a gateway says that it serves by a table. With several workers that is true
only when it is true of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from understudy.domain.state import DeploymentState
from understudy.gateway.policy.evidence import Counters
from understudy.telemetry.beside import Beside, BesideRevision


@dataclass(frozen=True, slots=True)
class Standing:
    """One deployment on one worker, its counters aside; fields as in DeploymentState.

    `variants` is how many its table has, None where it has no table; `usable` counts endpoints by revision. Shown and
    not judged by: when the table was `taken` (seconds since 1970), and endpoints by revision and state of `breakers`.
    `guarded` names the places in which findings of Guardrails are counted.
    """

    table_uid: str = ""
    table_generation: int = 0
    epoch: int = 0
    rejected: str = ""
    rejected_generation: int = 0
    variants: int | None = None
    waiting: int = 0
    usable: Mapping[str, int] = field(default_factory=dict)
    taken: float = 0.0
    breakers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    guarded: Sequence[str] = ()


UNKNOWN: Final = Standing()


def together(standings: Sequence[Standing], *, silent: bool) -> Standing:
    """All workers' as one. `silent`: there are more of them, of which nothing is known yet.

    While they do not all serve by the same table, it is by none that anybody could have written: without a uid,
    though with a generation, since "none" would be an answer too.
    """
    first = standings[0] if standings else UNKNOWN
    versions = {(s.table_uid, s.table_generation) for s in standings}
    agreed = len(versions) == 1 and not silent
    refused = max((s for s in standings if s.rejected), key=_rejected_generation, default=UNKNOWN)
    revisions = {revision for s in standings for revision in s.usable}
    return Standing(
        table_uid=first.table_uid if agreed else "",
        table_generation=(
            first.table_generation
            if agreed
            else min((s.table_generation for s in standings if s.table_generation), default=1)
        ),
        epoch=min((s.epoch for s in standings), default=0),
        rejected=refused.rejected,
        rejected_generation=refused.rejected_generation,
        variants=first.variants if agreed else 0,
        waiting=sum(s.waiting for s in standings),
        usable={revision: min(s.usable.get(revision, 0) for s in standings) for revision in revisions},
        taken=max((s.taken for s in standings), default=0.0),
        breakers={revision: _worst(standings, revision) for revision in revisions},
    )


def _worst(standings: Sequence[Standing], revision: str) -> Mapping[str, int]:
    """The breakers of a revision's endpoints as the worker has them for which the fewest are closed."""
    found = [s.breakers[revision] for s in standings if revision in s.breakers]
    return min(found, key=lambda counts: counts["closed"], default={})


def beside(standing: Standing, counters: Mapping[str, Counters]) -> Beside:
    """What metrics show of the deployment beside what `told` says of it."""
    return Beside(
        table_taken=standing.taken,
        revisions={
            revision: BesideRevision(
                ttft_sum=c.ttft_ns / 1e9,
                itl_sum=c.itl_ns / 1e9,
                waits=tuple(c.waits),
                waits_sum=c.waits_ns / 1e9,
                ejections=c.ejections,
                breakers=standing.breakers.get(revision, {}),
            )
            for revision, c in counters.items()
        },
    )


def told(standing: Standing, counters: Mapping[str, Counters], *, only_active: bool) -> DeploymentState | None:
    """The deployment as said on `/state`; None if there is nothing to say of it.

    `only_active` leaves out what has one variant and no other work, and for which nobody waits.
    """
    working = sum(1 for c in counters.values() if c.open)
    if standing.variants is None and not standing.rejected and not working:
        return None
    still = standing.variants == 1 and working <= 1
    if only_active and still and not standing.rejected and not standing.waiting:
        return None
    return DeploymentState(
        table_uid=standing.table_uid,
        table_generation=standing.table_generation,
        epoch=standing.epoch,
        rejected=standing.rejected,
        rejected_generation=standing.rejected_generation,
        revisions={
            revision: c.state(standing.usable.get(revision, 0), standing.guarded) for revision, c in counters.items()
        },
        waiting=standing.waiting,
    )


def _rejected_generation(standing: Standing) -> int:
    return standing.rejected_generation
