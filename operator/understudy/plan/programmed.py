"""Which table the gateways serve by: the difference between what was written and what traffic does.

G is every gateway pod that has not ended, NotReady and Terminating ones included: any of them may
still be answering clients. A gateway that is ahead of the table we see means that our own view is
old, so only the very version counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from understudy.domain.key import Key
from understudy.domain.state import DeploymentState, RevisionState
from understudy.domain.table import InvalidTableError, Table, parse_table
from understudy.plan.observed import GatewayPod, Object

# An answer older than this says nothing about what the gateway serves now, in seconds.
FRESH: Final = 3.0
_SERVES_NOTHING: Final = DeploymentState()
_UNKNOWN_REVISION: Final = RevisionState()


@dataclass(frozen=True, slots=True)
class TableView:
    """The RoutingTable as observed; `table` is None if its spec is not one that a gateway would take."""

    uid: str
    generation: int
    resource_version: str
    table: Table | None

    def weights(self) -> dict[str, int]:
        """Share of conversations in percent of every revision in the table."""
        return {v.revision: v.weight for v in self.table.variants} if self.table is not None else {}

    def copied(self, revision: str) -> int:
        """Percent of the requests of which the revision gets copies."""
        if self.table is None or self.table.shadow is None:
            return 0
        shadows = (v.revision for v in self.table.variants if v.track == "shadow")
        return self.table.shadow.percent if revision in shadows else 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """All gateways' answers about one deployment.

    `silent` and `behind` are the names of gateways that have not answered lately, or serve by another
    version than the observed table's; `rejected` is the first reason for which one refused it;
    `settling` means that those in doubt have only not said anything yet, or have only just begun.
    """

    size: int
    silent: tuple[str, ...]
    behind: tuple[str, ...]
    rejected: str
    settling: bool
    answers: tuple[DeploymentState, ...]

    @property
    def acknowledged(self) -> bool:
        """There are gateways, and each serves by exactly the observed table (or by none, if there is none)."""
        return self.size > 0 and not (self.silent or self.behind or self.rejected)

    def usable(self, revision: str) -> bool:
        """Every gateway has an endpoint of the revision that it may use."""
        return all(a.revisions.get(revision, _UNKNOWN_REVISION).usable_endpoints > 0 for a in self.answers)

    def open_requests(self, revision: str) -> int:
        """Requests that are open on the revision, by the latest answers, old ones included."""
        return sum(a.revisions.get(revision, _UNKNOWN_REVISION).open_requests for a in self.answers)


def view_table(deployment: str, observed: Object | None) -> TableView | None:
    """The observed RoutingTable, None if there is none."""
    if observed is None:
        return None
    meta = observed["metadata"]
    try:
        table = parse_table(deployment, observed.get("spec") or {})
    except InvalidTableError:
        table = None
    return TableView(meta["uid"], int(meta.get("generation", 0)), meta["resourceVersion"], table)


def view_fleet(key: Key, table: TableView | None, gateways: Iterable[GatewayPod]) -> Fleet:
    """What the gateways say about the deployment `key`, compared with the table as observed."""
    pods = tuple(gateways)
    answers = tuple(_answer(pod, key) for pod in pods)
    version = (table.uid, table.generation) if table is not None else ("", 0)
    behind = tuple(
        pod.name for pod, a in zip(pods, answers, strict=True) if (a.table_uid, a.table_generation) != version
    )
    silent = tuple(pod.name for pod in pods if pod.state is None or pod.age > FRESH)
    old = any(a.table_uid and (a.table_uid, a.table_generation) != version for a in answers)
    return Fleet(
        size=len(pods),
        silent=silent,
        behind=behind,
        rejected=next((a.rejected for a in answers if a.rejected and a.rejected_generation >= version[1]), ""),
        settling=bool(silent or behind) and not old,
        answers=answers,
    )


def programmed(fleet: Fleet, table: TableView | None) -> bool:
    """Every gateway serves by the observed table and can reach each revision that has a share in it."""
    if table is None or not fleet.acknowledged:
        return False
    return all(fleet.usable(revision) for revision, weight in table.weights().items() if weight > 0)


def describe(fleet: Fleet) -> str:
    """Why the table is not in force everywhere, as a sentence."""
    if fleet.size == 0:
        return "there is no gateway pod"
    if fleet.rejected:
        return f"a gateway refuses the table: {fleet.rejected}"
    if fleet.silent:
        return f"no answer from gateway {', '.join(fleet.silent)}"
    if fleet.behind:
        return f"not yet served by gateway {', '.join(fleet.behind)}"
    return "a gateway cannot reach every revision of the table"


def _answer(pod: GatewayPod, key: Key) -> DeploymentState:
    return pod.state.deployments.get(str(key), _SERVES_NOTHING) if pod.state is not None else _SERVES_NOTHING
