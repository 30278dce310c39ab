"""Watches a simulated cluster from outside and fails when a promise of the rollout machine is broken.

The planner checks its own drafts against what it observed; this looks at the truth: what the gateways
serve by, which requests are open, how long a weight was really in force.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.plan.parts import routing
from tests.plan.world import NAME, Cluster
from understudy.domain.duration import seconds
from understudy.domain.names import LABEL_REVISION
from understudy.domain.state import LOADED
from understudy.plan.actions import Action, Apply, Delete, Plan
from understudy.plan.replay import ReplayReport, bad, probe_sets


@dataclass
class Force:
    """A weight that is in force on every gateway: seconds and requests so far, and where counting stands."""

    lasted: float = 0.0
    attempts: int = 0


@dataclass
class Audit:
    """One cluster's auditor; `excused` are revisions whose children somebody removed by hand."""

    cluster: Cluster
    excused: set[str] = field(default_factory=set)
    _status: dict[str, Any] = field(default_factory=dict)
    _out_since: dict[str, float] = field(default_factory=dict)
    _forces: dict[tuple[int, str, int], Force] = field(default_factory=dict)
    _looked: tuple[float, tuple[str, int] | None, int] = (0.0, None, 0)
    _served: dict[str, int] = field(default_factory=dict)
    _counted: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _shares: dict[str, int] = field(default_factory=dict)
    _shown_since: dict[str, float] = field(default_factory=dict)
    _waits: set[float] = field(default_factory=set)
    _stable_seen: float = 0.0
    _paired: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _pairs: int = 0
    _replayed: ReplayReport | None = None
    visited: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.watch(self.cluster)

    def watch(self, cluster: Cluster) -> None:
        """From now on this cluster, which nobody else watches, is watched."""
        self.cluster = cluster
        cluster.on_write = [self._before_write]

    def turn(self, length: float, *, stale: int = 0) -> None:
        """A turn of the cluster, watched."""
        self.lapse(length)
        self.judge(self.cluster.reconcile(stale=stale))

    def lapse(self, length: float) -> None:
        """Time goes by, watched."""
        self.cluster.pass_time(length)
        self._replayed = self.cluster.replayed or self._replayed
        self._look()

    def judge(self, decided: Plan) -> None:
        """A pass was made."""
        broken = [r for r in decided.reasons if r.startswith("I") and r[1:2].isdigit()]
        assert not broken, f"{broken} at {self.cluster.true_time} in {self.cluster.phase}"
        self._look()
        self._read_status()

    def until(self, done: Callable[[Cluster], bool], limit: int = 300) -> None:
        """Turns of a second until it is so; fails after `limit` of them."""
        for _ in range(limit):
            if done(self.cluster):
                return
            self.turn(1.0)
        raise AssertionError(f"not within {limit} turns: {self.cluster.phase}, {self.cluster.last.reasons}")

    # What gateways do.

    def _look(self) -> None:
        cluster = self.cluster
        for gateway in cluster.gateways:
            for revision, attempts in gateway.attempts.items():
                key = (gateway.uid, gateway.start_id, revision)
                new = attempts - self._counted.get(key, 0)
                self._served[revision] = self._served.get(revision, 0) + new
                self._counted[key] = attempts
        routed = self._routed()
        for revision in {p.revision for p in cluster.pods.values()}:
            if revision in routed:
                self._out_since.pop(revision, None)
            else:
                self._out_since.setdefault(revision, cluster.true_time)
        self._weigh()
        self._count_pairs()
        self._look_at_candidate()

    def _count_pairs(self) -> None:
        """Pairs that were really made since the candidate began to get copies, and the operator was last away."""
        for gateway in self.cluster.gateways:
            for revision, pairs in gateway.pairs.items():
                key = (gateway.uid, gateway.start_id, revision)
                if self._status.get("phase") == "Shadow" and revision == self._status.get("candidate"):
                    self._pairs += pairs - self._paired.get(key, 0)
                self._paired[key] = pairs
        if self._status.get("phase") != "Shadow":
            self._pairs = 0

    def _look_at_candidate(self) -> None:
        """Since when the candidate can be asked by name, and when stable was last there to serve instead."""
        cluster = self.cluster
        listed = {v.revision for v in cluster.table.variants if v.track == "canary"} if cluster.table else set()
        self._shown_since = {r: self._shown_since.get(r, cluster.true_time) for r in listed}
        if cluster.ready_pods(str(self._status.get("stable", ""))):
            self._stable_seen = cluster.true_time
        if ("ModelDeployment", NAME) in cluster.objects:
            after = cluster.deployment["spec"]["rollout"].get("autoPromoteAfter")
            self._waits |= {seconds(after)} if after else set()

    def _routed(self) -> set[str]:
        routed = set()
        for gateway in self.cluster.gateways:
            if gateway.table is not None:
                variants = routing(gateway.table).variants
                # A candidate without a share can be asked by name, or gets copies.
                routed |= {v.revision for v in variants if v.weight > 0 or v.track != "stable"}
        return routed

    def _weigh(self) -> None:
        """Since when every gateway has served by the candidate's present weight."""
        cluster = self.cluster
        keys = set()
        for gateway in cluster.gateways:
            variants = routing(gateway.table).variants if gateway.table else ()
            keys.add(next(((v.revision, v.weight) for v in variants if v.track == "canary"), None))
        key = keys.pop() if len(keys) == 1 else None
        then, was, attempts = self._looked
        served = self._served.get(key[0], 0) if key else 0
        self._looked = (cluster.true_time, key, served)
        if key is not None and key == was:
            force = self._forces.setdefault((self._run(), *key), Force())
            force.lasted += cluster.true_time - then
            force.attempts += served - attempts

    def _run(self) -> int:
        """Number of the rollout in progress."""
        return int((self._status.get("rollout") or {}).get("run", 0))

    # What the operator writes.

    def _before_write(self, action: Action) -> None:
        match action:
            case Apply(obj={"kind": "Deployment"} as pool):
                self._check_pool(pool["metadata"]["labels"][LABEL_REVISION], pool["spec"]["replicas"])
            case Delete(kind="Deployment", name=name):
                self._check_stop(name.removeprefix(f"{NAME}-"))
            case Apply(obj={"kind": "RoutingTable", "spec": spec}):
                self._check_split(spec)
                self._check_guards(spec)
            case Apply(obj={"kind": "ModelDeployment"}, subresource=subresource):
                assert subresource == "status", "I8: the spec is written"

    def _check_pool(self, revision: str, replicas: int) -> None:
        pool = self.cluster.of_kind("Deployment").get(f"{NAME}-{revision}")
        now = pool["spec"]["replicas"] if pool is not None else 0
        if replicas > 0 and now == 0 and self.cluster.status.get("phase") == "Replacing":
            others = {p.revision for p in self.cluster.pods.values()} - {revision}
            assert not others & {self.cluster.status["stable"], self.cluster.status["candidate"]}, "both would be there"
        if replicas == 0 and now > 0:
            self._check_stop(revision)
        if 0 < replicas < now and revision == self.cluster.status.get("stable"):
            self._check_loan(revision, replicas, now)

    def _check_loan(self, revision: str, replicas: int, now: int) -> None:
        """I3: pods of stable leave one by one, within the spec's bound, when the rest is there; and seldom again."""
        cluster = self.cluster
        spec, status = cluster.deployment["spec"], cluster.status
        if replicas >= spec["replicas"] or revision in self.excused:
            return
        capacity = spec["rollout"].get("capacity", {})
        usual = {"Auto": 1, "Borrow": -(-spec["replicas"] // 2)}.get(capacity.get("mode", "Auto"), 0)
        most = capacity.get("maxUnavailable", usual) if usual else 0
        assert replicas >= spec["replicas"] - most, f"I3: {revision} would have {replicas} of {spec['replicas']} pods"
        assert status["candidate"], f"I3: {revision} lends to nobody"
        if status["phase"] == "Restoring":
            return
        assert replicas == now - 1, f"I3: {now - replicas} pods of {revision} leave at once"
        assert cluster.ready_pods(revision) >= replicas, f"I3: a pod of {revision} leaves while others are missing"
        assert cluster.gateways, f"I3: a pod of {revision} leaves and nobody knows the load"

    def _check_stop(self, revision: str) -> None:
        cluster = self.cluster
        if ("ModelDeployment", NAME) not in cluster.objects or cluster.deployment["spec"]["replicas"] == 0:
            return
        assert revision not in self._routed() - self.excused, f"I1: {revision} is routed to and would stop"
        opened = cluster.open_requests(revision)
        if not opened or not cluster.gateways or not any(p.revision == revision for p in cluster.pods.values()):
            return
        out = cluster.true_time - self._out_since.get(revision, cluster.true_time)
        drain = seconds(cluster.deployment["spec"]["rollout"]["drain"])
        assert out >= drain, f"I5: {revision} stops after {out} s with {opened} open requests"

    def _check_split(self, spec: dict[str, Any]) -> None:
        """I15: within one rollout the candidate's share only rises, until it is taken away."""
        salt = spec["salt"]
        shares = {v["revision"]: v["weight"] for v in spec["variants"]}
        if not salt:
            self._shares.clear()
            return
        before = self._shares.get(salt, 0)
        assert shares[salt] >= before or self.excused, f"I15: {salt} falls from {before} to {shares[salt]} %"
        self._shares = {salt: shares[salt]}

    def _check_guards(self, spec: dict[str, Any]) -> None:
        """I16: no guard goes while its Guardrail is there, and nobody new comes where a gateway does not guard."""
        cluster = self.cluster
        guards = {guard["name"]: guard["policy"] for guard in spec.get("guards", ())}
        before = cluster.table
        if before is None:
            return
        held = {g["metadata"]["name"] for g in cluster.guardrails}
        gone = {guard.name for guard in before.guards} & held - guards.keys()
        assert not gone, f"I16: the table would not name {gone} any more"
        rises = any(
            v["weight"] > next((old.weight for old in before.variants if old.revision == v["revision"]), 0)
            for v in spec["variants"]
            if v["track"] == "canary"
        )
        if not rises or cluster.status["phase"] == "Restoring":
            return
        told = [gateway.answered[1].guards if gateway.answered else {} for gateway in cluster.gateways]
        assert all(said.get(p) == LOADED for said in told for p in guards.values()), (
            "I16: somebody would not be guarded"
        )

    # What the status says.

    def _read_status(self) -> None:
        if ("ModelDeployment", NAME) not in self.cluster.objects:
            self._status = {}
            return
        before, now = self._status, self.cluster.status
        self._status = now
        if not before or not now:
            return
        self.visited.add((before["phase"], now["phase"]))
        self._check_choice(before, now)
        self._check_step(before, now)
        self._check_switch(before, now)
        self._check_replay(before, now)
        self._check_pairs(before, now)

    def _check_choice(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        chosen = now.get("candidate")
        if chosen and chosen != before.get("candidate"):
            failed = {f["revision"] for f in now["failed"]}
            assert chosen not in failed, f"I4: {chosen} failed and starts again"

    def _check_step(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """I10, I11: a step is passed after its real soak and its real samples."""
        if before["phase"] != "Canary":
            return
        weight = before["weights"]["candidate"]["desired"]
        rose = now["phase"] == "Canary" and now["weights"]["candidate"]["desired"] > weight
        if not (rose or now["phase"] == "Promoting"):
            return
        own = now["rollout"]
        if own["skipTo"] >= weight or own["frozen"].get("strategy") != "Canary":
            return
        force = self._forces.get((int(own["run"]), before["candidate"], weight))
        assert force is not None, "I10: passed without being in force"
        steps = self.cluster.deployment["spec"]["rollout"].get("steps", ({"soak": "2m"},))
        soak = min(seconds(s["soak"]) for s in steps)
        assert force.lasted >= soak - 1e-6, f"I10: {weight} % was in force for {force.lasted} s"
        least = own["frozen"]["analysis"]["minSamples"]
        assert force.attempts >= least, f"I11: {weight} % passed with {force.attempts} of {least} samples"

    def _check_pairs(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """I11: the first step comes after as many pairs as are asked for, or when nobody asks for them any more."""
        if (before["phase"], now["phase"]) != ("Shadow", "Canary"):
            return
        shadow = self.cluster.deployment["spec"]["rollout"].get("shadow")
        # `promote` in Shadow is spent on it.
        asked = str(now["lastHandledRequest"]).startswith(("promote@", "promote-full@"))
        if shadow is None or now["rollout"]["skipTo"] >= 100 or asked:
            return
        least = shadow.get("samples", 200)
        assert self._pairs >= least, f"I11: Shadow passed with {self._pairs} of {least} pairs"

    def _check_replay(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """I17: whoever is heard has answered every probe set, and is no worse than stable by what was judged."""
        if before["phase"] != "Preparing" or now["phase"] not in ("Shadow", "Canary") or not now.get("stable"):
            return
        cluster, own = self.cluster, now["rollout"]
        if now["candidate"] == now.get("pinnedRevision") or cluster.true_time - self._stable_seen >= 25:
            return
        known = self._replayed
        for probes in probe_sets(cluster.guardrails):
            assert known is not None, f"I17: {now['candidate']} was asked nothing"
            assert (known.matter.run, known.matter.revision) == (int(own["run"]), now["candidate"]), "I17: another was"
            said = known.of(probes)
            own_bad, other_bad = bad(probes, said.subject), bad(probes, said.other)
            assert len(own_bad) <= len(other_bad) + probes.tolerance, f"I17: {now['candidate']} says worse than stable"
            judged = [prompt for prompt, spoken in said.subject.items() if not spoken.unknown]
            assert len(judged) == probes.prompts or not probes.must, f"I17: {probes.prompts - len(judged)} not judged"

    def _check_switch(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """BlueGreen switches when it is told to, when its time is over, or when stable has long been away."""
        own = now["rollout"]
        if (before["phase"], now["phase"]) != ("Preparing", "Canary") or own["frozen"].get("strategy") != "BlueGreen":
            return
        time = self.cluster.true_time
        shown = time - self._shown_since.get(now["candidate"], time)
        over = bool(self._waits) and shown >= min(self._waits)
        assert own["skipTo"] >= 100 or over or time - self._stable_seen >= 25, f"switched by itself after {shown} s"
