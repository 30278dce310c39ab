"""What a cluster has beside an API server, played by the bench: controllers, kubelets, engines, gateways.

Pods lie on loopback addresses of their own (all of 127.0.0.0/8 is this machine), on the ports that the operator asks
for; one listener answers for all of them. Nothing here is slow on purpose: a pod is ready when it is made.
"""

import asyncio
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self

import orjson

from bench.control_plane.api import Api, Object, RefusedError
from understudy.domain.names import ENGINE_PORT, GATEWAY_ADMIN_PORT, LABEL_COMPONENT, LABEL_DEPLOYMENT
from understudy.domain.state import DeploymentState, GatewayState, RevisionState, Sample, dump_state
from understudy.kube.resources import DEPLOYMENT, MODEL_DEPLOYMENT, POD, ROUTING_TABLE

SYSTEM = "understudy-system"
GATEWAYS = {"gateway-0": "127.0.1.1", "gateway-1": "127.0.1.2"}
RATE = 2.0  # requests per second that each gateway counts for each deployment
_AT_ONCE = 16  # pools that are seen to at the same time
_LENGTH = re.compile(rb"content-length: *(\d+)")
_MARK = 987654321  # stands for a count that grows with time
_WHEN = "2026-01-01T00:00:00Z"


class Kubelet:
    """Makes the pods that Deployments ask for, ready at once, and reports them; asleep until `wake`."""

    def __init__(self, api: Api, changed: Callable[[str, str], None]) -> None:
        """`changed` gets the namespace and the ModelDeployment whose pods came or went."""
        self._api, self._changed = api, changed
        self._pools: dict[tuple[str, str], Object] = {}
        self._pods: dict[tuple[str, str], list[str]] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._queued: set[tuple[str, str]] = set()
        self._awake = asyncio.Event()
        self._made = 0
        self.at_address: dict[str, str] = {}

    def wake(self) -> None:
        """Begin, with everything that has been asked for so far."""
        self._awake.set()

    def sleep(self) -> None:
        """Make nothing more for the time being."""
        self._awake.clear()

    def ready(self, namespace: str, pool: str) -> int:
        """Ready pods of a pool."""
        return len(self._pods.get((namespace, pool), ()))

    async def run(self) -> None:
        """Follow Deployments until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(self._work())
            async for kind, pool in self._api.follow(DEPLOYMENT.path(), LABEL_DEPLOYMENT):
                meta = pool["metadata"]
                key = meta["namespace"], meta["name"]
                if kind == "DELETED":
                    self._pools.pop(key, None)
                else:
                    self._pools[key] = pool
                if key not in self._queued:
                    self._queued.add(key)
                    self._waiting.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            await self._awake.wait()
            self._queued.discard(key)
            await self._see_to(*key)

    async def _see_to(self, namespace: str, name: str) -> None:
        pool = self._pools.get((namespace, name))
        pods = self._pods.setdefault((namespace, name), [])
        wanted = pool["spec"]["replicas"] if pool is not None else 0
        while pool is not None and len(pods) < wanted:
            pods.append(await self._make(namespace, name, pool))
            self._changed(namespace, pool["metadata"]["labels"][LABEL_DEPLOYMENT])
        while len(pods) > wanted:
            await self._api.delete(POD.path(namespace, pods.pop()))
        if pool is None:
            self._told.pop((namespace, name), None)
            return
        said = (wanted, pool["metadata"]["generation"])
        if self._told.get((namespace, name)) != said:
            self._told[namespace, name] = said
            counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), wanted)
            status = {"status": {**counts, "observedGeneration": said[1]}}
            with suppress(RefusedError):  # deleted meanwhile
                await self._api.merge(DEPLOYMENT.path(namespace, name, "status"), status)

    async def _make(self, namespace: str, pool_name: str, pool: Object) -> str:
        self._made += 1
        template = pool["spec"]["template"]
        name, number = f"{pool_name}-{self._made:06x}", self._made
        address = f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        self.at_address[address] = pool_name
        meta = {"name": name, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**template["spec"], "nodeName": "bench"}}
        await self._api.create(POD.path(namespace), pod)
        await self._api.merge(POD.path(namespace, name, "status"), {"status": pod_status(address, template["spec"])})
        return name


def pod_status(address: str, spec: Object) -> Object:
    """The status of a pod that runs and is ready."""
    state = {"running": {"startedAt": _WHEN}}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _WHEN,
        "conditions": [
            {"type": name, "status": "True", "lastTransitionTime": _WHEN}
            for name in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": c["name"],
                "image": c["image"],
                "imageID": f"sha256:{'0' * 64}",
                "state": state,
                "ready": True,
                "started": True,
                "restartCount": 0,
            }
            for c in spec["containers"]
        ],
    }


class Gateways:
    """What gateways know: the routing tables, and counters that grow for every deployment all the time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._tables: dict[tuple[str, str], Object] = {}
        self._fragments: dict[tuple[str, str], tuple[bytes, ...]] = {}
        self.began = time.monotonic()
        self.kubelet: Kubelet | None = None
        self.asked = 0

    async def run(self) -> None:
        """Follow RoutingTables until cancelled."""
        async for kind, table in self._api.follow(ROUTING_TABLE.path()):
            self.heard(kind, table)

    def heard(self, kind: str, table: Object) -> None:
        """Take up a table, or drop it."""
        key = table["metadata"]["namespace"], table["metadata"]["name"]
        if kind == "DELETED":
            self._tables.pop(key, None)
            self._fragments.pop(key, None)
        else:
            self._tables[key] = table
            self.changed(*key)

    def changed(self, namespace: str, deployment: str) -> None:
        """The deployment's table or pods are others than before."""
        table = self._tables.get((namespace, deployment))
        if table is None:
            return
        spec, meta, key = table["spec"], table["metadata"], f"{namespace}/{deployment}"
        revisions = {v["revision"]: self._revision(namespace, v["service"]) for v in spec.get("variants") or ()}
        state = DeploymentState(meta["uid"], meta["generation"], spec["epoch"], "", 0, revisions)
        dumped = dump_state(GatewayState("", 0, {key: state}))["deployments"][key]
        text = orjson.dumps(key) + b":" + orjson.dumps(dumped)
        self._fragments[namespace, deployment] = tuple(text.split(str(_MARK).encode()))

    def state(self, address: str, path: str) -> bytes:
        """The /state of the gateway at an address, as asked for by a path with `?deployments=` or without."""
        self.asked += 1
        _, named, names = path.partition("?deployments=")
        asked = [tuple(name.split("/")) for name in names.split(",") if name] if named else self._fragments
        lasted = time.monotonic() - self.began
        count = str(int(lasted * RATE)).encode()
        head = orjson.dumps({"startId": address, "uptimeSeconds": lasted})[:-1]
        known = (self._fragments[key] for key in asked if key in self._fragments)
        fragments = b",".join(count.join(fragment) for fragment in known)
        return head + b',"deployments":{' + fragments + b"}}"

    def _revision(self, namespace: str, service: str) -> RevisionState:
        usable = self.kubelet.ready(namespace, service) if self.kubelet is not None else 0
        times = (_MARK, *[0] * 10)
        sample = Sample(attempts=_MARK, ttft=times, slowest=times)
        return RevisionState(
            attempts=_MARK,
            tokens_in=_MARK,
            tokens_out=_MARK,
            ttft=times,
            itl=times,
            usable_endpoints=usable,
            sample=sample,
        )


class Answering(asyncio.Protocol):
    """HTTP/1.1 in its simplest form: every request is answered with what `answer(own address, path)` says."""

    def __init__(self, answer: Callable[[str, str], bytes]) -> None:
        self._answer, self._data, self._address = answer, b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note which of our addresses was called."""
        self._transport: Any = transport
        self._address = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data[:end].lower())
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < whole:
                return
            path = self._data.split(b" ", 2)[1].decode()
            self._data = self._data[whole:]
            body = self._answer(self._address, path)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            self._transport.write(head + body)


class Cast:
    """All of them together, for as long as the context lasts."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.gateways = Gateways(api)
        self.kubelet = Kubelet(api, self.gateways.changed)
        self.gateways.kubelet = self.kubelet
        self.ready: dict[tuple[str, str], str] = {}  # ModelDeployments that are Ready, and the revision that serves
        self.probes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for port, answer in ((ENGINE_PORT, self._engine), (GATEWAY_ADMIN_PORT, self._gateway)):
            make = partial(Answering, answer)
            self._listeners.append(await loop.create_server(make, sock=_listening(port)))
        await self._make_gateways()
        work = (self.gateways.run(), self.kubelet.run(), self._follow())
        self._tasks = [asyncio.create_task(task) for task in work]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    def check(self) -> None:
        """Raise what ended any part, if one has ended."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _make_gateways(self) -> None:
        spec = {"containers": [{"name": "gateway", "image": "understudy"}], "nodeName": "bench"}
        for name, address in GATEWAYS.items():
            meta = {"name": name, "labels": {LABEL_COMPONENT: "gateway"}}
            await self._api.create(POD.path(SYSTEM), {"metadata": meta, "spec": spec})
            await self._api.merge(POD.path(SYSTEM, name, "status"), {"status": pod_status(address, spec)})

    async def _follow(self) -> None:
        async for kind, obj in self._api.follow(MODEL_DEPLOYMENT.path()):
            key = obj["metadata"]["namespace"], obj["metadata"]["name"]
            status = obj.get("status") or {}
            conditions = {c["type"]: c for c in status.get("conditions") or ()}
            serves = conditions.get("Ready", {}).get("status") == "True" and kind != "DELETED"
            current = status.get("observedGeneration") == obj["metadata"]["generation"]
            if serves and current:
                self.ready[key] = status["stable"]
            else:
                self.ready.pop(key, None)

    def _engine(self, address: str, path: str) -> bytes:
        self.probes += 1
        if path == "/v1/models":
            return orjson.dumps({"data": [{"id": self.kubelet.at_address.get(address, "nobody")}]})
        return b'{"choices":[{"text":"a","message":{"content":"a"}}]}'

    def _gateway(self, address: str, path: str) -> bytes:
        return self.gateways.state(address, path)


def _listening(port: int) -> socket.socket:
    """On every address of loopback and on no other."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", port))  # noqa: S104 - of the one device
    listener.listen(4096)
    return listener
