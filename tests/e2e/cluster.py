"""The kind cluster as the tests see it: objects by the API server's paths, and kubectl."""

import contextlib
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tests.api.examples import Object
from tests.api.server import Server

T = TypeVar("T")

# Seconds that a test waits for what has to happen at all: nobody promises how fast, and the machine may be busy with
# three other tests. What is promised in seconds is asserted beside the waiting.
PATIENCE = 180.0

PATHS: Mapping[str, str] = {
    "application": "/apis/argoproj.io/v1alpha1/namespaces/{ns}/applications",
    "configmap": "/api/v1/namespaces/{ns}/configmaps",
    "deployment": "/apis/apps/v1/namespaces/{ns}/deployments",
    "event": "/api/v1/namespaces/{ns}/events",
    "guardrail": "/apis/understudy.dev/v1alpha1/namespaces/{ns}/guardrails",
    "lease": "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "mdep": "/apis/understudy.dev/v1alpha1/namespaces/{ns}/modeldeployments",
    "model": "/apis/understudy.dev/v1alpha1/namespaces/{ns}/models",
    "msnap": "/apis/understudy.dev/v1alpha1/namespaces/{ns}/modelsnapshots",
    "namespace": "/api/v1/namespaces",
    "node": "/api/v1/nodes",
    "pod": "/api/v1/namespaces/{ns}/pods",
    "rtable": "/apis/understudy.dev/v1alpha1/namespaces/{ns}/routingtables",
    "secret": "/api/v1/namespaces/{ns}/secrets",
    "service": "/api/v1/namespaces/{ns}/services",
    "serviceaccount": "/api/v1/namespaces/{ns}/serviceaccounts",
}


class RefusedError(AssertionError):
    """The API server answered with an error status; `status` is its code, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Cluster:
    """One cluster, reached as its administrator."""

    def __init__(self, kubeconfig: str, kubectl: str) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._server = Server(kubeconfig)

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Any:
        """One call to the API server; raises RefusedError on an error status, OSError when it is away."""
        answer = self._server.request(method, path, body, content_type)
        if not answer.ok:
            raise RefusedError(answer.status, answer.message)
        return answer.body

    def get(self, kind: str, name: str, ns: str = "") -> dict[str, Any] | None:
        """The object, or None when there is none."""
        try:
            return self.request("GET", f"{PATHS[kind].format(ns=ns)}/{name}")  # type: ignore[no-any-return]
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def list(self, kind: str, ns: str = "", selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace, optionally by label selector."""
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        return self.request("GET", PATHS[kind].format(ns=ns) + query)["items"]  # type: ignore[no-any-return]

    def apply(self, obj: Mapping[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply as the user `tests`."""
        kind = {"ModelDeployment": "mdep"}.get(obj["kind"], obj["kind"].lower())
        path = f"{PATHS[kind].format(ns=obj['metadata'].get('namespace', ''))}/{obj['metadata']['name']}"
        query = "?fieldManager=tests&force=true&fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("PATCH", path + query, dict(obj), "application/apply-patch+yaml")  # type: ignore[no-any-return]

    def patch(self, kind: str, name: str, ns: str, body: Object, subresource: str = "") -> dict[str, Any]:
        """JSON merge patch."""
        path = f"{PATHS[kind].format(ns=ns)}/{name}" + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body, "application/merge-patch+json")  # type: ignore[no-any-return]

    def delete(self, kind: str, name: str, ns: str = "", grace: int | None = None) -> None:
        """Delete, whether it exists or not."""
        try:
            query = "" if grace is None else f"?gracePeriodSeconds={grace}"
            self.request("DELETE", f"{PATHS[kind].format(ns=ns)}/{name}{query}")
        except RefusedError as refused:
            if refused.status != 404:
                raise

    def evict(self, pod: str, ns: str) -> None:
        """What a node drain does to one pod."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": ns}}
        self.request("POST", f"{PATHS['pod'].format(ns=ns)}/{pod}/eviction", body)

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as a user would; returns its standard output (and error, when it failed and may)."""
        done = subprocess.run(
            [self._kubectl, "--kubeconfig", self.kubeconfig, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    @contextlib.contextmanager
    def forwarded(self, what: str, port: int, ns: str) -> Iterator[int]:
        """`kubectl port-forward` to a port of a pod or a service, such as `service/x`; the port here."""
        command = (self._kubectl, "--kubeconfig", self.kubeconfig, "-n", ns, "port-forward", what, f":{port}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            try:
                assert running.stdout is not None
                # Forwarding from 127.0.0.1:34567 -> 8080
                said = running.stdout.readline()
                yield int(said.partition(" -> ")[0].rpartition(":")[2])
            finally:
                running.terminate()


def eventually(what: str, probe: Callable[[], T | None], within: float = PATIENCE, every: float = 0.25) -> T:
    """Wait until `probe` returns something true; fail after `within` seconds, saying what was awaited.

    A probe that raises is asked again (the API server may be away on purpose); its last error is named.
    """
    deadline = time.monotonic() + within
    last = ""
    while time.monotonic() < deadline:
        try:
            value = probe()
            last = f"last seen: {value!r}"
            if value:
                return value
        except (OSError, RefusedError, KeyError) as error:
            last = f"last error: {error!r}"
        time.sleep(every)
    raise AssertionError(f"not within {within:.0f} s: {what} ({last})")
