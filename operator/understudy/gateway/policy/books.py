"""The books of a gateway with several workers: what they say, and what those that are gone have counted.

A worker counts in rows of memory that outlives it, and says in a *notice*, as often as something changes, which row is
which revision's and what it serves by. A row is never used for a second revision.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from understudy.domain.state import LOADED, DeploymentState, DetectorState
from understudy.gateway.policy.cells import OPEN, Cells, add, blank, placed, twin
from understudy.gateway.policy.evidence import Counters
from understudy.gateway.policy.gauges import Gauges, joined, lasting
from understudy.gateway.policy.standing import UNKNOWN, Standing, beside, together, told
from understudy.telemetry.beside import Beside

_SILENT: Final = "a worker has not loaded it yet"
# A deployment (`namespace/name`) and one of its revisions.
Revision = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a worker says. `rows` are by deployment, then by revision.

    `ready`: it takes requests. `listed`: it knows all that there is now, and not only what there was in a file.
    `guards` are policies of Guardrails, by hash, and whether they are loaded; `detectors` are as in GatewayState.
    """

    ready: bool
    listed: bool
    standings: Mapping[str, Standing]
    rows: Mapping[str, Mapping[str, int]]
    gauges: Gauges
    guards: Mapping[str, str] = field(default_factory=dict)
    detectors: Mapping[str, DetectorState] = field(default_factory=dict)


def dump_notice(notice: Notice) -> bytes:
    """A notice for the way to the parent."""
    return orjson.dumps(notice)


def parse_notice(text: bytes) -> Notice:
    """The notice that `dump_notice` made `text` of."""
    raw: dict[str, Any] = orjson.loads(text)
    return Notice(
        ready=raw["ready"],
        listed=raw["listed"],
        standings={key: Standing(**standing) for key, standing in raw["standings"].items()},
        rows=raw["rows"],
        gauges={name: (help_, values) for name, (help_, values) in raw["gauges"].items()},
        guards=raw["guards"],
        detectors={name: DetectorState(**said) for name, said in raw["detectors"].items()},
    )


@dataclass(slots=True)
class _Account:
    """One living worker: its last notice, and all rows that it ever named."""

    notice: Notice
    rows: dict[Revision, set[int]] = field(default_factory=dict)
    # By deployment: the names of its places for findings, in its order.
    guarded: dict[str, Sequence[str]] = field(default_factory=dict)


class Books:
    """The books of a pod of `count` workers. Counters in it only ever grow, whichever workers come and go.

    `read` gives a worker's row as it is now; what it gives must not change afterwards.
    """

    def __init__(self, count: int) -> None:
        self._living: list[_Account | None] = [None] * count
        self._ended: dict[Revision, Cells] = {}
        self._ended_gauges: Gauges = {}
        # The names of all places for findings, by deployment, in the order of these books.
        self._guarded: dict[str, list[str]] = {}
        self._begun = False

    @property
    def ready(self) -> bool:
        """Whether requests are taken: at first not before all workers take them, later as long as one does."""
        return self._begun and any(account is not None and account.notice.ready for account in self._living)

    def hear(self, index: int, notice: Notice) -> None:
        """What the worker `index` says by now."""
        account = self._living[index]
        if account is None:
            account = self._living[index] = _Account(notice)
        account.notice = notice
        for deployment, revisions in notice.rows.items():
            for revision, row in revisions.items():
                account.rows.setdefault((deployment, revision), set()).add(row)
        for deployment, standing in notice.standings.items():
            if standing.guarded:
                account.guarded[deployment] = standing.guarded
                known = self._guarded.setdefault(deployment, [])
                known += [name for name in standing.guarded if name not in known]
        self._begun = self._begun or all(a is not None and a.notice.ready for a in self._living)

    def died(self, index: int, read: Callable[[int], Cells]) -> bool:
        """The worker `index` is no more: keep what it has counted, but for what was open. True if it ever spoke."""
        account, self._living[index] = self._living[index], None
        if account is None:
            return False
        for revision, rows in account.rows.items():
            total = self._ended.setdefault(revision, blank())
            for row in rows:
                add(total, self._placed(account, revision, read(row)))
            total[OPEN] = 0
        self._ended_gauges = joined((self._ended_gauges, lasting(account.notice.gauges)))
        return True

    def deployments(
        self,
        read: Callable[[int, int], Cells],
        *,
        only_active: bool = False,
        names: Collection[str] | None = None,
    ) -> dict[str, DeploymentState]:
        """Every deployment as said on `/state`, or those called `names`; `read` is of a worker and a row.

        Rows are read after the notices were heard: whoever is then said to serve by a table has counted as open, in
        what is read, every request that it sent out by the one before.
        """
        accounts = [account for account in self._living if account is not None]
        silent = len(accounts) < len(self._living)
        if not silent and all(account.notice.listed for account in accounts):
            self._forget({(d, r) for account in accounts for d, rows in account.notice.rows.items() for r in rows})
        counters = self._counters(read, names)
        states = {}
        known = dict.fromkeys((*(key for a in accounts for key in a.notice.standings), *counters))
        for key in known if names is None else known.keys() & names:
            standings = [account.notice.standings.get(key, UNKNOWN) for account in accounts]
            state = told(self._together(key, standings, silent=silent), counters.get(key, {}), only_active=only_active)
            if state is not None:
                states[key] = state
        return states

    def guards(self) -> dict[str, str]:
        """Of each policy that a worker was told of whether all of them enforce it, or why one does not."""
        told: dict[str, str] = {}
        for policy in {policy for account in self._living if account is not None for policy in account.notice.guards}:
            said = [_SILENT if a is None else a.notice.guards.get(policy, _SILENT) for a in self._living]
            told[policy] = next((state for state in said if state != LOADED), LOADED)
        return told

    def detectors(self) -> dict[str, DetectorState]:
        """Of each detector that it is unwell, and since when, if one worker says so; that it is well if all do."""
        said = [{} if account is None else account.notice.detectors for account in self._living]
        told: dict[str, DetectorState] = {}
        for name in {name for each in said for name in each}:
            states = [each[name] for each in said if name in each]
            unwell = [state for state in states if state.why]
            if unwell:
                told[name] = min(unwell, key=lambda state: state.since)
            elif len(states) == len(said):
                told[name] = max(states, key=lambda state: state.since)
        return told

    def beside(self, read: Callable[[int, int], Cells]) -> dict[str, Beside]:
        """What metrics show of every deployment beside `deployments`."""
        counters = self._counters(read, None)
        accounts = [account for account in self._living if account is not None]
        known = dict.fromkeys((*(key for a in accounts for key in a.notice.standings), *counters))
        return {
            key: beside(
                together([a.notice.standings.get(key, UNKNOWN) for a in accounts], silent=False), counters.get(key, {})
            )
            for key in known
        }

    def gauges(self) -> Gauges:
        """What metrics show of the processes."""
        return joined((self._ended_gauges, *(a.notice.gauges for a in self._living if a is not None)))

    def _counters(
        self, read: Callable[[int, int], Cells], names: Collection[str] | None
    ) -> dict[str, dict[str, Counters]]:
        totals: dict[Revision, Cells] = {}
        for revision, ended in self._ended.items():
            if names is None or revision[0] in names:
                add(totals.setdefault(revision, blank()), ended)
        for index, account in enumerate(self._living):
            if account is None:
                continue
            for revision, rows in account.rows.items():
                if names is None or revision[0] in names:
                    total = totals.setdefault(revision, blank())
                    for row in rows:
                        add(total, self._placed(account, revision, read(index, row)))
        found: dict[str, dict[str, Counters]] = {}
        for (deployment, name), total in totals.items():
            found.setdefault(deployment, {})[name] = twin(total)
        return found

    def _placed(self, account: _Account, revision: Revision, cells: Cells) -> Cells:
        names = account.guarded.get(revision[0])
        return placed(cells, names, self._guarded[revision[0]]) if names else cells

    def _together(self, key: str, standings: Sequence[Standing], *, silent: bool) -> Standing:
        return replace(together(standings, silent=silent), guarded=self._guarded.get(key, ()))

    def _forget(self, kept: set[Revision]) -> None:
        """Drop the revisions that no worker has any longer: as one process forgets them, but all at once."""
        accounts = (account.rows for account in self._living if account is not None)
        known: Iterable[dict[Revision, Any]] = (self._ended, *accounts)
        for revisions in known:
            for revision in [revision for revision in revisions if revision not in kept]:
                del revisions[revision]
