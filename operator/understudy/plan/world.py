"""The observed world as typed values: what every rule of the rollout machine looks at.

`observe` builds a World once per pass; rules only read it. It carries the machine's registers too,
so that a rule is a function of one argument.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.api.v1alpha1.rollout import Metric
from understudy.domain.duration import seconds
from understudy.domain.names import child_name
from understudy.plan.counts import Tally
from understudy.plan.desired.tls import speaks_tls
from understudy.plan.faults import Fault
from understudy.plan.guards import Guarding, unloaded
from understudy.plan.ladder import Rung
from understudy.plan.load import Glance
from understudy.plan.memory import Block, Clock, Cursor, Evidence
from understudy.plan.observed import Now, Object, Observed, ProbeReport
from understudy.plan.programmed import Fleet, TableView
from understudy.plan.replay import ProbeSet
from understudy.plan.rulebook import Rulebook
from understudy.plan.sequential import Comparison
from understudy.plan.state import State
from understudy.plan.strategy import Terms
from understudy.plan.volumes import dropped
from understudy.plan.wanted import Blocked, Reading, Wanted


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod: `serving` is ready and not going away; `proven` also answered as it should.

    `waiting_for` is the observed seconds without a node, None once it has one. `image_id` is what the
    engine's image came to, "" until it has been pulled.
    """

    uid: str
    name: str
    address: str
    serving: bool
    proven: bool
    disrupted: bool
    waiting_for: float | None
    unschedulable: str
    restarts: int
    image_id: str
    fault: Fault | None
    report: ProbeReport | None

    @property
    def distrust(self) -> str:
        """Why TLS with it comes to nothing, "" if it does not."""
        return f"{self.name}: {self.report.no_tls}" if self.report is not None and self.report.no_tls else ""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision's children.

    `wanted` is the pool's replicas as observed, `told` those that the operator wrote, 0 without a pool.
    """

    name: str
    pool: Object | None
    service: Object | None
    engine_key: Object | None
    snapshot: Object | None
    wanted: int
    told: int
    pods: tuple[Pod, ...]

    @property
    def serving(self) -> int:
        """Pods that can take requests."""
        return sum(pod.serving for pod in self.pods)

    @property
    def proven(self) -> int:
        """Pods that can take requests and have shown that they are what they should be."""
        return sum(pod.proven for pod in self.pods)

    @property
    def placed(self) -> int:
        """Pods that have a node and are not on their way out."""
        return sum(pod.waiting_for is None and not pod.disrupted for pod in self.pods)

    @property
    def unschedulable(self) -> tuple[Pod, ...]:
        """Pods of which the scheduler has said that there is no node for them."""
        return tuple(pod for pod in self.pods if pod.unschedulable)

    @property
    def fault(self) -> Fault | None:
        """The first fault of any pod."""
        return next((pod.fault for pod in self.pods if pod.fault is not None), None)

    def restarts(self) -> dict[str, int]:
        """How often each pod's engine has been restarted so far, by pod uid, where it has."""
        return {pod.uid: pod.restarts for pod in self.pods if pod.restarts}

    @property
    def image_ids(self) -> tuple[str, ...]:
        """What the engine's image has come to on its pods so far. A failure that is forgiven begins anew."""
        seen = () if self.status.get("state") == "Failed" else self.status.get("imageIDs") or ()
        return tuple(sorted({*seen, *(pod.image_id for pod in self.pods if pod.image_id)}))

    @property
    def status(self) -> Mapping[str, Any]:
        """The snapshot's status; empty without one."""
        return (self.snapshot.get("status") or {}) if self.snapshot is not None else {}

    @property
    def tls(self) -> bool:
        """Whether its pods speak TLS: as its record says, or, of one deleted by hand, its pool."""
        if self.snapshot is not None:
            return speaks_tls(self.snapshot["spec"]["podTemplate"])
        return self.pool is not None and speaks_tls(self.pool["spec"]["template"])

    @property
    def dropped(self) -> tuple[str, ...]:
        """Image volumes that its pool should have and has not, because the cluster does not serve them."""
        return dropped(self.snapshot, self.pool) if self.snapshot is not None and self.pool is not None else ()

    @property
    def lost(self) -> bool:
        """Neither record nor pool nor pods are there: only a spec that asks for it says how to make it."""
        return self.snapshot is None and self.pool is None and not self.pods

    @property
    def exists(self) -> bool:
        """Anything of it may still hold an accelerator."""
        return self.wanted > 0 or bool(self.pods)


def lent(state: State, terms: Terms, replicas: int) -> int:
    """Pods of stable that make way: never all of `replicas`, and never more than the spec allows today."""
    return min(state.lent, terms.spare(replicas))


@dataclass(frozen=True, slots=True)
class World:
    """Everything a rule may read.

    `reading` is the spec and what it asks for; `terms` how a rollout goes (frozen ones while one is in
    progress); `guarding` is what its Guardrails come to; `evidence` belongs to
    the current weight, `window` to the last half minute, `comparisons` to the whole rollout; `tallies`
    are the same, by rung, for the `rungs` of the Guardrails that hold (`guarded`: there are some), whose
    `probe_sets` a candidate answers first; `judged` is the revision that they are about, "" if none is on trial.
    `glances` are at stable while the candidate wants its pods.
    """

    observed: Observed
    rules: Rulebook
    reading: Reading
    state: State
    terms: Terms
    revisions: Mapping[str, Revision]
    table: TableView | None
    fleet: Fleet
    programmed: bool
    clocks: Mapping[str, Clock]
    evidence: Evidence | None
    cursors: Mapping[str, Cursor]
    window: tuple[Block, ...]
    comparisons: Mapping[Metric, Comparison]
    tallies: Mapping[str, Tally]
    judged: str
    glances: tuple[Glance, ...]
    guarded: bool
    rungs: tuple[Rung, ...]
    probe_sets: tuple[ProbeSet, ...]
    guarding: Guarding

    @property
    def spec(self) -> ModelDeploymentSpec:
        """The spec, with its defaults."""
        return self.reading.spec

    @property
    def target(self) -> Wanted | Blocked:
        """The revision that the spec asks for, or why it asks for none."""
        return self.reading.target

    @property
    def unenforced(self) -> str:
        """Why nobody new may be given to what is to be guarded, as a sentence; "" if every gateway guards it."""
        if self.guarding.bare:
            return f"Guardrail {', '.join(self.guarding.bare)} must hold and has no policy yet"
        return unloaded((g for g in self.guarding.guards if not g.open), self.observed.gateways)

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.observed.key.name

    @property
    def namespace(self) -> str:
        """The deployment's namespace."""
        return self.observed.key.namespace

    @property
    def now(self) -> Now:
        """The clocks of this pass."""
        return self.observed.now

    @property
    def generation(self) -> int:
        """The generation of the spec."""
        return int(self.meta.get("generation", 0))

    @property
    def meta(self) -> Mapping[str, Any]:
        """Metadata of the ModelDeployment."""
        meta: Mapping[str, Any] = self.observed.deployment["metadata"] if self.observed.deployment else {}
        return meta

    @property
    def before(self) -> Mapping[str, Any]:
        """The status as observed."""
        status: Mapping[str, Any] = (self.observed.deployment or {}).get("status") or {}
        return status

    @property
    def replicas(self) -> int:
        """Pods that the spec asks for."""
        return self.spec.replicas

    @property
    def drain(self) -> float:
        """Seconds that open requests may take to end."""
        return seconds(self.spec.rollout.drain)

    @property
    def lent(self) -> int:
        """Pods of stable that make way for the candidate."""
        return lent(self.state, self.terms, self.replicas)

    @property
    def carrying(self) -> int:
        """Pods that carry the whole load: all that the spec asks for but those that are lent."""
        return self.replicas - self.lent

    def need(self, weight: int) -> int:
        """Ready pods that carry `weight` percent of the conversations; at least one."""
        return max(1, math.ceil(weight * self.carrying / 100))

    def revision(self, name: str) -> Revision:
        """The revision's children; an empty one if nothing of it exists."""
        return self.revisions.get(name) or Revision(name, None, None, None, None, 0, 0, ())

    @property
    def stable(self) -> Revision:
        """The revision that serves."""
        return self.revision(self.state.stable)

    @property
    def candidate(self) -> Revision:
        """The revision that is being proved."""
        return self.revision(self.state.candidate)

    def others(self) -> tuple[Revision, ...]:
        """Revisions that have no part any more, and still have children."""
        live = self.state.live()
        return tuple(r for name, r in sorted(self.revisions.items()) if name not in live)

    def irretrievable(self, revision: Revision) -> bool:
        """Nothing is left that says how to make it, and the spec, which might, asks for something else."""
        return revision.lost and not isinstance(self.target, Blocked) and self.target.revision != revision.name

    def written(self, revision: str) -> int:
        """The revision's share in the observed table, in percent."""
        return self.table.weights().get(revision, 0) if self.table is not None else 0

    def copied(self, revision: str) -> int:
        """Percent of the requests of which the revision gets copies by the observed table."""
        return self.table.copied(revision) if self.table is not None else 0

    def borne(self, revision: str) -> int:
        """Percent of the requests that the revision's pods bear by the observed table, for clients or as copies."""
        return max(self.written(revision), self.copied(revision))

    def listed(self, revision: str) -> bool:
        """The observed table names it: it can be reached, by its share, by name, or in place of what failed."""
        return self.table is not None and revision in self.table.weights()

    def elapsed(self, clock: str) -> float:
        """Observed seconds on a clock; 0 for one that does not run."""
        running = self.clocks.get(clock)
        return running.elapsed if running is not None else 0.0

    def child(self, revision: str) -> str:
        """Name of the revision's pool, Service and snapshot."""
        return child_name(self.name, revision)

    def moved(self, state: State) -> "World":
        """The same world with other registers."""
        return replace(self, state=state)
