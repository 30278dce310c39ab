"""A whole cluster as values: API server, kubelet, scheduler, gateways and clients, for the planner to be run in.

Time is simulated and nothing waits. The API server checks preconditions as the real one does; the
kubelet starts pods as the revision's `Behaviour` says; gateways take up tables after a lag and count
requests. `Cluster.turn` lets a second go by and makes one pass of the operator, and every plan is
checked against every invariant.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.plan.parts import DEPLOYMENT, ApiConflictError, Behaviour, Gateway, Pod, pod_object, routing
from understudy.domain.duration import stamp
from understudy.domain.key import Key
from understudy.domain.names import API_VERSION, LABEL_REVISION, policy_name
from understudy.domain.state import (
    ITL_BOUNDS,
    LOADED,
    PAIR_METRICS,
    TTFT_BOUNDS,
    DeploymentState,
    GatewayState,
    Guarded,
    Pairs,
    RevisionState,
    Sample,
)
from understudy.domain.table import Table
from understudy.plan.actions import Action, Apply, Delete, Emit, Plan, Probe, apply_status
from understudy.plan.memory import Memory
from understudy.plan.observed import GatewayPod, Now, Object, Observed, ProbeReport, PromptResult, Settings
from understudy.plan.planner import plan
from understudy.plan.replay import ProbeSet, ReplayReport, SetReport, Spoken, compares
from understudy.plan.rollout import RULES
from understudy.plan.rulebook import Rulebook

NAMESPACE, NAME = "tales", DEPLOYMENT
KEY = Key(NAMESPACE, NAME)
SETTINGS = Settings(master_key=b"m" * 32, sim_image="sim:1", gateway_url="http://gateway", poll_interval=1.0)
START = 1_800_000_000.0
GRACE = 2.0  # seconds from a pod's deletion to its end

Kind = str
Ref = tuple[Kind, str]


class Cluster:
    """The simulated world around one ModelDeployment, and an operator that can be killed in it."""

    def __init__(self, gateways: int = 2, capacity: int = 8, rules: Rulebook = RULES) -> None:
        self.wall, self.mono, self.true_time = START, 100.0, 0.0
        self.process, self.epoch = "p1", 1
        self.skew = 0.0  # of the operator's wall clock, in seconds
        self.memory: Memory | None = None
        self.objects: dict[Ref, dict[str, Any]] = {}
        self.pods: dict[str, Pod] = {}
        self.nodes = {"node-a": True, "node-b": True}
        self.capacity = capacity
        self.behaviours: dict[str, Behaviour] = {}
        self.gateways: list[Gateway] = []
        self.rate = 10.0
        self.pod_rate = float("inf")  # requests a second that one pod answers in time
        self.testers = 0.0  # requests a second that ask for the candidate by name
        self.long_streams = False
        self.probed: tuple[Probe, ...] = ()
        self.reports: dict[str, ProbeReport] = {}
        self.replayed: ReplayReport | None = None
        self.pace = 2  # prompts of a probe set that each side answers in a turn
        self.unjudged = ""  # why no answer can be judged
        self.references: dict[tuple[str, str], str | None] = {}
        self.guardrails: tuple[Object, ...] = ()
        self.name_holders: dict[str, Key] = {}
        self.refused = ""
        self.rules = rules
        self.events: list[Emit] = []
        self.last = Plan()
        self.past: list[dict[Ref, dict[str, Any]]] = []
        self.fail_action: int | None = None
        self.serves_image_volumes = True
        self._ids = itertools.count(1)
        self._credit: dict[tuple[str, ...], float] = {}
        self.settings = SETTINGS
        self.on_write: list[Callable[[Action], None]] = []
        for _ in range(gateways):
            self.add_gateway()

    # What users do.

    def apply_model(self, path: str = "/models/tiny") -> None:
        """Create or change the Model."""
        self.put("Model", "tiny", {"spec": {"source": {"enginePath": path}}})

    def apply(self, image: str = "v1", **spec: Any) -> None:
        """Create or change the ModelDeployment; `image` is what tells revisions apart."""
        merged = {
            "modelRef": {"name": "tiny"},
            "replicas": 1,
            "engine": {"type": "sim", "image": image, "startupTimeout": "60s", "shutdownTimeout": "5s"},
            "rollout": rollout(),
            **spec,
        }
        self.put("ModelDeployment", NAME, {"spec": merged})

    def edit(self, **spec: Any) -> None:
        """Change some fields of the spec."""
        self.put("ModelDeployment", NAME, {"spec": {**self.deployment["spec"], **spec}})

    def ask(self, request: str) -> None:
        """Annotate the ModelDeployment with a request."""
        meta = {**self.deployment["metadata"], "annotations": {"understudy.dev/request": request}}
        self._store("ModelDeployment", NAME, {**self.deployment, "metadata": meta})

    def delete_deployment(self, *, orphan: bool = False) -> None:
        """Delete the ModelDeployment; the garbage collector takes what it owns, unless told to orphan."""
        del self.objects["ModelDeployment", NAME]
        for ref, obj in list(self.objects.items()):
            if obj["metadata"].get("ownerReferences") and not orphan:
                self._remove(ref)

    # What is looked at.

    @property
    def deployment(self) -> dict[str, Any]:
        """The ModelDeployment."""
        return self.objects["ModelDeployment", NAME]

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        status: dict[str, Any] = self.deployment.get("status") or {}
        return status

    @property
    def phase(self) -> str:
        """Its phase, "" before the first pass."""
        return str(self.status.get("phase", ""))

    @property
    def table(self) -> Table | None:
        """The routing table as it is stored."""
        found = self.objects.get(("RoutingTable", NAME))
        return routing(found) if found is not None else None

    def weights(self) -> dict[str, int]:
        """Shares by image, as stored."""
        images = self.images()
        return {images[v.revision]: v.weight for v in self.table.variants} if self.table else {}

    def images(self) -> dict[str, str]:
        """Image of each revision that has a record or pods."""
        recorded = self.of_kind("ModelSnapshot").values()
        images = {s["spec"]["revision"]: s["spec"]["intent"]["engine"]["image"] for s in recorded}
        return {p.revision: p.image for p in self.pods.values()} | images

    def image(self, register: str) -> str:
        """Image of the revision in a register of the status: stable, candidate, previous."""
        revision = self.status.get(register)
        return self.images().get(revision, revision) if revision else ""

    def revision(self, image: str) -> str:
        """Revision of an image."""
        return next(r for r, i in self.images().items() if i == image)

    def replicas(self) -> dict[str, int]:
        """Desired replicas of every pool, by image."""
        images = self.images()
        return {
            images[p["metadata"]["labels"][LABEL_REVISION]]: p["spec"]["replicas"]
            for p in self.of_kind("Deployment").values()
        }

    def condition(self, kind: str) -> dict[str, Any]:
        """One condition of the status."""
        return next((c for c in self.status.get("conditions", ()) if c["type"] == kind), {})

    def says(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = self.condition(kind)
        return found.get("status", ""), found.get("reason", "")

    def of_kind(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """All objects of a kind, by name."""
        return {name: obj for (k, name), obj in self.objects.items() if k == kind}

    def pods_of(self, image: str) -> list[Pod]:
        """Pods of an image that are there."""
        return [p for p in self.pods.values() if p.image == image]

    # Faults.

    def restart_operator(self) -> None:
        """The leader dies; another process goes on with nothing in memory and clocks of its own."""
        self.process, self.memory, self.epoch = f"p{next(self._ids)}", None, self.epoch + 1
        self.mono = 7.0 * next(self._ids)
        self.probed, self.reports, self.replayed = (), {}, None
        for gateway in self.gateways:
            gateway.answered = None

    def add_gateway(self) -> Gateway:
        """One more gateway pod."""
        number = next(self._ids)
        gateway = Gateway(f"g-{number}", f"gateway-{number}", f"start-{number}", self.true_time)
        table = self.objects.get(("RoutingTable", NAME))
        gateway.table = table
        self.gateways.append(gateway)
        return gateway

    def restart_gateway(self, gateway: Gateway) -> None:
        """The process ends and another begins to count from zero, by the table it has on disk."""
        gateway.start_id, gateway.began = f"start-{next(self._ids)}", self.true_time
        gateway.attempts, gateway.failed, gateway.open, gateway.bad = {}, {}, {}, {}
        gateway.pairs, gateway.bad_pairs = {}, {}
        gateway.turns, gateway.found, gateway.acted = {}, {}, {}

    def delete_pod(self, pod: Pod, *, evicted: bool = False) -> None:
        """The pod is deleted; evicted: with the condition that says so."""
        pod.disrupted = evicted
        self._end(pod)

    def lose_node(self, node: str) -> None:
        """A node stops answering."""
        self.nodes[node] = False

    def crash(self, pod: Pod, code: int = 1) -> None:
        """The engine of a running pod ends, and the kubelet starts it again."""
        self._terminate(pod, code)

    def vandalise(self, kind: Kind, name: str) -> None:
        """Somebody deletes a child by hand."""
        self._remove((kind, name))

    def scale(self, image: str, replicas: int) -> None:
        """Somebody scales a pool by hand."""
        name = f"{NAME}-{self.revision(image)}"
        pool = self.objects["Deployment", name]
        self.put("Deployment", name, {**pool, "spec": {**pool["spec"], "replicas": replicas}})

    # Time.

    def turn(self, seconds: float = 1.0, *, stale: int = 0) -> Plan:
        """Let time go by, then make one pass of the operator on a view `stale` turns old."""
        self.pass_time(seconds)
        return self.reconcile(stale=stale)

    def pass_time(self, seconds: float) -> None:
        """Everything but the operator moves."""
        self.past = [*self.past[-3:], dict(self.objects)]
        self.wall, self.mono, self.true_time = self.wall + seconds, self.mono + seconds, self.true_time + seconds
        self._control_pools()
        self._run_pods()
        self._run_gateways(seconds)
        self._run_probes()
        self._run_replay()

    def until(self, done: Callable[["Cluster"], bool], limit: int = 300, seconds: float = 1.0) -> "Cluster":
        """Turn until it is so; fails after `limit` turns."""
        for _ in range(limit):
            if done(self):
                return self
            self.turn(seconds)
        raise AssertionError(f"not within {limit} turns: {self.phase}, {self.last.reasons}, {self.weights()}")

    def until_phase(self, *phases: str, limit: int = 300) -> "Cluster":
        """Turn until the phase is one of these."""
        return self.until(lambda c: c.phase in phases, limit)

    def turns(self, count: int, seconds: float = 1.0) -> "Cluster":
        """Turn so often."""
        for _ in range(count):
            self.turn(seconds)
        return self

    # The operator.

    def observe(self, *, stale: int = 0) -> Observed:
        """What the operator's caches, polls and probes say."""
        seen = self.past[-stale] if stale and len(self.past) >= stale else self.objects
        children: dict[str, dict[str, Object]] = {"Deployment": {}, "Service": {}, "Secret": {}}
        snapshots, configmaps = [], {}
        for (kind, name), obj in sorted(seen.items()):
            if kind in children:
                children[kind][obj["metadata"]["labels"][LABEL_REVISION]] = obj
            elif kind == "ModelSnapshot":
                snapshots.append(obj)
            elif kind == "ConfigMap":
                configmaps[name] = obj
        return Observed(
            key=KEY,
            now=Now(self.wall + self.skew, self.mono, self.process),
            epoch=self.epoch,
            deployment=seen.get(("ModelDeployment", NAME)),
            model=seen.get(("Model", "tiny")),
            snapshots=tuple(snapshots),
            table=seen.get(("RoutingTable", NAME)),
            policy=seen.get(("NetworkPolicy", policy_name(NAME))),
            pools=children["Deployment"],
            services=children["Service"],
            engine_keys=children["Secret"],
            pods=tuple(self._shown(p) for p in self.pods.values()),
            nodes=tuple(
                {
                    "metadata": {"name": n},
                    "status": {"conditions": [{"type": "Ready", "status": "True" if up else "Unknown"}]},
                }
                for n, up in self.nodes.items()
            ),
            references=dict(self.references),  # type: ignore[arg-type]
            configmaps=configmaps,
            guardrails=self.guardrails,
            name_holders=self.name_holders,
            gateways=tuple(
                GatewayPod(
                    g.uid,
                    g.name,
                    g.answered[1] if g.answered else None,
                    self.true_time - g.answered[0] if g.answered else float("inf"),
                )
                for g in self.gateways
            ),
            probes={u: r for u, r in self.reports.items() if any(p.pod_uid == u for p in self.probed)},
            replay=self.replayed,
            settings=self.settings,
            memory=self.memory,
            refused=self.refused,
        )

    def reconcile(self, *, stale: int = 0) -> Plan:
        """One pass: observe, plan, carry out."""
        observed = self.observe(stale=stale)
        return self.carry_out(observed, plan(observed, self.rules))

    def carry_out(self, observed: Observed, decided: Plan) -> Plan:
        """What was planned for what was observed, write by write, until one fails."""
        self.last, self.memory = decided, decided.memory
        self.probed = decided.probes
        asked = decided.replay
        if asked is None or self.replayed is None or self.replayed.matter != asked.matter:
            self.replayed = ReplayReport(asked.matter) if asked is not None else None
        status = [self._status_action(observed, decided)] if self._status_changed(observed, decided) else []
        order = [*status, *decided.actions] if decided.status_first else [*decided.actions, *status]
        written: dict[Ref, str] = {}
        for index, action in enumerate(order):
            if index == self.fail_action:
                break
            try:
                self._carry_out(action, written)
            except ApiConflictError:
                break
        return decided

    def _status_changed(self, observed: Observed, decided: Plan) -> bool:
        if decided.status is None or observed.deployment is None:
            return False
        return bool((observed.deployment.get("status") or {}) != decided.status)

    def _status_action(self, observed: Observed, decided: Plan) -> Apply:
        assert observed.deployment is not None
        assert decided.status is not None
        return apply_status(API_VERSION, "ModelDeployment", observed.deployment, decided.status)

    # The API server.

    def put(self, kind: Kind, name: str, body: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> None:
        """A user's apply."""
        old = self.objects.get((kind, name))
        meta = old["metadata"] if old else self._new_meta(name, labels or {})
        changed = old is None or old.get("spec") != body.get("spec")
        meta = {**meta, "generation": meta["generation"] + (1 if old and changed else 0)}
        self._store(kind, name, {**(old or {}), "kind": kind, **body, "metadata": meta})

    def _new_meta(self, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
        uid = f"u-{next(self._ids)}"
        created = stamp(self.wall)
        meta = {"name": name, "namespace": NAMESPACE, "uid": uid, "generation": 1, "creationTimestamp": created}
        return {**meta, "labels": dict(labels)}

    def _store(self, kind: Kind, name: str, obj: Mapping[str, Any]) -> None:
        meta = {**obj["metadata"], "resourceVersion": str(next(self._ids))}
        self.objects[kind, name] = {**obj, "metadata": meta}
        if kind == "RoutingTable":
            self._announce()

    def _carry_out(self, action: Action, written: dict[Ref, str]) -> None:
        if isinstance(action, Emit):
            self.events.append(action)
            return
        if isinstance(action, Delete):
            self._delete(action)
        else:
            self._apply(action, written)

    def _delete(self, action: Delete) -> None:
        found = self.objects.get((action.kind, action.name))
        if found is None:
            return
        if found["metadata"]["uid"] != action.uid:
            raise ApiConflictError
        if action.resource_version and found["metadata"]["resourceVersion"] != action.resource_version:
            raise ApiConflictError
        self._tell(action)
        self._remove((action.kind, action.name))

    def _tell(self, action: Action) -> None:
        """A write was accepted and is about to be stored."""
        for listener in self.on_write:
            listener(action)

    def _stored(self, body: dict[str, Any]) -> dict[str, Any]:
        """An object as it is stored: an API server before Kubernetes 1.35 drops image volumes without a word."""
        if self.serves_image_volumes or body["kind"] != "Deployment":
            return body
        pod = body["spec"]["template"]["spec"]
        kept = {**pod, "volumes": [volume for volume in pod["volumes"] if "image" not in volume]}
        template = {**body["spec"]["template"], "spec": kept}
        return {**body, "spec": {**body["spec"], "template": template}}

    def _apply(self, action: Apply, written: dict[Ref, str]) -> None:
        action = replace(action, obj=self._stored(dict(action.obj)))
        kind, name = action.obj["kind"], action.obj["metadata"]["name"]
        found = self.objects.get((kind, name))
        if found is None:
            if action.uid or action.subresource:
                raise ApiConflictError
            self._tell(action)
            meta = self._new_meta(name, action.obj["metadata"].get("labels", {}))
            meta |= {k: v for k, v in action.obj["metadata"].items() if k not in meta}
            self._store(kind, name, {**action.obj, "metadata": meta})
            written[kind, name] = self.objects[kind, name]["metadata"]["resourceVersion"]
            return
        version = found["metadata"]["resourceVersion"]
        if action.uid and found["metadata"]["uid"] != action.uid:
            raise ApiConflictError
        if action.resource_version and action.resource_version != version and written.get((kind, name)) != version:
            raise ApiConflictError
        self._tell(action)
        if action.subresource == "status":
            if found.get("status") == action.obj["status"]:
                return
            self._store(kind, name, {**found, "status": action.obj["status"]})
        else:
            body = {k: v for k, v in action.obj.items() if k != "metadata"}
            owners = action.obj["metadata"].get("ownerReferences")
            same_owner = owners == found["metadata"].get("ownerReferences")
            if same_owner and all(found.get(k) == v for k, v in body.items()):
                return
            bump = 1 if found.get("spec") != body.get("spec") else 0
            meta = {**found["metadata"], "generation": found["metadata"]["generation"] + bump}
            if owners:
                meta["ownerReferences"] = owners
            if annotations := action.obj["metadata"].get("annotations"):
                meta["annotations"] = {**(meta.get("annotations") or {}), **annotations}
            self._store(kind, name, {**found, **body, "metadata": meta})
        written[kind, name] = self.objects[kind, name]["metadata"]["resourceVersion"]

    def _remove(self, ref: Ref) -> None:
        self.objects.pop(ref, None)
        if ref[0] == "Deployment":
            for pod in self.pods.values():
                if f"{NAME}-{pod.revision}" == ref[1]:
                    self._end(pod)
        if ref[0] == "RoutingTable":
            self._announce()

    # Controllers, scheduler, kubelet.

    def _control_pools(self) -> None:
        for pool in self.of_kind("Deployment").values():
            revision = pool["metadata"]["labels"][LABEL_REVISION]
            alive = [p for p in self.pods.values() if p.revision == revision and p.deleted is None]
            wanted = pool["spec"]["replicas"]
            for pod in sorted(alive, key=lambda p: (p.ready, -p.created))[: max(0, len(alive) - wanted)]:
                self._end(pod)
            image = pool["spec"]["template"]["spec"]["containers"][0]["image"]
            for _ in range(wanted - len(alive)):
                number = next(self._ids)
                name = f"{NAME}-{revision}-{number}"
                self.pods[name] = Pod(f"pod-{number}", name, revision, image, self.wall, turned=self.wall)
        for name in [n for n, p in self.pods.items() if p.deleted is not None and self.true_time - p.deleted >= GRACE]:
            del self.pods[name]

    def _run_pods(self) -> None:
        for pod in self.pods.values():
            if pod.deleted is not None:
                continue
            if pod.scheduled is None and not self._schedule(pod):
                continue
            self._run_engine(pod, self.behaviours.get(pod.image, Behaviour()))

    def _schedule(self, pod: Pod) -> bool:
        up = [n for n, ready in self.nodes.items() if ready]
        held = sum(1 for p in self.pods.values() if p.scheduled is not None)
        if not up or held >= self.capacity:
            return False
        pod.node, pod.scheduled = up[held % len(up)], self.wall
        return True

    def _run_engine(self, pod: Pod, behaviour: Behaviour) -> None:
        if behaviour.pull is not None and pod.started is None:
            return
        if not self.nodes[pod.node]:
            self._set_ready(pod, ready=False)
            return
        if pod.started is None:
            pod.started, pod.image_id = self.wall, behaviour.image_id or f"sha256:{pod.image}"
        up = self.wall - pod.started
        if behaviour.exit_code is not None and up >= behaviour.start:
            self._terminate(pod, behaviour.exit_code, oom=behaviour.oom)
        else:
            self._set_ready(pod, ready=up >= behaviour.start and not behaviour.unhealthy)

    def _terminate(self, pod: Pod, code: int, *, oom: bool = False) -> None:
        if pod.started is None:
            return
        pod.restarts += 1
        reason = "OOMKilled" if oom else "Error"
        pod.ended = {"exitCode": code, "reason": reason, "finishedAt": stamp(self.wall)}
        pod.started = self.wall
        self._set_ready(pod, ready=False)

    def _set_ready(self, pod: Pod, *, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready, pod.turned = ready, self.wall

    def _end(self, pod: Pod) -> None:
        if pod.deleted is None:
            pod.deleted = self.true_time
            self._set_ready(pod, ready=False)

    def _shown(self, pod: Pod) -> Object:
        return pod_object(pod, self.behaviours.get(pod.image, Behaviour()), self.capacity, self.wall)

    # Gateways and clients.

    def _announce(self) -> None:
        table = self.objects.get(("RoutingTable", NAME))
        for gateway in self.gateways:
            if table is not None:  # a table that vanishes is served for another minute
                gateway.pending = (self.true_time + gateway.lag, table)

    def _run_gateways(self, seconds: float) -> None:
        for gateway in self.gateways:
            if gateway.pending and self.true_time >= gateway.pending[0] and not gateway.silent:
                gateway.table, gateway.pending = gateway.pending[1], None
                cut = routing(gateway.table).cut if gateway.table and gateway.cuts else ()
                gateway.cut += sum(gateway.open.pop(revision, 0) for revision in cut)
            self._serve(gateway, seconds)
            if not gateway.silent:
                gateway.answered = (self.true_time, self._state(gateway))

    def ready_pods(self, revision: str) -> int:
        """Pods of a revision that take requests."""
        return sum(1 for p in self.pods.values() if p.revision == revision and p.ready and p.deleted is None)

    def _serve(self, gateway: Gateway, seconds: float) -> None:
        table = routing(gateway.table) if gateway.table else None
        variants = table.variants if table is not None else ()
        if not self.long_streams:
            gateway.open = {}
        held = {p.revision for p in self.pods.values()}
        gateway.open = {r: count for r, count in gateway.open.items() if r in held}
        images = self.images()
        for variant in variants:
            rate = self.rate * variant.weight / 100 + (self.testers if variant.track == "canary" else 0.0)
            share = rate * seconds / len(self.gateways)
            key = (gateway.uid, variant.revision)
            due = self._credit.get(key, 0.0) + share
            count = int(due)
            self._credit[key] = due - count
            if not count:
                continue
            behaviour = self.behaviours.get(images.get(variant.revision, ""), Behaviour())
            bad = count if not self.ready_pods(variant.revision) else self._part(key, count, behaviour.error_rate)
            if share / seconds * len(self.gateways) > self.pod_rate * self.ready_pods(variant.revision):
                where = (variant.revision, "crowded")
                gateway.bad[where] = gateway.bad.get(where, 0) + count - bad
            for metric, rate in behaviour.bad.items():
                where = (variant.revision, metric)
                gateway.bad[where] = gateway.bad.get(where, 0) + self._part((*key, metric), count, rate)
            if self.guardrails:
                self._judge(gateway, variant.revision, count - bad, behaviour)
            gateway.attempts[variant.revision] = gateway.attempts.get(variant.revision, 0) + count
            gateway.failed[variant.revision] = gateway.failed.get(variant.revision, 0) + bad
            gateway.open[variant.revision] = gateway.open.get(variant.revision, 0) + count - bad
        if table is not None and table.shadow is not None:
            shadow, stable = (next(v.revision for v in variants if v.track == t) for t in ("shadow", "stable"))
            self._copy(gateway, shadow, stable, self.rate * seconds / len(self.gateways) * table.shadow.percent / 100)

    def _judge(self, gateway: Gateway, revision: str, answers: int, behaviour: Behaviour) -> None:
        """Guardrails are asked about every answer."""
        gateway.turns[revision] = gateway.turns.get(revision, 0) + answers
        for what, rate in behaviour.findings.items():
            where = (revision, what)
            gateway.found[where] = gateway.found.get(where, 0) + self._part((gateway.uid, *where), answers, rate)
        acted = self._part((gateway.uid, revision, "acted"), answers, behaviour.acted)
        gateway.acted[revision] = gateway.acted.get(revision, 0) + acted

    def _copy(self, gateway: Gateway, shadow: str, stable: str, due: float) -> None:
        """Requests that stable answers are sent to the shadow as well: what is hard for one is easy for the other."""
        key = (gateway.uid, shadow, "copies")
        count = self._part(key, 1, due)
        if not count or not self.ready_pods(stable):
            return
        images = self.images()
        sides = [(r, self.behaviours.get(images.get(r, ""), Behaviour())) for r in (shadow, stable)]
        for metric in PAIR_METRICS:
            rates = [b.error_rate if metric == "errors" else b.bad.get(metric, 0.0) for _, b in sides]
            bad = [self._part((*key, metric, r), count, rate) for (r, _), rate in zip(sides, rates, strict=True)]
            if metric == "errors" and not self.ready_pods(shadow):
                bad[0] = count
            both = max(0, sum(bad) - count)
            for who, number in (("worse", bad[0] - both), ("better", bad[1] - both), ("both", both)):
                where = (shadow, who, metric)
                gateway.bad_pairs[where] = gateway.bad_pairs.get(where, 0) + number
        gateway.pairs[shadow] = gateway.pairs.get(shadow, 0) + count
        gateway.open[shadow] = gateway.open.get(shadow, 0) + count

    def _part(self, what: tuple[str, ...], count: int, rate: float) -> int:
        """So many of `count`; what is left over comes the next time."""
        due = self._credit.get((*what, "part"), 0.0) + count * rate
        self._credit[(*what, "part")] = due - int(due)
        return int(due)

    def open_requests(self, revision: str) -> int:
        """Requests that are open on a revision, on all gateways."""
        return sum(g.open.get(revision, 0) for g in self.gateways)

    def _state(self, gateway: Gateway) -> GatewayState:
        table = gateway.table
        revisions = {
            r: RevisionState(
                attempts=gateway.attempts.get(r, 0),
                errors={"5xx": gateway.failed.get(r, 0)},
                open_requests=gateway.open.get(r, 0),
                usable_endpoints=self.ready_pods(r),
                ttft=_first_tokens(gateway, r),
                sample=_sample(gateway, r),
                pairs=_pairs(gateway, r),
                guard=_guarded(gateway, r),
            )
            for r in self.images()
        }
        state = DeploymentState(
            table_uid=table["metadata"]["uid"] if table else "",
            table_generation=table["metadata"]["generation"] if table else 0,
            epoch=table["spec"]["epoch"] if table else 0,
            revisions=revisions,
        )
        named = routing(table).guards if table else ()
        guards = {guard.policy: gateway.refuses or LOADED for guard in named}
        served = {str(KEY): state} if table else {}
        return GatewayState(gateway.start_id, self.true_time - gateway.began, served, guards)

    # Probes.

    def _run_probes(self) -> None:
        by_uid = {p.uid: p for p in self.pods.values()}
        self.reports = {u: r for u, r in self.reports.items() if u in by_uid}
        for probe in self.probed:
            pod = by_uid.get(probe.pod_uid)
            if pod is None or not pod.ready or pod.deleted is not None:
                continue
            behaviour = self.behaviours.get(pod.image, Behaviour())
            old = self.reports.get(probe.pod_uid, ProbeReport(probe.pod_uid))
            if behaviour.no_tls:
                self.reports[probe.pod_uid] = replace(old, no_tls=behaviour.no_tls)
                continue
            if behaviour.identity != "ok":
                self.reports[probe.pod_uid] = replace(old, identity=behaviour.identity)
                continue
            other_ok = self._compared(probe, by_uid) if behaviour.fails_prompt else None
            runs = tuple(
                PromptResult(p.name, not behaviour.fails_prompt, self.mono, "wrong", other_ok) for p in probe.prompts
            )
            done = old.completed_at if behaviour.fails_prompt else self.mono
            recent = (*old.recent, *runs)[-5 * max(1, len(probe.prompts)) :]
            self.reports[probe.pod_uid] = ProbeReport(probe.pod_uid, "ok", done, recent)

    def _run_replay(self) -> None:
        """Pods of both sides answer some more prompts of each probe set, stable's only if that decides."""
        if self.replayed is None or self.last.replay is None:
            return
        asked, up = self.last.replay, {p.uid: p.image for p in self.pods.values() if p.ready and p.deleted is None}
        sides = [next((up[uid] for uid in uids if uid in up), "") for uids in (asked.subjects, asked.others)]
        self.replayed = replace(
            self.replayed, sets={s.guardrail: self._replayed_set(s, self.replayed.of(s), *sides) for s in asked.sets}
        )

    def _replayed_set(self, probes: ProbeSet, known: SetReport, subject: str, other: str) -> SetReport:
        own = self._answers(probes, known.subject, subject)
        others = self._answers(probes, known.other, other if compares(probes, SetReport(own)) else "")
        settled = any(said.unknown for said in (*own.values(), *others.values()))
        return SetReport(own, others, settled)

    def _answers(self, probes: ProbeSet, known: Mapping[str, Spoken], image: str) -> Mapping[str, Spoken]:
        if not image:
            return known
        judged = {prompt: said for prompt, said in known.items() if not said.unknown}
        left = [prompt for prompt in (f"p{n}" for n in range(probes.prompts)) if prompt not in judged]
        says = self.behaviours.get(image, Behaviour()).says
        fresh = {
            prompt: Spoken(unknown=self.unjudged) if self.unjudged else says.get(prompt, Spoken())
            for prompt in left[: self.pace]
        }
        return {**judged, **fresh}

    def _compared(self, probe: Probe, by_uid: Mapping[str, Pod]) -> bool | None:
        """Whether the comparator passes what has just failed; None if it cannot be asked."""
        asked = [by_uid.get(p.pod_uid) for p in self.probed if p.comparator and p != probe]
        known = [p for p in asked if p is not None and p.ready and p.uid in self.reports]
        behaviours = [self.behaviours.get(p.image, Behaviour()) for p in known]
        return not any(b.fails_prompt for b in behaviours) if behaviours else None


def _pairs(gateway: Gateway, revision: str) -> Pairs:
    def bad(who: str) -> dict[str, int]:
        return {metric: gateway.bad_pairs.get((revision, who, metric), 0) for metric in PAIR_METRICS}

    return Pairs(gateway.pairs.get(revision, 0), bad("worse"), bad("better"), bad("both"))


def _guarded(gateway: Gateway, revision: str) -> Guarded:
    found = {what: count for (r, what), count in gateway.found.items() if r == revision}
    return Guarded(gateway.turns.get(revision, 0), found, gateway.acted.get(revision, 0))


def _first_tokens(gateway: Gateway, revision: str) -> tuple[int, ...]:
    """At once, or after half a minute where the pods have too many requests to share themselves among."""
    late = gateway.bad.get((revision, "crowded"), 0)
    answered = gateway.attempts.get(revision, 0) - gateway.failed.get(revision, 0)
    return (answered - late, *(0 for _ in TTFT_BOUNDS[1:]), late)


def _sample(gateway: Gateway, revision: str) -> Sample:
    """Every attempt is of another conversation; what is slow takes half a minute."""
    attempts, failed = gateway.attempts.get(revision, 0), gateway.failed.get(revision, 0)
    bad = {metric: count for (r, metric), count in gateway.bad.items() if r == revision}
    late, halting = bad.get("timeToFirstToken", 0), bad.get("interTokenLatency", 0)
    answered = attempts - failed
    return Sample(
        attempts=attempts,
        errors=failed,
        rejected_4xx=bad.get("rejected", 0),
        empty=bad.get("emptyOutput", 0),
        ttft=(answered - late, *(0 for _ in TTFT_BOUNDS[1:]), late),
        slowest=(answered - halting, *(0 for _ in ITL_BOUNDS[1:]), halting),
    )


def rollout(**fields: Any) -> dict[str, Any]:
    """Rollout settings that finish in a few dozen turns."""
    return {
        "steps": [{"weight": 10, "soak": "3s"}, {"weight": 50, "soak": "3s"}, {"weight": 100, "soak": "3s"}],
        "watch": "10s",
        "drain": "20s",
        "deadlines": {"scheduling": "30s"},
        "analysis": {"minSamples": 5, "ceilings": {"errorRate": 0.2, "minRequests": 5}},
        **fields,
    }


def serving(image: str = "v1", gateways: int = 2, capacity: int = 8, **spec: Any) -> Cluster:
    """A cluster on which `image` is stable and answers."""
    cluster = Cluster(gateways, capacity)
    cluster.apply_model()
    cluster.apply(image, **spec)
    return cluster.until(lambda c: c.says("Ready")[0] == "True")
