"""A cluster in memory around the fake API server: controllers, engines, gateways and their clients.

Enough for whole operators to run against, in virtual time: a Deployment gets its pods, pods become
ready and answer as themselves, gateways take up tables and count requests by weight.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any

from tests.engine import virtual
from tests.engine.fake_api import FakeApi
from understudy.domain.key import Key
from understudy.domain.names import API_VERSION, LABEL_COMPONENT, LABEL_DEPLOYMENT, LABEL_REVISION
from understudy.domain.state import LOADED, DeploymentState, GatewayState, Guarded, RevisionState
from understudy.engine.asking import AskError
from understudy.engine.clock import Clock
from understudy.engine.options import Options
from understudy.engine.process import OperatorProcess, WakeSource
from understudy.engine.wake import Work
from understudy.guard.served.codec import Question
from understudy.guard.served.judge import Judge
from understudy.kube.client import Object
from understudy.kube.resources import DEPLOYMENT, MODEL, MODEL_DEPLOYMENT, OWN_KINDS, POD, ROUTING_TABLE
from understudy.plan.actions import Probe

SYSTEM, SHOP = "understudy-system", "shop"
START = 1_800_000_000.0


class Cluster:
    """State that tests turn: `ready_after` seconds, `identity` and `broken` by revision, `rate` per second."""

    def __init__(self, gateways: int = 2) -> None:
        self.api = FakeApi()
        self.api.latency = 0.005
        self.api.groups[API_VERSION] = frozenset(kind.plural for kind in OWN_KINDS)
        self.ready_after = 1.0
        self.identity: dict[str, str] = {}
        self.failing: set[str] = set()
        self.asked_with: list[Probe] = []
        self.rate = 50.0
        self.says: Callable[[str], str] = lambda _model: "yes"  # what pods answer, by their model id
        self.refuses = ""  # why gateways load no policy
        self.found: dict[str, int] = {}  # what each gateway has found with each revision
        self._counts: dict[str, dict[str, list[float]]] = {}
        for number in range(gateways):
            self._pod(SYSTEM, f"gateway-{number}", f"10.1.0.{number}", {LABEL_COMPONENT: "gateway"})

    # What users do.

    def model(self, name: str = "storyteller") -> None:
        spec = {"source": {"enginePath": f"/models/{name}"}, "tasks": ["chat"]}
        self.api.put(MODEL, {"metadata": {"name": name, "namespace": SHOP}, "spec": spec})

    def deployment(self, name: str = "talk", **spec: Any) -> None:
        steps = [{"weight": 50, "soak": "5s"}, {"weight": 100, "soak": "5s"}]
        rollout = {"steps": steps, "watch": "10s", "drain": "10s", "analysis": {"minSamples": 20}}
        whole = {
            "modelRef": {"name": "storyteller"},
            "replicas": 2,
            "engine": {"type": "sim", "image": "understudy:1", **spec.pop("engine", {})},
            "rollout": rollout,
            **spec,
        }
        self.api.put(MODEL_DEPLOYMENT, {"metadata": {"name": name, "namespace": SHOP}, "spec": whole})

    # What tests look at.

    def pods(self) -> list[Object]:
        """The engines' pods."""
        return [obj for name, obj in self.api._objects.items() if name[:2] == (POD, SHOP)]

    def status(self, name: str = "talk") -> Mapping[str, Any]:
        obj = self.api.read(MODEL_DEPLOYMENT, SHOP, name)
        found: Mapping[str, Any] = (obj or {}).get("status") or {}
        return found

    async def until(self, phase: str, name: str = "talk", seconds: float = 600.0) -> None:
        """Wait for a phase; the status in the failure says where it got stuck."""
        deadline = virtual.now() + seconds
        while self.status(name).get("phase") != phase:
            assert virtual.now() < deadline, f"no {phase} within {seconds} s: {self.status(name)}"
            await asyncio.sleep(0.25)

    # Controllers and kubelets.

    async def run(self) -> None:
        while True:
            self._reconcile()
            self._serve_clients(0.25)
            await asyncio.sleep(0.25)

    def _reconcile(self) -> None:
        pools = {name[2]: obj for name, obj in list(self.api._objects.items()) if name[0] == DEPLOYMENT}
        pods = {name[2]: obj for name, obj in list(self.api._objects.items()) if name[:2] == (POD, SHOP)}
        for name, pool in pools.items():
            for number in range(pool["spec"]["replicas"]):
                if f"{name}-{number}" not in pods:
                    labels = pool["spec"]["template"]["metadata"]["labels"]
                    self._pod(SHOP, f"{name}-{number}", f"10.2.{len(pods)}.{number}", labels, ready=False)
            self._report(name, pool, pods)
        for pod, obj in pods.items():
            pool_name, _, index = pod.rpartition("-")
            wanted = pools[pool_name]["spec"]["replicas"] if pool_name in pools else 0
            if int(index) >= wanted:
                self.api.remove(POD, SHOP, pod)
            elif not _ready(obj) and virtual.now() - obj["born"] >= self.ready_after:
                self.api.patch(POD, SHOP, pod, lambda stored: stored.update(status=_status(stored["status"]["podIP"])))

    def _report(self, name: str, pool: Object, pods: Mapping[str, Object]) -> None:
        ready = sum(_ready(pod) for pod_name, pod in pods.items() if pod_name.rpartition("-")[0] == name)
        status = {"replicas": pool["spec"]["replicas"], "readyReplicas": ready, "availableReplicas": ready}
        if pool.get("status") != status:
            self.api.patch(DEPLOYMENT, SHOP, name, lambda stored: stored.update(status=status))

    def _pod(self, namespace: str, name: str, address: str, labels: Mapping[str, str], ready: bool = True) -> None:
        meta = {"name": name, "namespace": namespace, "labels": dict(labels)}
        containers = [{"name": "engine", "image": "understudy:1"}]
        spec = {"nodeName": "node-1", "containers": containers}
        self.api.put(POD, {"metadata": meta, "spec": spec, "born": virtual.now()})
        self.api.patch(POD, namespace, name, lambda stored: stored.update(status=_status(address, ready)))

    # Engines, as the prober asks them.

    async def get(self, probe: Probe, path: str, seconds: float) -> Any:
        _, _, revision = probe.model_id.rpartition("-")
        shown = self.identity.get(revision, probe.model_id)
        return {"data": [{"id": shown, "root": probe.root, "max_model_len": probe.max_model_len}]}

    async def post(self, probe: Probe, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        self.asked_with.append(probe)
        if probe.model_id.rpartition("-")[2] in self.failing:
            raise ValueError(f"{path} answered 500")
        return {"choices": [{"message": {"content": self.says(probe.model_id)}, "text": "yes"}]}

    async def ask(self, judge: Judge, question: Question) -> bytes:
        raise AskError("nobody is there")

    # Gateways and their clients.

    async def state(self, address: str, only: AbstractSet[Key] | None = None) -> GatewayState:
        tables = {_key(obj): obj for name, obj in self.api._objects.items() if name[0] == ROUTING_TABLE}
        asked = tables.keys() if only is None else tables.keys() & {str(key) for key in only}
        named = (guard for table in tables.values() for guard in table["spec"].get("guards", ()))
        return GatewayState(
            f"start-{address}",
            virtual.now() + 100,
            {name: self._counted(address, tables[name]) for name in asked},
            {guard["policy"]: self.refuses or LOADED for guard in named},
        )

    def _counted(self, address: str, table: Object) -> DeploymentState:
        revisions = {}
        for variant in table["spec"]["variants"]:
            attempts, failed = self._counts.get(address, {}).get(variant["revision"], (0, 0))
            revisions[variant["revision"]] = RevisionState(
                attempts=int(attempts),
                errors={"5xx": int(failed)},
                usable_endpoints=self._endpoints(variant["revision"]),
                guard=Guarded(turns=sum(self.found.values()), found=self.found),
            )
        meta = table["metadata"]
        return DeploymentState(meta["uid"], meta["generation"], table["spec"]["epoch"], revisions=revisions)

    def _endpoints(self, revision: str) -> int:
        pods = [obj for name, obj in self.api._objects.items() if name[:2] == (POD, SHOP)]
        return sum(_ready(pod) for pod in pods if pod["metadata"]["labels"].get(LABEL_REVISION) == revision)

    def _serve_clients(self, seconds: float) -> None:
        tables = [obj for name, obj in self.api._objects.items() if name[0] == ROUTING_TABLE]
        for table in tables:
            for variant in table["spec"]["variants"]:
                for address in ("10.1.0.0", "10.1.0.1"):
                    counts = self._counts.setdefault(address, {}).setdefault(variant["revision"], [0.0, 0.0])
                    requests = self.rate * seconds * variant["weight"] / 100 / 2
                    counts[0] += requests
                    if variant["revision"] in self.failing:
                        counts[1] += requests


class Operator:
    """One operator process on a cluster."""

    def __init__(self, cluster: Cluster, identity: str = "op-1", **options: Any) -> None:
        self.cluster = cluster
        self.woken: list[Work] = []
        self.deaths: list[Any] = []
        self.source = Source(self)
        clock = Clock(wall=lambda: START + virtual.now(), monotonic=virtual.now, process=identity)
        fixed = Options(namespace=SYSTEM, identity=identity, metrics_port=0, sim_image="understudy:1", **options)
        self.process = OperatorProcess(cluster.api, fixed, cluster, cluster, cluster, clock)
        self.task = asyncio.create_task(self.process.run(self._source))

    def _source(self, enqueue: Any, on_death: Any) -> WakeSource:
        self.deaths.append(on_death)
        return self.source

    @property
    def leads(self) -> bool:
        return self.process.elector.leading

    async def lead(self) -> None:
        deadline = virtual.now() + 60
        while not self.leads:
            assert virtual.now() < deadline, "it never came to lead"
            await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """As SIGKILL does: nothing is finished, nothing is released."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Source:
    """Stands for Kopf, and wakes nobody; `began_after` has the number of passes that were made before it began."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.began_after: list[float] = []

    def start(self) -> None:
        labels = {"kind": "ModelDeployment", "result": "ok"}
        metrics = self._operator.process.metrics.registry
        self.began_after.append(metrics.get_sample_value("understudy_reconcile_seconds_count", labels) or 0.0)

    def stop(self) -> None:
        return


@asynccontextmanager
async def stage(gateways: int = 2) -> AsyncIterator[Cluster]:
    """A running cluster with one model, and no operator yet."""
    cluster = Cluster(gateways)
    cluster.model()
    task = asyncio.create_task(cluster.run())
    try:
        yield cluster
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def _status(address: str, ready: bool = True) -> dict[str, Any]:
    word = "True" if ready else "False"
    stamp = "2027-01-15T08:00:00Z"
    kinds = (("PodScheduled", "True"), ("Ready", word), ("ContainersReady", word))
    running = {"running": {"startedAt": stamp}}
    container = {"name": "engine", "ready": ready, "restartCount": 0, "started": ready, "state": running, "image": "i"}
    return {
        "phase": "Running",
        "podIP": address,
        "startTime": stamp,
        "conditions": [{"type": kind, "status": status, "lastTransitionTime": stamp} for kind, status in kinds],
        "containerStatuses": [{**container, "imageID": "sha256:1"}],
    }


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['labels'].get(LABEL_DEPLOYMENT, obj['metadata']['name'])}"
